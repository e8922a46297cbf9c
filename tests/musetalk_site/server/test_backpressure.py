"""Both sides by themselves; `test_server` shows them at work on real sockets."""

from collections.abc import Callable

import pytest

from musetalk_site.server import backpressure
from musetalk_site.server.backpressure import (
    WAITING_LIMIT,
    WAITING_LIMIT_BYTES,
    ReadSide,
    WriteSide,
)


def test_only_changes_are_reported() -> None:
    side = WriteSide()
    told: list[bool] = []
    side.on_change(told.append)
    for step in (side.pauseProducing, side.pauseProducing, side.resumeProducing):
        step()
    side.resumeProducing()
    assert told == [True, False]
    side.stopProducing()
    side.pauseProducing()
    assert told == [True, False]
    assert side.paused


def test_who_reads_nothing_for_long_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1_000.0
    monkeypatch.setattr(backpressure.time, "monotonic", lambda: now_s)
    side = WriteSide()
    now_s += 500
    assert not side.is_stuck()
    side.pauseProducing()
    now_s += backpressure.PAUSED_LIMIT_S
    assert not side.is_stuck()
    side.pauseProducing()  # no news, so it counts from the first time
    now_s += 1
    assert side.is_stuck()
    side.resumeProducing()
    assert not side.is_stuck()
    side.pauseProducing()
    assert not side.is_stuck()


class Transport:
    """One that writes down when it is read from."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def pauseProducing(self) -> None:  # noqa: N802  named by Twisted
        self.steps.append("pause")

    def resumeProducing(self) -> None:  # noqa: N802  named by Twisted
        self.steps.append("resume")

    def call_later(self, _seconds: float, callback: Callable[[], None]) -> None:
        self.wake = callback


def test_it_is_read_on_when_half_of_what_waited_is_gone() -> None:
    transport = Transport()
    side = ReadSide(transport, transport.call_later)
    for _ in range(WAITING_LIMIT - 1):
        side.arrived(10)
    assert transport.steps == []
    for _ in range(10):  # what one read from the socket brought still comes
        side.arrived(10)
    assert transport.steps == ["pause"]
    for _ in range(WAITING_LIMIT // 2 + 8):
        side.taken()
    assert transport.steps == ["pause"]
    side.taken()
    assert transport.steps == ["pause", "resume"]
    for _ in range(WAITING_LIMIT):
        side.taken()
    for _ in range(WAITING_LIMIT):
        side.arrived(10)
    assert transport.steps == ["pause", "resume", "pause"]


def test_few_messages_that_are_large_are_as_much_as_many_small_ones() -> None:
    transport = Transport()
    side = ReadSide(transport, transport.call_later)
    large_bytes = WAITING_LIMIT_BYTES // 4
    for _ in range(3):
        side.arrived(large_bytes)
    assert transport.steps == []
    side.arrived(large_bytes)
    assert transport.steps == ["pause"]
    side.taken()
    assert transport.steps == ["pause"], "three quarters still wait"
    side.taken()
    assert transport.steps == ["pause", "resume"]
    side.arrived(2 * large_bytes)
    assert transport.steps == ["pause", "resume", "pause"]


def test_a_client_that_sends_too_much_is_left_alone_for_a_while() -> None:
    transport = Transport()
    side = ReadSide(transport, transport.call_later)
    side.rest()
    side.rest()
    assert transport.steps == ["pause"]
    transport.wake()
    assert transport.steps == ["pause", "resume"]

    side.rest()
    for _ in range(WAITING_LIMIT):
        side.arrived(10)
    transport.wake()
    assert transport.steps[-1] == "pause", "its messages still wait"
    side.rest()
    for _ in range(WAITING_LIMIT):
        side.taken()
    assert transport.steps[-1] == "pause", "it still rests"
    transport.wake()
    assert transport.steps[-1] == "resume"


async def test_messages_count_as_taken_and_nothing_else_does() -> None:
    transport = Transport()
    side = ReadSide(transport, transport.call_later)
    for _ in range(WAITING_LIMIT):
        side.arrived(10)
    events = iter(["websocket.connect", *["websocket.receive"] * (WAITING_LIMIT // 2)])

    async def receive() -> dict[str, str]:
        return {"type": next(events)}

    take = side.counting(receive)
    assert await take() == {"type": "websocket.connect"}
    for _ in range(WAITING_LIMIT // 2 - 1):
        await take()
    assert transport.steps == ["pause"]
    await take()
    assert transport.steps == ["pause", "resume"]
