"""One client's conversation with an avatar, as the door sees it. No I/O, no clock.

Theory of operation
-------------------
A `Session` begins with the connection. What happens is handed in, each time with the moment on a
monotonic clock, and every call returns the effects that it has, in order (`effects`):

====================================  ==========================================================
`text`, `binary`                      the client sent something
`from_worker`                         a worker sent something
`timer`                               `next_deadline_s` has come
`opened`, `id_taken`,
`avatar_missing`                      the answers to the effect `OpenSession`
`undelivered`                         a message could not be sent to its worker
`set_paused`                          the client reads too slowly, or again fast enough
`supersede`, `terminate`,
`shut_down`, `fail`                   the server ends it
`disconnected`                        the connection is gone
====================================  ==========================================================

`next_for_worker` is asked while `FlushSpeech` is carried out. None of them raises on anything that
a
client or a worker does: an exception out of here is a fault of ours, and `fail` the answer to it.

The states are those of `connection_state`, the ways to end those of `closing`. The link
to a worker (`worker_link`) exists while the session is OPEN. The client's messages pass four
doors in this order: the token bucket, the parser, the session check, the reaction to each type.
"""

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from inference import messages as layer
from streaming.protocol import closing, codec
from streaming.protocol import server_messages as told
from streaming.protocol.client_messages import (
    AnyClientMessage,
    Close,
    EndOfSpeech,
    Init,
    Pong,
    UserSpeaking,
)
from streaming.protocol.closing import CloseCause, CloseCauseName
from streaming.protocol.errors import ClosingError, ProtocolError
from streaming.session.client_requests import ClientRequests
from streaming.session.clip_choice import Avatar
from streaming.session.connection_state import TRANSITIONS, Event, State, check, invalid_session
from streaming.session.effects import (
    CloseConnection,
    Effect,
    EffectQueue,
    OpenSession,
    SendToWorker,
)
from streaming.session.frames import FrameRelay
from streaming.session.gate import DecodableFilter
from streaming.session.metrics import SessionMetrics
from streaming.session.rate_limit import TokenBucket
from streaming.session.timers import Timer, Timers
from streaming.session.worker_link import WorkerLink

log = logging.getLogger(__name__)

