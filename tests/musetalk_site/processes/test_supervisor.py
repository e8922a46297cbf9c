"""The supervisor, with processes that are none."""

import asyncio
import signal
import socket
from collections.abc import Sequence

import pytest

from musetalk_site.processes import supervisor
from musetalk_site.processes.fork_server import ForkFailed
from musetalk_site.processes.supervisor import Supervisor


class Child:
    """An app process that ends at the first signal."""

    pid = 1

    def __init__(self) -> None:
        self.signals: list[signal.Signals] = []
        self._ended = asyncio.Event()

    def signal(self, number: signal.Signals) -> None:
        self.signals.append(number)
        self._ended.set()

    async def wait(self) -> int:
        await self._ended.wait()
        return 0


class Forks:
    """Makes children, but for the first ``refused`` times that each is wanted."""

    def __init__(self, refused: dict[int, int]) -> None:
        self._refused = refused
        self.children: dict[int, Child] = {}
        self.is_complete = asyncio.Event()

    def start(self) -> None: ...
    def close(self) -> None: ...

    async def fork(self, number: int, control: socket.socket, engines: Sequence[str]) -> Child:
        if self._refused.get(number, 0) > 0:
            self._refused[number] -= 1
            raise ForkFailed("no memory")
        self.children[number] = Child()
        if len(self.children) == 2:
            self.is_complete.set()
        return self.children[number]


async def test_a_process_that_the_system_does_not_make_is_tried_again_beside_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor, "FORK_AGAIN_AFTER_S", 0.01)
    forks = Forks(refused={1: 10})
    one = Supervisor(2, forks)  # type: ignore[arg-type]  # as far as it is used
    running = asyncio.create_task(one.run())
    await asyncio.wait_for(forks.is_complete.wait(), 10)
    assert forks.children[0].signals == []
    assert "process 1 could not be started: no memory; trying again" in caplog.text
    one.stop()
    await asyncio.wait_for(running, 10)
    assert [child.signals for child in forks.children.values()] == [[signal.SIGTERM]] * 2
