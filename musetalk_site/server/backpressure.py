"""Neither side of a stream piles up in memory what the other cannot take.

ASGI's ``send`` returns at once, so pictures for a client that reads nothing would pile up without
end. The transport tells when its buffer is full and when it has room again, and `WriteSide` tells
the consumer, which leaves frames out until then.

The other way round, the server puts what a client sends into a queue without end. `ReadSide` counts
what waits there, and stops reading from a client that sends faster than its messages are worked on,
so that it waits and not our memory. A client that sends more messages than any session needs is
read at a rate, evenly: its messages would otherwise keep the event loop busy without a pause, and a
thread that draws another one's picture gets its turn only when the loop waits.

Knows nothing of Daphne; of a transport only that it can be paused, in Twisted's terms.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from streaming.gateway.asgi_types import Receive
from streaming.session.rate_limit import Bucket

PAUSED_LIMIT_S = 60.0
"""A client that has read nothing for so long is dropped, though it may still be sending."""
WAITING_LIMIT = 16
"""How many messages of a client may wait."""
WAITING_LIMIT_BYTES = 2 * 1024 * 1024
"""How many bytes they may have together; the last of them still comes."""
MESSAGE_BURST = 200
MESSAGES_PER_S = 1_000
"""A minute of speech in pieces of 20 ms is read in three seconds."""
REST_S = 0.01
"""For how long a client that sends too many messages is not read from."""


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
    """Whether more of a client's messages may be read: little waits, and it keeps to its rate."""

    def __init__(
        self,
        transport: Readable,
        call_later: Callable[[float, Callable[[], None]], object],
        *,
        parse: Callable[[], None],
        now_s: float,
    ) -> None:
        """Read from the transport.

        Args:
            transport: The client's.
            call_later: Calls after so many seconds, in the event loop.
            parse: Makes messages of what was read already, until `is_open` is False.
            now_s: The moment, on the clock of `arrived`.
        """
        self._transport = transport
        self._call_later = call_later
        self._parse = parse
        self._rate = Bucket(MESSAGE_BURST, MESSAGES_PER_S, now_s)
        self._waiting: deque[int] = deque()
        """The sizes of the messages, oldest first."""
        self._waiting_bytes = 0
        self._is_held = self._is_resting = False

    @property
    def is_open(self) -> bool:
        """Whether a message may be parsed; if not, the transport is not read from either."""
        return not (self._is_held or self._is_resting)

    def arrived(self, size_bytes: int, now_s: float) -> None:
        """Count a message that was parsed, and waits for the application."""
        was_open = self.is_open
        self._waiting.append(size_bytes)
        self._waiting_bytes += size_bytes
        if len(self._waiting) >= WAITING_LIMIT or self._waiting_bytes >= WAITING_LIMIT_BYTES:
            self._is_held = True
        if not self._rate.take(1, now_s) and not self._is_resting:
            self._is_resting = True
            self._call_later(REST_S, self._wake)
        if was_open and not self.is_open:
            self._transport.pauseProducing()

    def taken(self) -> None:
        """Count a message that the application took."""
        if self._waiting:
            self._waiting_bytes -= self._waiting.popleft()
        is_little = (
            len(self._waiting) <= WAITING_LIMIT // 2
            and self._waiting_bytes <= WAITING_LIMIT_BYTES // 2
        )
        if self._is_held and is_little:
            self._is_held = False
            self._continue()

    def _wake(self) -> None:
        self._is_resting = False
        self._continue()

    def _continue(self) -> None:
        if not self.is_open:
            return
        self._transport.resumeProducing()
        self._parse()  # which may find that it is enough again

    def counting(self, receive: Receive) -> Receive:
        """``receive``, each of whose messages makes room for another."""

        async def take() -> Any:
            message = await receive()
            if message["type"] == "websocket.receive":
                self.taken()
            return message

        return take
