"""Runs queued preparations one at a time, each in a child process.

A preparation eats a core for a minute and may crash on what people upload. In a process of its own,
at low priority, it disturbs no stream and takes nothing down with it. The row in the database is
the queue, so an upload is not lost with the process that took it, and several supervisors, on one
machine or many that share AVATARS_DIR, need not know of each other.
"""

import asyncio
import logging
import os
import signal
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.db import DatabaseError, connection

from avatars_app import asset_folders, services
from avatars_app.database import availability, use_kept_connection
from avatars_app.models import Avatar
from avatars_app.preparation.limits import (
    PreparationLimits,
    child_environment,
    has_used_up_its_time,
)
from avatars_app.preparation.stage_times import StageTimes
from avatars_app.uploads import storage

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
RETRY_AFTER_S = 10.0
END_WITHIN_S = 5.0
STOP_WITHIN_S = 2.0
"""How long the end of the process waits; a job that could not be given back in time is taken by
others once its heartbeat is old."""
PAUSED_AT_MOST_S = 600.0
"""A preparation comes to its end also beside sessions that are late for ever."""

P = ParamSpec("P")
T = TypeVar("T")


class PreparationRunner:
    """Lives on one event loop, from `start` to `stop`."""

    def __init__(self, is_behind: Callable[[], bool] = lambda: False) -> None:
        """Prepare to start.

        Args:
            is_behind: Whether frames of sessions on this machine are late. As long as they are, no
                preparation begins, and the one that runs is stopped.
        """
        self._is_behind = is_behind
        # A thread of its own: the one that Django's code shares may wait for something else.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="preparation_runner")
        self._task: asyncio.Task[None] | None = None
        self.stages = StageTimes()

    def start(self) -> None:
        """Begin to prepare whatever waits."""
        self._task = asyncio.create_task(self._run(), name="preparation_runner")

    async def stop(self) -> None:
        """Stop, giving back a job that is in progress, to be taken again after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=STOP_WITHIN_S)
        self._thread.submit(connection.close)
        self._thread.shutdown(wait=False)

    async def _run(self) -> None:
        is_clean = False
        while True:
            try:
                if not is_clean:
                    await self._in_thread(_clean_up)
                    is_clean = True
                avatar = None
                if not self._is_behind():
                    avatar = await self._in_thread(services.preparation_take)
                    availability.found(self)
                if avatar is None:
                    await asyncio.sleep(LOOK_EVERY_S)
                else:
                    await self._prepare(avatar)
            except DatabaseError as error:
                availability.lost(self, error)
                await asyncio.sleep(LOOK_EVERY_S)
            except Exception:
                log.exception("preparations: trying again in %.0f s", RETRY_AFTER_S)
                await asyncio.sleep(RETRY_AFTER_S)

    async def _prepare(self, avatar: Avatar) -> None:
        """Have a child do the job that was taken for ``avatar``."""
        job_id, limits = avatar.job_id, PreparationLimits.from_settings()
        assert job_id is not None, "it was taken"
        log.info("avatar %s: preparation begins, attempt %d", avatar.user_id, avatar.attempts)
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            str(settings.BASE_DIR / "manage.py"),
            "prepare_avatar",
            "--job",
            str(job_id),
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches the server only, which ends it
            env={**os.environ, **child_environment()},
        )
        has_ended = is_out_of_time = False
        try:
            is_out_of_time = not await self._watch(child, avatar, limits.wall_s)
            has_ended = True
        finally:
            self.stages.is_in("", time.monotonic())
            # It may be this runner that ends. What follows must come to its end all
            # the same.
            await asyncio.shield(
                self._finish(child, avatar, has_died=has_ended, is_out_of_time=is_out_of_time)
            )

    async def _watch(self, child: Process, avatar: Avatar, wall_s: float) -> bool:
        """Wait for the child; end it when its work is not wanted any more, or takes too long.

        Returns:
            False if its time is over.
        """
        assert avatar.job_id is not None
        loop = asyncio.get_running_loop()
        end_s = loop.time() + wall_s
        pause_left_s = PAUSED_AT_MOST_S
        while child.returncode is None:
            if self._is_behind() and pause_left_s > 0:
                paused_s = await self._pause(child, avatar, pause_left_s)
                pause_left_s -= paused_s
                end_s += paused_s
            if loop.time() > end_s:
                return False
            with suppress(TimeoutError):
                await asyncio.wait_for(child.wait(), LOOK_EVERY_S)
                break
            try:
                stage = await self._in_thread(services.preparation_stage, job_id=avatar.job_id)
            except DatabaseError as error:
                availability.lost(self, error)
                continue
            availability.found(self)
            self.stages.is_in(stage or "", time.monotonic())
            if stage is None:
                log.info("avatar %s: the preparation is not wanted any more", avatar.user_id)
                await _end(child)
        return not has_used_up_its_time(child.returncode)

    async def _pause(self, child: Process, avatar: Avatar, at_most_s: float) -> float:
        """Stop the child until frames are in time again; how long that took, s."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        log.info("avatar %s: the preparation is stopped: frames are late", avatar.user_id)
        with suppress(ProcessLookupError):
            child.send_signal(signal.SIGSTOP)
        try:
            while True:
                await asyncio.sleep(LOOK_EVERY_S)
                if not self._is_behind() or loop.time() - began_s >= at_most_s:
                    break
                if not await self._rests(avatar):
                    break
        finally:
            with suppress(ProcessLookupError):
                child.send_signal(signal.SIGCONT)
        log.info("avatar %s: the preparation continues", avatar.user_id)
        return loop.time() - began_s

    async def _rests(self, avatar: Avatar) -> bool:
        """Beat for a child that is stopped; False if its work is not wanted any more."""
        assert avatar.job_id is not None
        try:
            is_wanted = await self._in_thread(services.preparation_rests, job_id=avatar.job_id)
        except DatabaseError as error:
            availability.lost(self, error)
            return True
        availability.found(self)
        return is_wanted

    async def _finish(
        self, child: Process, avatar: Avatar, *, has_died: bool, is_out_of_time: bool
    ) -> None:
        assert avatar.job_id is not None
        await _end(child)
        if is_out_of_time:
            await self._in_thread(_give_up, avatar)
        await self._in_thread(_close, avatar, child.returncode, has_died)

    async def _in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        call = partial(_with_connection, partial(work, *args, **kwargs))
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)


