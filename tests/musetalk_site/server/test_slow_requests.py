"""Connections that send a request a byte at a time, on a clock of their own."""

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.http import Request

from musetalk_site.server.slow_requests import PROGRESS_BYTES, TimedChannel

TIME_OUT_S = 60


class Answered(Request):  # type: ignore[misc]  # Twisted's has no type here
    """A request that is answered later."""

    def process(self) -> None:
        self.channel.processed.append(self)


@pytest.fixture
def client() -> Iterator["Client"]:
    client = Client()
    yield client
    client.channel.connectionLost(Failure(ConnectionDone()))


class Client:
    """A client, and the connection that the server has of it."""

    def __init__(self) -> None:
        self._clock = Clock()
        self.transport = StringTransport()
        self.channel: Any = TimedChannel()
        self.channel.processed = []
        self.channel.requestFactory = Answered
        self.channel.callLater = self._clock.callLater
        self.channel.timeOut = TIME_OUT_S
        self.channel.makeConnection(self.transport)

    def send(self, data: bytes, *, then_wait_s: float = 0.0) -> None:
        if not self.is_dropped:
            self.channel.dataReceived(data)
            self._clock.advance(then_wait_s)

    @property
    def is_dropped(self) -> bool:
        return bool(self.transport.disconnecting)


def test_a_head_that_comes_byte_by_byte_is_given_up(client: Client) -> None:
    for _ in range(20):
        client.send(b"G", then_wait_s=5)
    assert client.is_dropped


@pytest.mark.parametrize("announced", [b"Content-Length: 400000000", b"Transfer-Encoding: chunked"])
def test_a_body_that_comes_byte_by_byte_is_given_up(client: Client, announced: bytes) -> None:
    client.send(b"POST /prepare_avatar/x HTTP/1.1\r\nHost: h\r\n" + announced + b"\r\n\r\n")
    for _ in range(20):
        client.send(b"1\r\nx\r\n" if b"chunked" in announced else b"x", then_wait_s=5)
    assert client.is_dropped


def test_a_body_that_comes_slowly_and_steadily_is_taken(client: Client) -> None:
    pieces = 100
    length = pieces * PROGRESS_BYTES // 4
    client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % length)
    for _ in range(pieces):
        client.send(bytes(PROGRESS_BYTES // 4), then_wait_s=14)
    assert not client.is_dropped
    assert len(client.channel.processed) == 1


def test_a_request_that_is_answered_late_is_not_given_up_and_the_next_has_its_own_time(
    client: Client,
) -> None:
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", then_wait_s=500)
    assert not client.is_dropped
    [request] = client.channel.processed
    request.finish()
    client.send(b"GET /", then_wait_s=TIME_OUT_S - 1)
    assert not client.is_dropped
    client.send(b"x", then_wait_s=2)
    assert client.is_dropped
