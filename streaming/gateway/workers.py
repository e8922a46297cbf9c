"""The workers that run apart, as they announce themselves over the media layer.

So a gateway knows whether its sessions can be served before the first one, and notices without one
that the last worker has died. New sessions are placed by the load that is announced.
"""

import asyncio
import logging
from collections import Counter
from typing import Any

from channels.layers import BaseChannelLayer

from inference.errors import MessageInvalid
from inference.messages import WORKERS_GROUP, WorkerAnnouncement

log = logging.getLogger(__name__)

SILENCE_S = 6.0
"""A worker that has not announced itself for so long is gone."""

SPEAKING_WEIGHT = 8
"""How many idle sessions one that speaks counts for."""
MAX_WORKERS = 1_000
RETRY_AFTER_S = 1.0


class WorkerDirectory:
    """The workers that announced themselves lately; changed in the event loop only."""

    def __init__(self) -> None:
        self.is_listening = False
        """Whether announcements are received: otherwise it is empty and says nothing."""
        self._heard: dict[str, tuple[WorkerAnnouncement, float]] = {}
        self._given: Counter[str] = Counter()
        """Sessions that were sent to a worker since it announced itself last."""

    def hear(self, announcement: WorkerAnnouncement, now_s: float) -> None:
        """Hear a worker announce itself.

        Args:
            announcement: Its state.
            now_s: The moment, on the monotonic clock.
        """
        self._given.pop(announcement.worker, None)
        if announcement.is_leaving:
            self._heard.pop(announcement.worker, None)
            return
        if announcement.worker not in self._heard and len(self._heard) >= MAX_WORKERS:
            self._forget(now_s)
            if len(self._heard) >= MAX_WORKERS:
                return
        self._heard[announcement.worker] = announcement, now_s

    def present(self, now_s: float) -> list[WorkerAnnouncement]:
        """Return the workers that announced themselves within `SILENCE_S`."""
        heard = list(self._heard.values())
        return [announcement for announcement, at_s in heard if now_s - at_s < SILENCE_S]

    def place(self, now_s: float) -> str | None:
        """Return the channel of the worker with the least load, for one session more.

        Returns:
            None where no worker with room is known: then the claim goes to all.
        """
        able = [
            worker
            for worker in self.present(now_s)
            if worker.channel and worker.is_ready and not worker.is_late and not worker.is_full
        ]
        chosen = min(able, key=self._weight, default=None)
        if chosen is None:
            return None
        self._given[chosen.worker] += 1
        return chosen.channel

    def _weight(self, worker: WorkerAnnouncement) -> tuple[int, str]:
        load = worker.sessions + self._given[worker.worker] + SPEAKING_WEIGHT * worker.speaking
        return load, worker.worker

    def _forget(self, now_s: float) -> None:
        self._heard = {
            worker: (announcement, at_s)
            for worker, (announcement, at_s) in self._heard.items()
            if now_s - at_s < SILENCE_S
        }


directory = WorkerDirectory()
"""Of this process."""


class WorkerListener:
    """Receives announcements into a directory, from `start` to `stop`."""

    def __init__(self, layer: BaseChannelLayer, found: WorkerDirectory = directory) -> None:
        self._layer = layer
        self._directory = found
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._directory.is_listening = True
        self._task = asyncio.create_task(self._run(), name="worker announcements")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._directory.is_listening = False

    async def _run(self) -> None:
        while True:
            try:
                await self._listen()
            except Exception as error:  # noqa: BLE001 - a layer raises what its client library does
                log.debug("announcements of workers cannot be received: %r", error)
                await asyncio.sleep(RETRY_AFTER_S)

    async def _listen(self) -> None:
        channel = await self._layer.new_channel()
        await self._layer.group_add(WORKERS_GROUP, channel)
        while True:
            self._take(await self._layer.receive(channel))

    def _take(self, message: dict[str, Any]) -> None:
        try:
            announcement = WorkerAnnouncement.from_layer(message)
        except MessageInvalid as error:
            log.debug("an announcement was ignored: %s", error)
            return
        self._directory.hear(announcement, asyncio.get_running_loop().time())