async def _end(child: Process) -> None:
    """Ask the child to end, and make it if it does not."""
    for ask in (child.terminate, child.kill):
        if child.returncode is not None:
            return
        with suppress(ProcessLookupError):
            ask()
        with suppress(TimeoutError):
            await asyncio.wait_for(child.wait(), END_WITHIN_S)


def _with_connection(work: Callable[[], T]) -> T:
    use_kept_connection()
    return work()


def _clean_up() -> None:
    """Remove what was left by processes that died."""
    storage.forget_others(Avatar.objects.values_list("upload", flat=True).iterator())
    asset_folders.forget_other_jobs(Avatar.objects.values_list("job_id", flat=True).iterator())


def _give_up(avatar: Avatar) -> None:
    """End a job that took too long: another attempt would as well."""
    assert avatar.job_id is not None
    log.warning("avatar %s: the preparation was ended: it took too long", avatar.user_id)
    with suppress(services.PreparationLost):
        services.preparation_fail(
            job_id=avatar.job_id,
            reason="took_too_long",
            error="Preparing it took longer than the server allows: send a shorter or smaller"
            " video.",
        )


def _close(avatar: Avatar, status: int | None, has_died: bool) -> None:
    """Record how a child ended; the job of one that could not say it waits again."""
    assert avatar.job_id is not None
    asset_folders.forget_job(avatar.job_id)
    if services.preparation_give_back(job_id=avatar.job_id, has_failed=has_died):
        if has_died:
            log.warning("avatar %s: the preparation ended with status %s", avatar.user_id, status)
        else:
            log.info("avatar %s: interrupted; it begins again after the next start", avatar.user_id)
        return
    row = Avatar.objects.filter(pk=avatar.pk, job_id=avatar.job_id).first()
    if row is not None:
        log.info("avatar %s: %s %s", avatar.user_id, row.status, row.error)
