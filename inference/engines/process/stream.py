"""Messages on a Unix socket: each is msgpack behind its length, four bytes, big-endian.

A message is decoded from the buffer that the kernel wrote it to, and encoded into the one that it
is sent from: pictures are copied once on each side.
"""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar, cast

import msgspec

from inference.engines.process.messages import MAX_BYTES

_PREFIX_BYTES = 4
_BUFFER_BYTES = 512 * 1024

Incoming = TypeVar("Incoming")


class MessageStream(asyncio.BufferedProtocol, Generic[Incoming]):
    """One end of a connection."""

    def __init__(
        self,
        decoder: msgspec.msgpack.Decoder[Incoming],
        *,
        on_message: Callable[[Incoming], None],
        on_end: Callable[[], None],
        on_begin: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare an end.

        Args:
            decoder: Reads what the other end sends.
            on_message: Called with each message.
            on_end: Called once, when the connection ended, for whatever reason.
            on_begin: Called once, when messages can be sent.
        """
        self._decoder = decoder
        self._encoder = msgspec.msgpack.Encoder()
        self._on_message = on_message
        self._on_end = on_end
        self._on_begin = on_begin
        self._buffer = bytearray(_BUFFER_BYTES)
        self._begin = self._end = 0
        self._transport: asyncio.Transport | None = None

    def send(self, message: msgspec.Struct) -> None:
        """Send a message; nothing happens if the connection ended."""
        if self._transport is None or self._transport.is_closing():
            return
        packet = bytearray(_PREFIX_BYTES)
        self._encoder.encode_into(message, packet, _PREFIX_BYTES)
        packet[:_PREFIX_BYTES] = (len(packet) - _PREFIX_BYTES).to_bytes(_PREFIX_BYTES, "big")
        self._transport.write(packet)

    @property
    def unsent_bytes(self) -> int:
        """What the other end has not taken yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def close(self) -> None:
        """End the connection, without waiting for what is unsent."""
        if self._transport is not None:
            self._transport.abort()

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        self._on_begin()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._on_end()

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._buffer)[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        self._end += nbytes
        while (waiting := self._end - self._begin) >= _PREFIX_BYTES:
            body = self._begin + _PREFIX_BYTES
            size = int.from_bytes(self._buffer[self._begin : body], "big")
            if size > MAX_BYTES:
                self.close()
                return
            if waiting < _PREFIX_BYTES + size:
                self._make_room(_PREFIX_BYTES + size)
                return
            with memoryview(self._buffer) as whole, whole[body : body + size] as packet:
                message: Any = self._decoder.decode(packet)
            self._begin = body + size
            self._on_message(message)
        self._make_room(_PREFIX_BYTES)

    def _make_room(self, size: int) -> None:
        """Have room for a message of ``size`` bytes, and for something to read."""
        if self._begin == self._end:
            self._begin = self._end = 0
        if self._begin + size < len(self._buffer):
            return
        waiting = self._buffer[self._begin : self._end]
        if size >= len(self._buffer):
            self._buffer = bytearray(size + _BUFFER_BYTES)
        self._buffer[: len(waiting)] = waiting
        self._begin, self._end = 0, len(waiting)


@asynccontextmanager
async def accepting(
    listening: socket.socket, connect: Callable[[], MessageStream[Any]]
) -> AsyncIterator[None]:
    """Accept connections inside this; those that are open at its end stay open.

    `async with server` would wait for their ends, from Python 3.12 on. From 3.13 on a server that
    is closed also takes the socket's address away, where the next process is to be reached.

    Args:
        listening: A Unix socket that listens.
        connect: Returns our end of a connection.
    """
    kept: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(connect, sock=listening, **kept)
    try:
        yield
    finally:
        server.close()
