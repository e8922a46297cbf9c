"""One connection that watches a session: what its client may say, and what it is sent.

It takes the place of the connection's own `Session` once the token was found to be good, and has
the same inputs. Its client may send CLOSE and PONG only. What the `Audience` sends waits here until
the connection takes it; a connection that takes too little misses frames up to an IDR.

Pure: time is an argument.
"""

from collections.abc import Callable
from typing import NamedTuple

from inference.messages import VideoFrame
from streaming.protocol import binary, closing, codec
from streaming.protocol.client_messages import AnyClientMessage, Close, InitFields, Pong
from streaming.protocol.closing import CloseCause
from streaming.protocol.errors import CloseCode, ProtocolError
from streaming.protocol.server_messages import (
    CloseAck,
    CloseAckFields,
    CloseReason,
    Error,
    Ping,
    ServerMessage,
)
from streaming.session.connection_state import invalid_session
from streaming.session.decodable_filter import DecodableFilter
from streaming.session.effects import (
    MAX_REPLIES_UNREAD,
    CloseConnection,
    Effect,
    SendPayload,
    SendToClient,
)
from streaming.session.metrics import SessionMetrics
from streaming.session.rate_limit import MessageLimit
from streaming.session.timers import Timer, Timers

PING_EVERY_S = 30.0
MAX_WAITING = 50
"""Messages that may wait to be taken before frames are held back: two seconds of them."""
_RECEIVES = frozenset({"video", "audio", "events"})


class Form(NamedTuple):
    """How a watcher is sent frames."""

    is_binary: bool
    has_sound: bool


