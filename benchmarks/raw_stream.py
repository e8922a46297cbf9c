"""A session or a watcher that costs its machine next to nothing.

It reads WebSocket frames by hand and looks at the time of a picture only, so that a hundred of them
take a seventh of a core, and what a benchmark measures on the same machine is the server.
"""

import asyncio
import json
import re
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from itertools import pairwise
from urllib.parse import urlsplit

from inference.timing import FRAME_MS
from streaming.protocol.address import STREAM_PREFIX
from streaming.protocol.binary import BINARY_SUBPROTOCOL, HEADER

TIMESTAMP = re.compile(rb'"frame_timestamp":(\d+)')
_TEXT, _BINARY, _PING, _PONG = 1, 2, 9, 10


class StreamRefused(Exception):
    """The server did not open the stream; the message has what it said."""


class RawStream(asyncio.Protocol):
    """One connection: notes when each frame came."""

    def __init__(self, request: bytes, init: bytes, *, is_binary: bool) -> None:
        """Prepare.

        Args:
            request: The head of the upgrade request.
            init: The INIT message.
            is_binary: Frames come as binary messages.
        """
        self._request = request
        self._init = init
        self._is_binary = is_binary
        self._buffer = bytearray()
        self._is_upgraded = False
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done at the first frame; fails if the stream is refused or lost before."""
        self.is_lost = False
        self.errors = 0
        """ERROR messages since the stream was opened."""
        self.times_ms: list[int] = []
        self.received_s: list[float] = []
        self.payload_bytes = 0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True
        self._fail("the connection was lost")

    def data_received(self, data: bytes) -> None:
        assert self.transport is not None
        self._buffer += data
        if not self._is_upgraded:
            head, separator, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            if not separator:
                return
            if b" 101 " not in head:
                self._fail(repr(head[:200]))
                self.transport.abort()
                return
            self._is_upgraded = True
            self._buffer = bytearray(rest)
            self.transport.write(_frame(_TEXT, self._init))
        while (message := self._next_message()) is not None:
            self._receive(*message)

    def _next_message(self) -> tuple[int, bytes] | None:
        """Opcode and payload; the server neither masks nor splits what it sends (RFC 6455, 5.2)."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        length, begin = buffer[1], 2
        if length == 126:
            length, begin = int.from_bytes(buffer[2:4], "big"), 4
        elif length == 127:
            length, begin = int.from_bytes(buffer[2:10], "big"), 10
        if len(buffer) < begin + length:
            return None
        message = buffer[0] & 15, bytes(buffer[begin : begin + length])
        del buffer[: begin + length]
        return message

    def _receive(self, opcode: int, payload: bytes) -> None:
        now_s = time.monotonic()
        if opcode == _BINARY and self._is_binary:
            self._add(HEADER.unpack_from(payload)[4], now_s, len(payload))
        elif opcode == _TEXT and payload.startswith(b'{"type":"VIDEO_FRAME"'):
            found = TIMESTAMP.search(payload)
            assert found is not None, "every frame has a time"
            self._add(int(found[1]), now_s, len(payload))
        elif opcode == _TEXT and payload.startswith(b'{"type":"ERROR"'):
            self.errors += 1
            self._fail(payload.decode())
        elif opcode == _PING and self.transport is not None:
            self.transport.write(_frame(_PONG, payload))

    def _add(self, time_ms: int, now_s: float, size_bytes: int) -> None:
        if not self.opened.done():
            self.opened.set_result(None)
        self.times_ms.append(time_ms)
        self.received_s.append(now_s)
        self.payload_bytes += size_bytes

    def _fail(self, reason: str) -> None:
        if not self.opened.done():
            self.opened.set_exception(StreamRefused(f"a stream was refused: {reason}"))

    def forget(self) -> None:
        """Measure from here on."""
        self.times_ms, self.received_s, self.payload_bytes, self.errors = [], [], 0, 0

    def stop_reading(self) -> None:
        """Read no more, without a farewell, as a page does whose machine sleeps."""
        assert self.transport is not None
        with suppress(OSError):
            raw: socket.socket = self.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        self.transport.pause_reading()

    def abort(self) -> None:
        """Leave without a farewell."""
        if self.transport is not None:
            self.transport.abort()

    @property
    def missing(self) -> int:
        """Frames that were left out between those that came."""
        return sum((b - a) // FRAME_MS - 1 for a, b in pairwise(self.times_ms))


def _frame(opcode: int, payload: bytes) -> bytes:
    """Return a masked frame of at most 65,535 bytes; the mask is zero."""
    length = len(payload)
    size = bytes([0x80 | length]) if length < 126 else b"\xfe" + length.to_bytes(2, "big")
    return bytes([0x80 | opcode]) + size + bytes(4) + payload


async def connect(
    address: str,
    user_id: str,
    session_id: str,
    fields: Mapping[str, object],
    *,
    is_binary: bool = False,
    names_session: bool = False,
) -> RawStream:
    """Connect and send INIT; `RawStream.opened` tells what became of it.

    Args:
        address: ``ws://HOST:PORT``.
        user_id: Whose avatar.
        session_id: The session to open, or to watch.
        fields: Of INIT, beside the user's id.
        is_binary: Ask for frames as binary messages.
        names_session: The address names the session, as a watcher's does.
    """
    parts = urlsplit(address)
    subprotocol = f"Sec-WebSocket-Protocol: {BINARY_SUBPROTOCOL}\r\n" if is_binary else ""
    query = f"?session={session_id}" if names_session else ""
    request = (
        f"GET {STREAM_PREFIX}{user_id}{query} HTTP/1.1\r\n"
        f"Host: {parts.netloc}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{subprotocol}\r\n"
    )
    data = {"user_id": user_id, **fields}
    init = json.dumps({"type": "INIT", "session_id": session_id, "data": data})
    _, stream = await asyncio.get_running_loop().create_connection(
        lambda: RawStream(request.encode(), init.encode(), is_binary=is_binary),
        parts.hostname or "127.0.0.1",
        parts.port or 80,
    )
    return stream
