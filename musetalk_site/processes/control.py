"""A Unix socket between two processes of one machine that carries messages and descriptors.

One packet is one message, with at most one file descriptor. The kernel keeps packets whole and in
order, so there is no framing, and a descriptor cannot be taken for another message's. The end of
the file is the other process's end.

Nothing here waits: what the socket cannot take now is queued and sent when it can. A peer that
reads nothing would make the queue grow without end; past `MAX_QUEUED` it counts as gone.
"""

import array
import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from musetalk_site.processes.messages import MAX_BYTES

MAX_QUEUED = 1_000

Incoming = TypeVar("Incoming")


class PeerGone(ConnectionError):
    """The process at the other end is gone, or reads nothing."""


def control_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MAX_BYTES)
    return ends


class ControlSocket(Generic[Incoming]):
    """One end of a control socket, on the running event loop, from `start` to `close`."""

    def __init__(
        self,
        end: socket.socket,
        incoming: msgspec.msgpack.Decoder[Incoming],
        *,
        on_message: Callable[[Incoming, int | None], None],
        on_end: Callable[[], None],
    ) -> None:
        """Take over ``end``.

        Args:
            end: One of `control_pair`.
            incoming: Reads what the other end sends.
            on_message: Called with each message and its descriptor, which it must close.
            on_end: Called once, when the other end is gone.
        """
        self._socket = end
        self._socket.setblocking(False)
        self._decoder = incoming
        self._encoder = msgspec.msgpack.Encoder()
        self._on_message = on_message
        self._on_end = on_end
        self._queue: deque[tuple[bytes, int | None]] = deque()
        self._is_open = False

    def start(self) -> None:
        """Begin to receive."""
        self._loop = asyncio.get_running_loop()
        self._is_open = True
        self._loop.add_reader(self._socket, self._receive)

    def close(self) -> None:
        """Receive and send no more."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
        self._socket.close()
        while self._queue:
            _close(self._queue.popleft()[1])

    def receive_rest(self) -> None:
        """Receive at once all that the other end has sent, which may have ended since."""
        while self._is_open and self._receive():
            pass

    def send(self, message: msgspec.Struct, descriptor: int | None = None) -> None:
        """Send a message, later if the socket is full.

        Args:
            message: One that the other end knows.
            descriptor: Sent with it; the caller's own copy stays open.

        Raises:
            PeerGone: The other end is gone.
            ValueError: The message is larger than `MAX_BYTES`.
        """
        packet = self._encoder.encode(message)
        if len(packet) > MAX_BYTES:
            raise ValueError(f"{type(message).__name__} has {len(packet)} bytes")
        if not self._is_open or len(self._queue) >= MAX_QUEUED:
            raise PeerGone("the control socket is closed, or its other end reads nothing")
        if self._queue or not self._try(packet, descriptor):
            self._queue.append((packet, None if descriptor is None else os.dup(descriptor)))
            self._loop.add_writer(self._socket, self._send_queued)

    def _try(self, packet: bytes, descriptor: int | None) -> bool:
        """Whether the packet was sent."""
        rights = []
        if descriptor is not None:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
        try:
            self._socket.sendmsg([packet], rights)
        except BlockingIOError:
            return False
        except OSError as error:
            raise PeerGone(str(error)) from None
        return True

    def _send_queued(self) -> None:
        with contextlib.suppress(PeerGone):  # the reading side notices it
            while self._queue:
                packet, descriptor = self._queue[0]
                if not self._try(packet, descriptor):
                    return
                self._queue.popleft()
                _close(descriptor)
        self._loop.remove_writer(self._socket)

    def _receive(self) -> bool:
        """Whether there was a message."""
        try:
            packet, descriptors, _, _ = socket.recv_fds(self._socket, MAX_BYTES, 4)
        except BlockingIOError:
            return False
        except OSError:
            packet, descriptors = b"", []
        if not packet:
            self.close()
            self._on_end()
            return False
        descriptor = descriptors[0] if descriptors else None
        for surplus in descriptors[1:]:
            _close(surplus)
        self._on_message(self._decoder.decode(packet), descriptor)
        return True


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        with contextlib.suppress(OSError):
            os.close(descriptor)