class Watcher:
    """The conversation of one connection that watches."""

    def __init__(
        self,
        session_id: str,
        init: InitFields,
        *,
        is_binary: bool,
        metrics: SessionMetrics,
        on_news: Callable[[], None],
        on_closed: Callable[["Watcher"], None],
        now_s: float,
    ) -> None:
        """Begin, before `Audience.join`.

        Args:
            session_id: As the client gave it.
            init: What the client sent.
            is_binary: The connection has the subprotocol musetalk.v1.binary.
            metrics: The connection's.
            on_news: Called when `take` has something.
            on_closed: Called when nothing more can be sent.
            now_s: The moment.
        """
        receive = _RECEIVES if init.receive is None else frozenset(init.receive)
        self.session_id = session_id
        self.form = Form(is_binary=is_binary, has_sound="audio" in receive)
        self.has_video = "video" in receive
        self.has_events = "events" in receive
        self.filter = DecodableFilter()
        self.shown: tuple[str, str] | None = None
        """State and clip of the last frame: sent to binary clients when they change."""
        self.is_closed = False
        self._is_binary = is_binary
        self._metrics = metrics
        self._on_news = on_news
        self._limit = MessageLimit(now_s)
        self._timers = Timers()
        self._effects: list[Effect] = []
        self._is_transport_full = False
        self._unread = 0
        """Messages other than frames that were sent since the client stopped reading."""
        self._on_closed = on_closed
        self._timers.set(Timer.PING, now_s + PING_EVERY_S)

    # From the audience.

    @property
    def is_paused(self) -> bool:
        """Too much waits for this client already."""
        return self._is_transport_full or len(self._effects) >= MAX_WAITING

    def send(self, payload: SendPayload) -> None:
        """Send a message that is no frame; a client that reads nothing is sent so many only."""
        if self._has_room():
            self._put(payload)

    def send_frame(self, payload: SendPayload, frame: VideoFrame) -> None:
        """Send a frame that the client can decode."""
        self._metrics.frames_sent += 1
        self._metrics.video_bytes += len(frame.access_unit)
        self._put(payload)

    def held_back(self) -> None:
        """Count a frame that was not sent."""
        self._metrics.frames_held_back += 1

    def session_ended(self, *, is_shutdown: bool) -> None:
        """There is nothing more to watch."""
        if is_shutdown:
            self._end(closing.SERVER_SHUTDOWN)
        elif not self.is_closed:
            self._close()
            self._farewell("session_ended", CloseCode.CLIENT_REQUEST)

    # From the connection.

    def take(self) -> list[Effect]:
        """Return what is to be sent now."""
        effects, self._effects = self._effects, []
        return effects

    def text(self, text: str, now_s: float) -> list[Effect]:
        """Take a text message of the client."""
        return self._receive(lambda: codec.parse(text), len(text), now_s)

    def binary(self, message: bytes, now_s: float) -> list[Effect]:
        """Take a binary message of the client."""

        def parse() -> AnyClientMessage:
            if not self._is_binary:
                raise codec.not_text()
            return binary.unpack_speech(message, self.session_id)

        return self._receive(parse, len(message), now_s)

    def _receive(
        self, parse: Callable[[], AnyClientMessage], size_bytes: int, now_s: float
    ) -> list[Effect]:
        if self.is_closed:
            return []
        self._metrics.received(size_bytes)
        if self._limit.admits(size_bytes, now_s):
            try:
                self._react(parse())
            except ProtocolError as error:
                if self._limit.answers(error, now_s):
                    self._error(error)
        if not self.is_closed and (report_s := self._limit.report_s) is not None:
            self._timers.set(Timer.IGNORED, report_s)
        return self.take()

    def _react(self, message: AnyClientMessage) -> None:
        match message:
            case Close():
                self._end(closing.CLIENT_REQUEST)
            case Pong():
                pass
            case _:
                raise invalid_session("This connection watches; it may send CLOSE and PONG only.")

    @property
    def next_deadline_s(self) -> float | None:
        """When `timer` is to be called; None: not before another input."""
        return self._timers.next_s

    def timer(self, now_s: float) -> list[Effect]:
        """`next_deadline_s` has come."""
        while (due := self._timers.take_due(now_s)) is not None:
            if due[0] is Timer.PING:
                self._timers.set(Timer.PING, now_s + PING_EVERY_S)
                self._to_client(Ping(session_id=self.session_id))
            else:
                self._error(self._limit.report(now_s))
        return self.take()

    def set_paused(self, is_paused: bool) -> None:
        """Whether the client reads too slowly for more to be sent to it."""
        self._is_transport_full = is_paused

    def supersede(self) -> list[Effect]:
        """Never the case: a watcher has no session to give up."""
        return self.take()

    def terminate(self) -> list[Effect]:
        """End it for an operator."""
        return self._ended(closing.OPERATOR)

    def shut_down(self) -> list[Effect]:
        """End it with the server."""
        return self._ended(closing.SERVER_SHUTDOWN)

    def fail(self) -> list[Effect]:
        """End it after a fault of the server."""
        self.take()  # discard the partially built reply
        return self._ended(closing.SERVER_FAULT)

    def disconnected(self) -> list[Effect]:
        """Nothing more can be sent to the client."""
        self._close()
        return []

    def _ended(self, cause: CloseCause) -> list[Effect]:
        self._end(cause)
        return self.take()

    def _end(self, cause: CloseCause) -> None:
        if self.is_closed:
            return
        self._close()
        if cause.error is not None:
            self._error(cause.error)
        self._farewell(cause.reason, cause.close_code)

    def _farewell(self, reason: CloseReason, code: CloseCode) -> None:
        ack = CloseAck(session_id=self.session_id, data=CloseAckFields(reason=reason))
        self._put(SendToClient(ack))
        self._put(CloseConnection(code))

    def _close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self._timers.stop_all()
            self._on_closed(self)

    def _error(self, error: ProtocolError) -> None:
        self._metrics.errors[error.code] += 1
        self._to_client(Error.of(error, self.session_id))

    def _to_client(self, message: ServerMessage) -> None:
        if self._has_room():
            self._put(SendToClient(message))

    def _has_room(self) -> bool:
        """Whether a message that is no frame may be sent; it counts as sent."""
        if not self.is_paused:
            self._unread = 0
        elif self._unread >= MAX_REPLIES_UNREAD:
            return False
        self._unread += 1
        return True

    def _put(self, effect: Effect) -> None:
        self._effects.append(effect)
        self._on_news()
