"""Engine processes of several devices, as one engine.

No engine keeps anything of a session, so each mouth is requested where it is answered soonest: of
the devices that have the clip ready, at the one with the fewest unanswered requests for what it
carries. An avatar is opened at all of them. While a process is restarted the others take its part.
"""

import asyncio
import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from inference.assets.manifest import Manifest
from inference.engines.access import Answer, MouthRequest, MouthResult
from inference.engines.base import EngineState, LoadedAvatar
from inference.engines.process.client import EngineProcessClient
from inference.errors import EngineUnavailable
from inference.media.types import AudioContext
from inference.metrics import CallMetrics

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _GroupAvatar:
    """An avatar, open in each engine process."""

    opened: tuple[LoadedAvatar, ...]
    """In the order of the processes."""


class EngineGroup:
    """Implements `access.EngineAccess`. Lives on one event loop, from `connect` to `close`."""

    def __init__(self, clients: Sequence[EngineProcessClient]) -> None:
        """Prepare to connect.

        Args:
            clients: One for each engine process, not connected.
        """
        self._clients = tuple(clients)
        self._connecting: set[asyncio.Task[None]] = set()
        self._forwarded: dict[MouthRequest, tuple[EngineProcessClient, MouthRequest]] = {}
        self._turns = itertools.count()
        self.name = ""
        self.context = AudioContext(0, 0)

    async def connect(self) -> None:
        """Wait until the first engine is loaded; the others follow when they are.

        Raises:
            EngineUnavailable: There will be none; says why of one of them.
        """
        tasks = {asyncio.create_task(client.connect()): client for client in self._clients}
        self._connecting = waiting = set(tasks)
        connected: EngineProcessClient | None = None
        error: BaseException | None = None
        while waiting and connected is None:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if (error := task.exception()) is None:
                    connected = tasks[task]
        for task in tasks:
            task.add_done_callback(_report)
        if connected is None:
            assert error is not None, "a group has engines"
            raise error
        self.name, self.context = connected.name, connected.context

    async def close(self) -> None:
        """Disconnect."""
        for task in self._connecting:
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        await asyncio.gather(*(client.close() for client in self._clients))

    @property
    def _healthy(self) -> list[EngineProcessClient]:
        return [client for client in self._clients if client.state().is_healthy]

    # `access.EngineAccess`.

    @property
    def lead_s(self) -> float:
        return max(client.lead_s for client in self._healthy or self._clients)

    @property
    def capacity(self) -> int | None:
        known = [client.capacity for client in self._healthy if client.capacity is not None]
        return sum(known) if known else None

    @property
    def waiting(self) -> int:
        return sum(client.waiting for client in self._healthy)

    @property
    def speaking_elsewhere(self) -> int:
        # Each receives the count of all sessions, wherever their mouths are made.
        return max((client.speaking_elsewhere for client in self._healthy), default=0)

    def report_speaking(self, sessions: int) -> None:
        for client in self._clients:
            client.report_speaking(sessions)

    @property
    def calls(self) -> CallMetrics:
        total = CallMetrics()
        for client in self._clients:
            total.add(client.calls)
        return total

    def state(self) -> EngineState:
        states = [client.state() for client in self._clients]
        return EngineState(
            is_healthy=any(state.is_healthy for state in states),
            is_lost=all(state.is_lost for state in states),
            message=" ".join(dict.fromkeys(state.message for state in states if state.message)),
        )

    async def open_avatar(self, folder: Path, manifest: Manifest) -> LoadedAvatar:
        opening = [client.open_avatar(folder, manifest) for client in self._clients]
        opened = await asyncio.gather(*opening, return_exceptions=True)
        failed = next((one for one in opened if isinstance(one, BaseException)), None)
        avatars = [one for one in opened if not isinstance(one, BaseException)]
        if failed is not None:
            for client, one in zip(self._clients, opened, strict=True):
                if one in avatars:
                    client.close_avatar(one)
            raise failed
        return _GroupAvatar(tuple(avatars))

    def close_avatar(self, avatar: LoadedAvatar) -> None:
        for client, opened in zip(self._clients, _opened(avatar), strict=True):
            client.close_avatar(opened)

    def is_ready(self, avatar: LoadedAvatar, clip: str) -> bool:
        return any(
            client.is_ready(opened, clip)
            for client, opened in zip(self._clients, _opened(avatar), strict=True)
        )

    def submit(self, request: MouthRequest, answer: Answer) -> None:
        client, opened = self._place(request)
        forwarded = replace(request, avatar=opened)
        self._forwarded[request] = client, forwarded

        def answered(result: MouthResult | Exception) -> None:
            self._forwarded.pop(request, None)
            answer(result)

        client.submit(forwarded, answered)

    def withdraw(self, request: MouthRequest) -> None:
        if (sent := self._forwarded.pop(request, None)) is not None:
            client, forwarded = sent
            client.withdraw(forwarded)

    def _place(self, request: MouthRequest) -> tuple[EngineProcessClient, LoadedAvatar]:
        """Where a mouth is made; without a process that can make it, one that says why."""
        places = list(zip(self._clients, _opened(request.avatar), strict=True))
        turn = next(self._turns) % len(places)
        places = places[turn:] + places[:turn]  # equals take turns
        return min(places, key=lambda place: _rank(place[0], place[1], request.clip))


def _rank(client: EngineProcessClient, avatar: LoadedAvatar, clip: str) -> tuple[bool, bool, float]:
    load = (client.unanswered + 1) / max(client.capacity or 1, 1)
    return not client.state().is_healthy, not client.is_ready(avatar, clip), load


def _opened(avatar: LoadedAvatar) -> tuple[LoadedAvatar, ...]:
    return cast(_GroupAvatar, avatar).opened


def _report(connecting: "asyncio.Task[None]") -> None:
    """One engine of several that cannot run is no fault of the server."""
    if not connecting.cancelled() and (error := connecting.exception()) is not None:
        if not isinstance(error, EngineUnavailable):
            raise error
        log.error("one of several engine processes cannot run: %s", error)
