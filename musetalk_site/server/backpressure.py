"""Neither side of a stream piles up in memory what the other cannot take.

ASGI's ``send`` returns at once, so pictures for a client that reads nothing would pile up without
end. The transport tells when its buffer is full and when it has room again, and `WriteSide` tells
the consumer, which leaves frames out until then.

The other way round, the server puts what a client sends into a queue without end. `ReadSide` counts
what waits there, and stops reading from a client that sends faster than its messages are worked on,
so that it waits and not our memory.

Knows nothing of Daphne; of a transport only that it can be paused, in Twisted's terms.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from streaming.gateway.asgi_types import Receive

PAUSED_LIMIT_S = 60.0
"""A client that has read nothing for so long is dropped, though it may still be sending."""
REST_S = 0.1
"""For how long a client that sends too many messages is not read from."""
WAITING_LIMIT = 64
"""How many messages of a client may wait; what one read from its socket brought still comes."""
WAITING_LIMIT_BYTES = 2 * 1024 * 1024
"""How many bytes the messages of a client that wait may have together; the same holds."""


class WriteSide:
    """Whether the transport can take more bytes; a push producer in Twisted's terms."""

    def __init__(self) -> None:
        self.paused = False
        self._paused_since_s = 0.0
        self._callbacks: list[Callable[[bool], None]] = []

    def on_change(self, callback: Callable[[bool], None]) -> None:
        """Call ``callback(paused)`` at each change, in the event loop."""
        self._callbacks.append(callback)

    def is_stuck(self) -> bool:
        """Whether nothing could be written for `PAUSED_LIMIT_S`."""
        return self.paused and time.monotonic() - self._paused_since_s > PAUSED_LIMIT_S

    def pauseProducing(self) -> None:  # noqa: N802  named by Twisted
        self._set(True)

    def resumeProducing(self) -> None:  # noqa: N802  named by Twisted
        self._set(False)

    def stopProducing(self) -> None:  # noqa: N802  named by Twisted
        self._callbacks.clear()

    def _set(self, paused: bool) -> None:
        # A write to a transport that is full says it again: that is no change.
        if paused != self.paused:
            self.paused = paused
            self._paused_since_s = time.monotonic()
            for callback in self._callbacks:
                callback(paused)


class Readable(Protocol):
    """A transport that can be read from, or not for a while."""

    def pauseProducing(self) -> None: ...  # noqa: N802  named by Twisted
    def resumeProducing(self) -> None: ...  # noqa: N802  named by Twisted


class ReadSide:
    """The messages of a client that wait to be worked on; too much, and it is not read from."""

    def __init__(
        self, transport: Readable, call_later: Callable[[float, Callable[[], None]], object]
    ) -> None:
        """Read from the transport.

        Args:
            transport: The client's.
            call_later: Calls after so many seconds, in the event loop.
        """
        self._transport = transport
        self._call_later = call_later
        self._waiting: deque[int] = deque()
        """The sizes of the messages, oldest first."""
        self._waiting_bytes = 0
        self._is_held = self._is_resting = False

    def rest(self) -> None:
        """Do not read for `REST_S`: the client sends more messages than it may."""
        if not self._is_resting:
            self._is_resting = True
            self._transport.pauseProducing()
            self._call_later(REST_S, self._wake)

    def _wake(self) -> None:
        self._is_resting = False
        if not self._is_held:
            self._transport.resumeProducing()

    def arrived(self, size_bytes: int) -> None:
        """Count a message that the client sent."""
        self._waiting.append(size_bytes)
        self._waiting_bytes += size_bytes
        is_much = len(self._waiting) >= WAITING_LIMIT or self._waiting_bytes >= WAITING_LIMIT_BYTES
        if is_much and not self._is_held:
            self._is_held = True
            self._transport.pauseProducing()

    def taken(self) -> None:
        """Count a message that the application took."""
        if self._waiting:
            self._waiting_bytes -= self._waiting.popleft()
        is_little = (
            len(self._waiting) <= WAITING_LIMIT // 2
            and self._waiting_bytes <= WAITING_LIMIT_BYTES // 2
        )
        if is_little and self._is_held:
            self._is_held = False
            if not self._is_resting:
                self._transport.resumeProducing()

    def counting(self, receive: Receive) -> Receive:
        """``receive``, each of whose messages makes room for another."""

        async def take() -> Any:
            message = await receive()
            if message["type"] == "websocket.receive":
                self.taken()
            return message

        return take
