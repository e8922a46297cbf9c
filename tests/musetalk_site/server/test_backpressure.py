"""Both sides by themselves; `test_server` shows them at work on real sockets."""

from collections.abc import Callable

import pytest

from musetalk_site.server import backpressure
from musetalk_site.server.backpressure import (
    MESSAGE_BURST,
    MESSAGES_PER_S,
    REST_S,
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


class Client:
    """A client that sent ``unparsed`` messages at once, and its transport."""

    def __init__(self, unparsed: int, *, size_bytes: int = 10) -> None:
        self.unparsed = unparsed
        self._size_bytes = size_bytes
        self.steps: list[str] = []
        self.now_s = 100.0
        self._sleepers: list[tuple[float, Callable[[], None]]] = []
        self.side = ReadSide(self, self.call_later, parse=self.parse, now_s=self.now_s)

    def pauseProducing(self) -> None:  # noqa: N802  named by Twisted
        self.steps.append("pause")

    def resumeProducing(self) -> None:  # noqa: N802  named by Twisted
        self.steps.append("resume")

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        self._sleepers.append((self.now_s + seconds, callback))

    def parse(self) -> None:
        while self.side.is_open and self.unparsed:
            self.unparsed -= 1
            self.side.arrived(self._size_bytes, self.now_s)

    def take(self, count: int) -> None:
        for _ in range(count):
            self.side.taken()

    def wait(self, seconds: float) -> None:
        """Let time pass; the application takes every message at once."""
        end_s = self.now_s + seconds
        while self._sleepers and self._sleepers[0][0] <= end_s:
            self.now_s, wake = self._sleepers.pop(0)
            wake()
            self.take(10 * WAITING_LIMIT)
        self.now_s = end_s


def test_parsing_stops_while_many_wait_and_continues_when_half_are_gone() -> None:
    client = Client(100)
    client.parse()
    assert client.unparsed == 100 - WAITING_LIMIT
    assert client.steps == ["pause"]
    client.take(WAITING_LIMIT // 2 - 1)
    assert client.steps == ["pause"]
    client.take(1)
    assert client.steps == ["pause", "resume", "pause"]
    assert client.unparsed == 100 - WAITING_LIMIT * 3 // 2


def test_few_messages_that_are_large_are_as_much_as_many_small_ones() -> None:
    client = Client(100, size_bytes=WAITING_LIMIT_BYTES // 4)
    client.parse()
    assert client.unparsed == 96
    client.take(1)
    assert client.steps == ["pause"], "three quarters still wait"
    client.take(1)
    assert client.steps == ["pause", "resume", "pause"]
    assert client.unparsed == 94


def test_the_transport_is_read_from_once_nothing_is_left_to_parse() -> None:
    client = Client(WAITING_LIMIT)
    client.parse()
    client.take(WAITING_LIMIT)
    assert client.steps == ["pause", "resume"]
    assert client.side.is_open


def test_a_burst_is_parsed_at_once_and_the_rest_at_its_rate() -> None:
    client = Client(10 * MESSAGES_PER_S)
    client.parse()
    for _ in range(MESSAGE_BURST):  # far more often than it needs to be
        client.take(WAITING_LIMIT)
    burst = 10 * MESSAGES_PER_S - client.unparsed
    assert MESSAGE_BURST <= burst <= MESSAGE_BURST + WAITING_LIMIT
    before = client.unparsed
    client.wait(3.0)
    assert 0.5 < (before - client.unparsed) / (3 * MESSAGES_PER_S) < 1.1


def test_a_client_that_rests_is_not_read_though_its_messages_were_taken() -> None:
    client = Client(2 * MESSAGE_BURST)
    client.parse()
    while client.side.is_open or client.unparsed > MESSAGE_BURST - 1:
        client.take(1)
    client.take(WAITING_LIMIT)
    left = client.unparsed
    assert not client.side.is_open
    client.take(WAITING_LIMIT)
    assert client.unparsed == left
    client.wait(REST_S)
    assert client.unparsed < left


async def test_messages_count_as_taken_and_nothing_else_does() -> None:
    client = Client(WAITING_LIMIT)
    client.parse()
    events = iter(["websocket.connect", *["websocket.receive"] * (WAITING_LIMIT // 2)])

    async def receive() -> dict[str, str]:
        return {"type": next(events)}

    take = client.side.counting(receive)
    assert await take() == {"type": "websocket.connect"}
    for _ in range(WAITING_LIMIT // 2 - 1):
        await take()
    assert client.steps == ["pause"]
    await take()
    assert client.steps == ["pause", "resume"]
