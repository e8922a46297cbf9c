"""Sends the webhooks that wait, and again later what was not taken.

One sender runs on each machine. Several machines that share a database share the rows: each attempt
begins with a conditional UPDATE that moves the row's next attempt into the future, and only who
succeeds with it sends. A sender that dies in between so leaves the row to the others.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from channels.db import database_sync_to_async
from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from avatars_app.database import availability
from avatars_app.models import WebhookEvent
from avatars_app.webhooks.delivery import NotDelivered, Target, body_of, deliver, headers_of

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
RETRY_AFTER_S = 10.0
AT_ONCE = 4
LEASE = timedelta(seconds=60)
"""How long an attempt may take before another sender makes it."""
BACK_OFF = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
"""Waiting time after each attempt that failed, as the standard recommends; then it is given up."""
JITTER = 0.1
KEPT = timedelta(days=30)
"""For which rows are shown that are done."""
FORGET_EVERY_S = 3_600.0

T = TypeVar("T")


def configured_target() -> Target | None:
    """Where webhooks go, by the settings; None: nowhere."""
    if not settings.WEBHOOK_URL:
        return None
    return Target(settings.WEBHOOK_URL, settings.WEBHOOK_SECRET, settings.WEBHOOK_PRIVATE_TARGETS)


def take_due(now: datetime) -> list[WebhookEvent]:
    """Take up to `AT_ONCE` events whose time has come, so that nobody else sends them now."""
    due = WebhookEvent.objects.filter(state=WebhookEvent.State.WAITING, next_attempt_at__lte=now)
    taken = []
    for event in due.order_by("next_attempt_at")[:AT_ONCE]:
        mine = due.filter(pk=event.pk, attempts=event.attempts)
        if mine.update(attempts=event.attempts + 1, next_attempt_at=now + LEASE):
            event.attempts += 1
            taken.append(event)
    return taken


def send(event: WebhookEvent, target: Target) -> None:
    """Make one attempt, and write down what came of it."""
    now = timezone.now()
    body = body_of(event.type, event.happened_at, event.data)
    mine = WebhookEvent.objects.filter(pk=event.pk, attempts=event.attempts)
    try:
        deliver(target, body, headers_of(event.id, body, target.secret, now))
    except NotDelivered as failure:
        _note_failure(event, str(failure))
        return
    mine.update(state=WebhookEvent.State.DELIVERED, delivered_at=timezone.now(), error="")


def _note_failure(event: WebhookEvent, reason: str) -> None:
    mine = WebhookEvent.objects.filter(pk=event.pk, attempts=event.attempts)
    if event.attempts > len(BACK_OFF):
        log.error("webhook %s %s: given up: %s", event.type, event.pk, reason)
        mine.update(state=WebhookEvent.State.GIVEN_UP, error=reason)
        return
    wait = BACK_OFF[event.attempts - 1] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311
    log.warning(
        "webhook %s %s: attempt %d failed: %s", event.type, event.pk, event.attempts, reason
    )
    mine.update(next_attempt_at=timezone.now() + wait, error=reason)


def forget_done(now: datetime) -> None:
    """Delete events that are done for longer than `KEPT`."""
    done = WebhookEvent.objects.exclude(state=WebhookEvent.State.WAITING)
    done.filter(happened_at__lt=now - KEPT).delete()


class WebhookSender:
    """Sends what waits. Lives on one event loop, from `start` to `stop`."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="webhooks")

    def start(self) -> None:
        """Begin, if the settings say where webhooks go."""
        target = configured_target()
        if target is not None:
            self._task = asyncio.create_task(self._run(target), name="webhooks")

    async def stop(self) -> None:
        """Stop; what is being sent may be sent again after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, target: Target) -> None:
        loop = asyncio.get_running_loop()
        next_forgetting_s = loop.time()
        while True:
            try:
                taken = await self._in_thread(lambda: take_due(timezone.now()))
                availability.found(self)
                await asyncio.gather(
                    *(self._in_thread(partial(send, event, target)) for event in taken)
                )
                if loop.time() >= next_forgetting_s:
                    await self._in_thread(lambda: forget_done(timezone.now()))
                    next_forgetting_s = loop.time() + FORGET_EVERY_S
            except DatabaseError as error:
                availability.lost(self, error)
                await asyncio.sleep(LOOK_EVERY_S)
                continue
            except Exception:
                log.exception("webhooks: trying again in %.0f s", RETRY_AFTER_S)
                await asyncio.sleep(RETRY_AFTER_S)
                continue
            if not taken:
                await asyncio.sleep(LOOK_EVERY_S)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        call = database_sync_to_async(work, thread_sensitive=False, executor=self._threads)
        result: T = await call()
        return result
