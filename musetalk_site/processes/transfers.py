"""Connections that were sent to a process and that it has not answered yet.

A process may die with a connection that was just sent to it, and its client would see it closed
without a word. So the supervisor keeps a descriptor of its own, and what was read of the request,
until the process has answered. If that one dies before, another one gets the connection.

All of it is bounded: how many are kept, for how long, and how many processes may die with one. A
request that kills its processes does not go round.
"""

import contextlib
import os
import socket
from dataclasses import dataclass
from typing import Final

from musetalk_site.processes.messages import PlaceConnection

MAX_KEPT: Final = 256
KEEP_S: Final = 20.0
"""The watchdog ends a process that stands still for half as long."""
TRIES: Final = 3
NOT_KEPT: Final = 0
"""The number of a transfer that is one of too many."""
UNAVAILABLE: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"Retry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)


@dataclass(slots=True, eq=False)
class Transfer:
    """One connection."""

    number: int
    descriptor: int
    request: PlaceConnection
    asker: int
    """The process that read its request."""
    since_s: float
    process: int | None = None
    """Where it was sent; None: no process could take it yet."""
    tries: int = 0
    """The processes that it was sent to."""


class Transfers:
    """The connections that the supervisor keeps."""

    def __init__(self) -> None:
        self._kept: dict[int, Transfer] = {}
        self._last = NOT_KEPT

    def __len__(self) -> int:
        return len(self._kept)

    def begin(
        self, descriptor: int, request: PlaceConnection, *, asker: int, now_s: float
    ) -> Transfer:
        """Keep a connection.

        Args:
            descriptor: Of the connection; the caller's own stays open. Where there is no room for
                another one, the transfer has the caller's, and is good for one try.
            request: What was read.
            asker: The process that read it.
            now_s: Monotonic time.
        """
        if len(self._kept) < MAX_KEPT:
            with contextlib.suppress(OSError):  # there are too many descriptors
                kept = Transfer(self._last + 1, os.dup(descriptor), request, asker, now_s)
                self._last = kept.number
                self._kept[kept.number] = kept
                return kept
        return Transfer(NOT_KEPT, descriptor, request, asker, now_s)

    def end(self, number: int) -> None:
        """Let go of a connection whose request was answered."""
        if transfer := self._kept.pop(number, None):
            os.close(transfer.descriptor)

    def process_ended(self, process: int) -> None:
        """Take back what a process that ended was sent and did not answer."""
        for transfer in self._kept.values():
            if transfer.process == process:
                transfer.process = None

    def waiting(self, now_s: float) -> list[Transfer]:
        """Return those that no process has.

        What `TRIES` processes did not survive, or has been kept for too long, is refused before.
        """
        for transfer in list(self._kept.values()):
            is_worn = transfer.process is None and transfer.tries >= TRIES
            if is_worn or now_s - transfer.since_s > KEEP_S:
                self._refuse(transfer)
        return [transfer for transfer in self._kept.values() if transfer.process is None]

    def close(self) -> None:
        """Refuse all of them."""
        for transfer in list(self._kept.values()):
            self._refuse(transfer)

    def _refuse(self, transfer: Transfer) -> None:
        """Say that it will not be served, unless a process has it, which may still answer it."""
        if transfer.process is None:
            copy = os.dup(transfer.descriptor)
            with contextlib.suppress(OSError), socket.socket(fileno=copy) as client:
                client.setblocking(False)
                client.send(UNAVAILABLE)
                client.shutdown(socket.SHUT_RDWR)
        self.end(transfer.number)
