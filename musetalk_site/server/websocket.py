"""One WebSocket of the server: Daphne's, made to tell whether its client keeps up.

The kernel's send buffer is kept short, or it would hide seconds of frames from us. What else
differs from the stock protocol are the places where that one stumbles, each named.
"""

import logging
import socket
import time
from collections.abc import Callable
from typing import Any

from daphne.ws_protocol import WebSocketProtocol
from twisted.internet import reactor

from musetalk_site.server import backpressure, prompt_writes
from musetalk_site.server.backpressure import ReadSide, WriteSide
from streaming.session.rate_limit import Bucket

log = logging.getLogger(__name__)

FRAME_BURST = 1_000
FRAMES_PER_S = 100
"""Pings, pongs and fragments of a client; honest ones send a few a second."""
UNSENT_LIMIT_BYTES = 32 * 1024
"""How much unsent data the kernel may hold: about two pictures."""
CLOSE_SERVER_FAULT = 4500
MAX_SHORT_BYTES = 0xFFFF
"""The largest message whose length has two bytes; pictures have some thousand."""


def short_frame(payload: bytes, *, is_binary: bool) -> bytes:
    """Return a whole message of at most `MAX_SHORT_BYTES` as one frame (RFC 6455, 5.2).

    Autobahn's own way there takes a third of what sending a picture costs.
    """
    size = len(payload)
    length = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
    return (b"\x82" if is_binary else b"\x81") + length + payload


class StreamProtocol(WebSocketProtocol):  # type: ignore[misc]  # daphne has no types
    """``write_side`` and ``read_side`` are there from the handshake on."""

    _on_answered: Callable[[], None] | None = None

    def when_answered(self, on_answered: Callable[[], None]) -> None:
        """Have something called once the handshake is over, whatever came of it."""
        self._on_answered = on_answered
        if self.state != self.STATE_CONNECTING:
            self._answered()

    def _answered(self) -> None:
        on_answered, self._on_answered = self._on_answered, None
        if on_answered is not None:
            on_answered()

    def onConnect(self, request: Any) -> Any:  # noqa: N802  named by Autobahn
        self.write_side = WriteSide()
        now_s = time.monotonic()
        self.read_side = ReadSide(
            self.transport, reactor.callLater, parse=self.consumeData, now_s=now_s
        )
        self._frames = Bucket(FRAME_BURST, FRAMES_PER_S, now_s)
        return super().onConnect(request)

    def onOpen(self) -> None:  # noqa: N802  named by Autobahn
        super().onOpen()
        # The HTTP channel registered itself before the upgrade; as long as it stays, ours is deaf.
        self.transport.unregisterProducer()
        self.transport.registerProducer(self.write_side, True)
        if hasattr(socket, "TCP_NOTSENT_LOWAT") and hasattr(self.transport, "getHandle"):
            self.transport.getHandle().setsockopt(
                socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_LIMIT_BYTES
            )
        reactor.callLater(0, self._answered)  # once it is written

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:  # noqa: N802, N803
        # A handshake that failed is closed, too, though it never became a connection.
        if hasattr(self, "server"):
            super().onClose(wasClean, code, reason)

    def connectionLost(self, reason: Any) -> None:  # noqa: N802  named by Twisted
        super().connectionLost(reason)
        self._answered()

    # Autobahn composes a debug line, in color, for each piece of data, written or not, and fires an
    # event that nobody waits for with each message. These are its methods without that.

    def dataReceived(self, data: bytes) -> None:  # noqa: N802  named by Twisted
        self._dataReceived(data)

    def sendData(  # noqa: N802  named by Autobahn
        self, data: bytes, sync: bool = False, chopsize: int | None = None
    ) -> None:
        if sync or chopsize or self.send_queue or self.state != self.STATE_OPEN:
            super().sendData(data, sync, chopsize)
            return
        prompt_writes.write(self.transport, data)
        self.trafficStats.outgoingOctetsWireLevel += len(data)

    def onMessageEnd(self) -> None:  # noqa: N802  named by Autobahn
        if not self.failedByMe:
            self._onMessage(b"".join(self.message_data), self.message_is_binary)
        self.message_data.clear()

    def consumeData(self) -> None:  # noqa: N802  named by Autobahn
        """Parse what was read, as far as `read_side` allows: one read may hold a thousand messages.

        It calls this again when there is room.
        """
        if self.state not in (self.STATE_OPEN, self.STATE_CLOSING):
            super().consumeData()
            return
        while self.read_side.is_open and self.processData() and self.state != self.STATE_CLOSED:
            pass

    def serverSend(self, content: Any, binary: bool = False) -> None:  # noqa: N802  named by Daphne
        # The peer may be gone while the application does not know it yet.
        if self.state not in (self.STATE_CONNECTING, self.STATE_OPEN):
            return
        payload = content if binary else content.encode()
        if (
            self.state == self.STATE_OPEN
            and self._perMessageCompress is None
            and len(payload) <= MAX_SHORT_BYTES
        ):
            self.sendData(short_frame(payload, is_binary=binary))
        else:
            super().serverSend(content, binary)

    def onPing(self, payload: bytes) -> None:  # noqa: N802  named by Autobahn
        # An answer to a client that reads nothing would only pile up.
        if self._takes_frame() and not self.write_side.paused:
            super().onPing(payload)

    def onPong(self, payload: bytes) -> None:  # noqa: N802  named by Autobahn
        if self._takes_frame():
            super().onPong(payload)

    def onMessageBegin(self, isBinary: bool) -> None:  # noqa: N802, N803  named by Autobahn
        self._is_first_frame = True
        super().onMessageBegin(isBinary)

    def onMessageFrameBegin(self, length: int) -> None:  # noqa: N802  named by Autobahn
        # The first frame counts as the message; `ReadSide` counts those.
        is_first, self._is_first_frame = self._is_first_frame, False
        if is_first or self._takes_frame():
            super().onMessageFrameBegin(length)

    def _takes_frame(self) -> bool:
        """Whether a ping, pong or fragment is within the limit; otherwise the client is dropped."""
        if self._frames.take(1, time.monotonic()):
            return True
        if self.state == self.STATE_OPEN:
            log.info("dropped a client that sent over %d frames a second", FRAMES_PER_S)
            self.dropConnection(abort=True)
        return False

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N802, N803  as above
        super().onMessage(payload, isBinary)
        self.read_side.arrived(len(payload), time.monotonic())

    def check_timeouts(self) -> None:
        if self.state == self.STATE_OPEN and self.write_side.is_stuck():
            log.info(
                "dropped a client that has read nothing for %.0f s", backpressure.PAUSED_LIMIT_S
            )
            self.dropConnection(abort=True)
            return
        super().check_timeouts()

    def handle_exception(self, exception: BaseException) -> None:
        # The stock code 1011 is one that Autobahn refuses to send.
        if self.state == self.STATE_OPEN:
            self.sendClose(code=CLOSE_SERVER_FAULT)
        else:
            super().handle_exception(exception)
