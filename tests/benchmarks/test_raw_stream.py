"""Sessions that read WebSocket frames by hand, and the processes that hold them."""

import asyncio
from collections.abc import Iterable

import pytest

from benchmarks.held_sessions import HeldSessions, SessionsRefused
from benchmarks.raw_stream import RawStream, StreamRefused
from benchmarks.server import free_port

UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


class FakeTransport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.was_aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        self.was_aborted = True


def received(parts: Iterable[bytes]) -> tuple[RawStream, FakeTransport]:
    """A stream that was sent these bytes."""
    stream, transport = RawStream(b"GET", b"{}", is_binary=False), FakeTransport()
    stream.connection_made(transport)
    for part in parts:
        stream.data_received(part)
    return stream, transport


def text(payload: bytes) -> bytes:
    """An unmasked text frame, in the shortest form."""
    size = len(payload)
    return b"\x81" + (bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big")) + payload


def frame(number: int, data: bytes = b"") -> bytes:
    head = b'{"type":"VIDEO_FRAME","data":{"frame_timestamp":%d,"frame_data":"' % (number * 40)
    return text(head + data + b'"}}')


@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_frames_are_found_however_the_bytes_come(size: int) -> None:
    sent = UPGRADED + text(b"{}") + frame(0) + frame(1, bytes(300)) + frame(3)
    stream, transport = received(sent[at : at + size] for at in range(0, len(sent), size))
    assert stream.times_ms == [0, 40, 120]
    assert stream.missing == 1
    assert stream.opened.done()
    assert transport.written == [b"GET", b"\x81\x82\0\0\0\0{}"]


async def test_a_ping_is_answered() -> None:
    _, transport = received([UPGRADED, b"\x89\x02hi"])
    assert transport.written[-1] == b"\x8a\x82\0\0\0\0hi"


async def test_a_refusal_is_raised() -> None:
    stream, _ = received([UPGRADED, text(b'{"type":"ERROR","data":{"message":"All are taken."}}')])
    with pytest.raises(StreamRefused, match="All are taken"):
        await stream.opened
    stream, transport = received([b"HTTP/1.1 403 Forbidden\r\n\r\n"])
    with pytest.raises(StreamRefused, match="403"):
        await stream.opened
    assert transport.was_aborted


@pytest.mark.parametrize("are_speaking", [False, True])
def test_sessions_that_cannot_be_opened_are_no_wait(are_speaking: bool) -> None:
    address = f"ws://127.0.0.1:{free_port()}"
    with (
        pytest.raises(SessionsRefused, match=r"failed|reached"),
        HeldSessions(address, "ann", 1, are_speaking=are_speaking),
    ):
        pass