INIT_WITHIN_S = 10.0
PING_EVERY_S = 30.0


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What whoever runs the server decides."""

    max_queued_speech_s: float = 60
    idle_s: float = 0
    """How long a client may be silent; 0: for ever."""


class Session:
    def __init__(
        self,
        *,
        user_id: str,
        reply_channel: str,
        now_s: float,
        rules: SessionLimits | None = None,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self.user_id = user_id
        self.session_id: str | None = None
        self.state = State.CONNECTED
        self.close_cause: CloseCauseName | None = None
        """Why the server closed the connection; None if it did not, or not yet."""
        self.metrics = SessionMetrics()
        self.link: WorkerLink | None = None
        self._reply_channel = reply_channel
        self._rules = rules or SessionLimits()
        self._new_id = new_id
        self._outbox = EffectQueue()
        self._gate = DecodableFilter()
        self._timers = Timers()
        self._limit = TokenBucket(now_s)
        self._requests: ClientRequests | None = None
        self._timers.set(Timer.INIT, now_s + INIT_WITHIN_S)
        self._restart_idle_timer(now_s)

    # ---- the client

    def text(self, text: str, now_s: float) -> list[Effect]:
        if self._admit(now_s):
            try:
                message = codec.parse(text)
                check(message, self.state, self.session_id)
                self._react(message, now_s)
            except ClosingError as error:
                self._end(closing.of(error))
            except ProtocolError as error:
                self._error(error)
        return self._outbox.take()

    def binary(self, now_s: float) -> list[Effect]:
        if self._admit(now_s):
            self._error(codec.not_text())
        return self._outbox.take()

    def _admit(self, now_s: float) -> bool:
        """Whether the client's message is to be looked at."""
        if self.state is State.CLOSED:
            return False
        self.metrics.messages += 1
        self._restart_idle_timer(now_s)
        is_admitted = self._limit.admits(now_s)
        if (report_s := self._limit.report_s) is not None:
            self._timers.set(Timer.IGNORED, report_s)
        return is_admitted

    def _react(self, message: AnyClientMessage, now_s: float) -> None:
        match message:
            case Init():
                self._init(message)
            case Close():
                self._end(closing.CLIENT_REQUEST)
            case Pong():
                pass
            case EndOfSpeech() | UserSpeaking():
                pass
            case _:
                assert self._requests is not None, "checked: the session is open"
                self._requests.receive(message, now_s)

    def _init(self, message: Init) -> None:
        if message.data.user_id != self.user_id:
            raise ProtocolError(
                "INVALID_MESSAGE",
                f"data.user_id is {codec.quoted(message.data.user_id)}, but this address is "
                f"{self.user_id}'s: both must be the same.",
            )
        self.session_id = message.session_id or self._new_id()
        self._go(Event.INIT)
        self._timers.stop(Timer.INIT)
        self._outbox.put(OpenSession(self.session_id, self.user_id))

    # ---- opening

    def opened(self, avatar: Avatar, now_s: float) -> list[Effect]:
        """The session_id is reserved, and this is the user's avatar."""
        if self.state is State.OPENING and self.session_id is not None:
            self._go(Event.OPEN)
            self._timers.set(Timer.PING, now_s + PING_EVERY_S)
            self.link = WorkerLink(
                session_id=self.session_id,
                reply_channel=self._reply_channel,
                avatar=avatar,
                outbox=self._outbox,
                timers=self._timers,
                frames=FrameRelay(
                    session_id=self.session_id,
                    gate=self._gate,
                    outbox=self._outbox,
                    metrics=self.metrics,
                ),
                metrics=self.metrics,
                new_id=self._new_id,
            )
            self._requests = ClientRequests(
                session_id=self.session_id,
                link=self.link,
                outbox=self._outbox,
                metrics=self.metrics,
                max_queued_speech_s=self._rules.max_queued_speech_s,
            )
            self.link.search(now_s)
        return self._outbox.take()

    def id_taken(self, now_s: float) -> list[Effect]:
        """The session_id is live on another user's connection."""
        if self.state is State.OPENING:
            self._go(Event.REFUSE_ID)
            self.session_id = None
            self._timers.set(Timer.INIT, now_s + INIT_WITHIN_S)
            self._error(
                invalid_session("This session_id is another user's; propose another, or null.")
            )
        return self._outbox.take()

    def avatar_missing(
        self, reason: Literal["preparing", "failed", "none"], percent: int
    ) -> list[Effect]:
        """There is no face to show for this user; ``percent`` of its preparation is done."""
        if self.state is State.OPENING:
            self._end(closing.no_avatar(reason, percent))
        return self._outbox.take()

    # ---- workers

    def from_worker(self, message: layer.LayerMessage, now_s: float) -> list[Effect]:
        if self.link is not None:
            try:
                self.link.receive(message, now_s)
            except ClosingError as error:
                self._end(closing.of(error))
        return self._outbox.take()

    def next_for_worker(self, claim_id: str) -> SendToWorker | None:
        """What the worker of this claim is to be sent now; it counts as sent. None: nothing."""
        return None if self.link is None else self.link.next_for_worker(claim_id)

    def undelivered(self, message: layer.LayerMessage, now_s: float) -> list[Effect]:
        """A message could not be sent to its worker: the channel is full, or the layer gone."""
        if self.link is not None:
            self.link.undelivered(message, now_s)
        return self._outbox.take()

    # ---- time

    @property
    def next_deadline_s(self) -> float | None:
        """When `timer` wants to be called."""
        return self._timers.next_s

    def timer(self, now_s: float) -> list[Effect]:
        while (due := self._timers.take_due(now_s)) is not None:
            timer, due_s = due
            try:
                self._on_timer(timer, due_s, now_s)
            except ClosingError as error:
                self._end(closing.of(error))
        return self._outbox.take()

    def _on_timer(self, timer: Timer, due_s: float, now_s: float) -> None:
        match timer:
            case Timer.INIT | Timer.IDLE:
                self._end(closing.TIMEOUT)
            case Timer.PING:
                self._timers.set(Timer.PING, now_s + PING_EVERY_S)
                self._outbox.to_client(told.Ping(session_id=self.session_id))
            case Timer.IGNORED:
                self._error(self._limit.report(now_s))
            case _:
                assert self.link is not None, "its timers run while it exists"
                self.link.on_timer(timer, due_s, now_s)

    # ---- the connection

    def set_paused(self, is_paused: bool) -> None:
        """Whether the client reads too slowly for more to be sent to it."""
        self._outbox.is_paused = self._gate.is_paused = is_paused

    def supersede(self) -> list[Effect]:
        """The same user opened this session on a newer connection."""
        self._end(closing.SUPERSEDED)
        return self._outbox.take()

    def terminate(self) -> list[Effect]:
        """Somebody who runs the server wants it to end."""
        self._end(closing.OPERATOR)
        return self._outbox.take()

    def shut_down(self) -> list[Effect]:
        self._end(closing.SERVER_SHUTDOWN)
        return self._outbox.take()

    def fail(self) -> list[Effect]:
        """A fault of the server's."""
        self._outbox.take()  # half of an answer is none
        self._end(closing.SERVER_FAULT)
        return self._outbox.take()

    def disconnected(self) -> list[Effect]:
        """Nothing more can be sent to the client."""
        if self.state is not State.CLOSED:
            self._leave()
        return self._outbox.take()

    def _end(self, close_cause: CloseCause) -> None:
        if self.state is State.CLOSED:
            return
        if close_cause.error is not None:
            self._error(close_cause.error)
        self.close_cause = close_cause.word
        self._outbox.to_client(
            told.CloseAck(
                session_id=self.session_id, data=told.CloseAckFields(reason=close_cause.reason)
            )
        )
        self._leave()
        self._outbox.put(CloseConnection(close_cause.close_code))

    def _leave(self) -> None:
        self._go(Event.CLOSE)
        self._timers.stop_all()
        if self.link is not None:
            self.link.end()

    # ---- small things

    def _go(self, event: Event) -> None:
        before, self.state = self.state, TRANSITIONS[self.state][event]
        log.info("session %s: %s -> %s", self.session_id, before.name, self.state.name)

    def _restart_idle_timer(self, now_s: float) -> None:
        if self._rules.idle_s > 0:
            self._timers.set(Timer.IDLE, now_s + self._rules.idle_s)

    def _error(self, error: ProtocolError) -> None:
        self.metrics.errors[error.code] += 1
        self._outbox.error(error, self.session_id)
