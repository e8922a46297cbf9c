"""One client's conversation with an avatar, as the gateway sees it. No I/O, no clock.

Theory of operation
-------------------
A `Session` begins with the connection. Inputs are methods, each with the moment on a monotonic
clock, and every one returns its effects, in order (`effects`):

====================================  ==========================================================
`text`, `binary`                      the client sent something
`from_worker`                         a worker sent something
`timer`                               `next_deadline_s` has come
`opened`, `id_taken`,
`avatar_missing`, `init_refused`      the answers to `OpenSession`, `ResumeSession`, `WatchSession`
`detach`, `resume`                    the connection is lost; the client is back on another one
`undelivered`                         a message could not be sent to its worker
`set_paused`                          the client reads too slowly, or fast enough again
`supersede`, `terminate`,
`shut_down`, `fail`                   the server ends it
`disconnected`                        the connection is gone
====================================  ==========================================================

`next_for_worker` is called while `FlushSpeech` is carried out. None of them raises on anything that
a client or a worker does: an exception out of here is a fault of the server, and `fail` the answer.

The states are those of `connection_state`, the ways to end those of `protocol.closing`. While the
session is OPEN it has a link to a worker (`worker_link`), speech (`session_speech`) and requests
(`client_requests`). A client's message passes four stages in this order: the token bucket, the
parser, the session check, the reaction to its type.
"""

import logging
import uuid
from collections.abc import Callable
from typing import Literal

from inference.messages import LayerMessage, SessionClaimed
from inference.timing import audio_timestamp_ms, frame_timestamp_ms
from streaming.protocol import binary, closing, codec
from streaming.protocol.client_messages import (
    AnyClientMessage,
    Close,
    Init,
    InitFields,
    Pong,
)
from streaming.protocol.closing import CloseCause, CloseCauseName
from streaming.protocol.errors import ClosingError, ProtocolError
from streaming.protocol.server_messages import (
    CloseAck,
    CloseAckFields,
    InitSuccess,
    Ping,
)
from streaming.session.audience import Audience, WatchTokens
from streaming.session.client_requests import ClientRequests
from streaming.session.clip_choice import Avatar
from streaming.session.connection_state import TRANSITIONS, Event, State, check, invalid_session
from streaming.session.context import Negotiated, SessionContext
from streaming.session.effects import (
    CloseConnection,
    Effect,
    OpenSession,
    ResumeSession,
    SendToWorker,
    WatchSession,
)
from streaming.session.init_success import init_success, init_success_1_2
from streaming.session.limits import SessionLimits
from streaming.session.metrics import SessionMetrics
from streaming.session.outgoing_video import FrameRelay
from streaming.session.rate_limit import MessageLimit
from streaming.session.resumption import ClientState, ResumeTokens, check_last_frame
from streaming.session.session_speech import SessionSpeech
from streaming.session.time_limits import TimeLimits
from streaming.session.timers import Timer
from streaming.session.worker_link import ReservePlace, WorkerLink

log = logging.getLogger(__name__)

INIT_WITHIN_S = 10.0
PING_EVERY_S = 30.0


class Session:
    """The session of one connection, from its opening to its close."""

    def __init__(
        self,
        *,
        user_id: str,
        reply_channel: str,
        now_s: float,
        rules: SessionLimits | None = None,
        is_binary: bool = False,
        tokens: ResumeTokens | None = None,
        watch_tokens: WatchTokens | None = None,
        reserve_place: ReservePlace = lambda worker: None,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        """Begin with a connection that was accepted.

        Args:
            user_id: From the path; names the avatar.
            reply_channel: Where workers answer.
            now_s: The moment, on the monotonic clock that all calls use.
            rules: Limits set by the operator.
            is_binary: The subprotocol musetalk.v1.binary was negotiated.
            tokens: Makes resume tokens; None: the session cannot be resumed.
            watch_tokens: Makes watch tokens; None: the session cannot be watched.
            reserve_place: Asks a worker of this process for a place to speak.
            new_id: Makes session and claim ids.
        """
        self.user_id = user_id
        self.state = State.CONNECTED
        self.close_cause: CloseCauseName | None = None
        """Why the server closed the connection; None if it did not, or not yet."""
        self.link: WorkerLink | None = None
        self.speech: SessionSpeech | None = None
        """None, as the link, before the session is open."""
        self._reply_channel = reply_channel
        self._rules = rules or SessionLimits()
        self._is_binary = is_binary
        self._tokens = tokens if self._rules.resume_s > 0 else None
        self._watch_tokens = watch_tokens if self._rules.max_watchers > 0 else None
        self._reserve_place = reserve_place
        self._new_id = new_id
        self.number = 0  # of its connection; a resumed session has had others before
        self._context = SessionContext()
        self.time_limits = TimeLimits(self._context, self._rules)
        self._limit = MessageLimit(now_s)
        self._requests: ClientRequests | None = None
        self._frames: FrameRelay | None = None
        self._next_audio_ms: int | None = None  # set once the session was resumed
        self._context.timers.set(Timer.INIT, now_s + INIT_WITHIN_S)
        self.time_limits.on_message(now_s)

    @property
    def session_id(self) -> str | None:
        """None before INIT."""
        return self._context.session_id

    @property
    def metrics(self) -> SessionMetrics:
        """What the session has done so far."""
        return self._context.metrics

    @property
    def audience(self) -> Audience:
        """Those who watch the session."""
        return self._context.audience

    def text(self, text: str, now_s: float) -> list[Effect]:
        """Take a text message of the client."""
        return self._receive(lambda: codec.parse(text), len(text), now_s)

    def binary(self, message: bytes, now_s: float) -> list[Effect]:
        """Take a binary message of the client."""
        if self._is_binary:
            return self._receive(
                lambda: binary.unpack_speech(message, self.session_id), len(message), now_s
            )
        return self._receive(_refuse_binary, len(message), now_s)

    def _receive(
        self, parse: Callable[[], AnyClientMessage], size_bytes: int, now_s: float
    ) -> list[Effect]:
        if self.state is State.CLOSED:
            return []
        self._context.metrics.received(size_bytes)
        self.time_limits.on_message(now_s)
        if self._limit.admits(size_bytes, now_s):
            try:
                message = parse()
                check(message, self.state, self._context.session_id)
                self._react(message, now_s)
            except ClosingError as error:
                self._end(closing.of(error))
            except ProtocolError as error:
                if self._limit.answers(error, now_s):
                    self._context.error(error)
        self._schedule_report()
        return self._context.outbox.take()

    def _schedule_report(self) -> None:
        """Have the client told of what was ignored."""
        if (report_s := self._limit.report_s) is not None and self.state is not State.CLOSED:
            self._context.timers.set(Timer.IGNORED, report_s)

    def _react(self, message: AnyClientMessage, now_s: float) -> None:
        match message:
            case Init():
                self._init(message)
            case Close():
                self._end(closing.CLIENT_REQUEST)
            case Pong():
                pass
            case _:
                assert self._requests is not None, "checked: the session is open"
                self._requests.receive(message, now_s)

    def _init(self, message: Init) -> None:
        if message.data.user_id != self.user_id:
            raise codec.invalid_message(
                f"data.user_id is {codec.quoted(message.data.user_id)}, but this address is "
                f"{self.user_id}'s: both must be the same."
            )
        is_watching = message.data.role == "watch"
        is_resumed = message.data.resume_token is not None
        if (is_watching or is_resumed) and message.session_id is None:
            raise invalid_session("To resume or watch a session, name it by its session_id.")
        session_id = message.session_id or self._new_id()
        self._context.session_id = session_id
        self._context.negotiated = Negotiated.of(message.data)
        self._go(Event.INIT)
        self._context.timers.stop(Timer.INIT)
        if is_watching:
            self._context.outbox.put(WatchSession(session_id, message.data))
        elif is_resumed:
            self._context.outbox.put(ResumeSession(session_id, message.data))
        else:
            data = message.data
            self._context.outbox.put(OpenSession(session_id, self.user_id, data.auth_token))

    def opened(
        self, avatar: Avatar, now_s: float, known: ClientState | None = None
    ) -> list[Effect]:
        """Begin: the session_id is reserved, and this is the user's avatar.

        Args:
            avatar: The user's.
            now_s: The moment.
            known: What the client knows of the session that it resumes; its process is gone.
        """
        if self.state is State.OPENING:
            self._go(Event.OPEN)
            self._allow_watchers()
            self._context.timers.set(Timer.PING, now_s + PING_EVERY_S)
            self.time_limits.opened(now_s)
            if known is not None:
                self.number = known.number + 1
                self._next_audio_ms = audio_timestamp_ms(known.next_position)
            self.speech = SessionSpeech(
                self._context,
                max_queued_s=self._rules.max_queued_speech_s,
                end_of_speech_s=self._rules.end_of_speech_s,
                start=0 if known is None else known.next_position,
                is_resumable=self.is_resumable,
            )
            self._frames = FrameRelay(
                self._context,
                is_binary=self._is_binary,
                last_frame=-1 if known is None else known.last_frame,
            )
            self.link = WorkerLink(
                self._context,
                reply_channel=self._reply_channel,
                avatar=avatar,
                speech=self.speech,
                frames=self._frames,
                observer=self,
                new_id=self._new_id,
                base_clip=None if known is None else known.clip,
                reserve_place=self._reserve_place,
            )
            self._requests = ClientRequests(self._context, self.link, self.speech)
            self.link.search(now_s)
        return self._context.outbox.take()

    def id_taken(self, now_s: float) -> list[Effect]:
        """Refuse a session_id that is live on another user's connection."""
        if self.state is State.OPENING:
            return self.init_refused(closing.OF_ANOTHER_USER, now_s)
        return self._ended(closing.ID_TAKEN)

    def init_refused(self, error: ProtocolError, now_s: float) -> list[Effect]:
        """Refuse an INIT that cannot open, resume or watch so; the client may send another."""
        if isinstance(error, ClosingError):
            return self.refuse(error)
        if self.state is State.OPENING:
            self._go(Event.REFUSE_ID)
            self._context.session_id = None
            self._context.timers.set(Timer.INIT, now_s + INIT_WITHIN_S)
            self._context.error(error)
        return self._context.outbox.take()

    def avatar_missing(
        self, reason: Literal["preparing", "failed", "none"], percent: int
    ) -> list[Effect]:
        """There is no face to show for this user; ``percent`` of its preparation is done."""
        if self.state is State.OPENING:
            self._end(closing.no_avatar(reason, percent))
        return self._context.outbox.take()

    def _allow_watchers(self) -> None:
        if self._context.negotiated.allows_watchers and self._watch_tokens is not None:
            assert self.session_id is not None, "it is opening"
            self.audience.open(self.session_id, self._watch_tokens, self._rules.max_watchers)

    @property
    def is_resumable(self) -> bool:
        """Whether the client may come back after it has lost its connection."""
        return self._tokens is not None and self._context.negotiated.has_1_2

    @property
    def can_resume(self) -> bool:
        """Whether it could be resumed now."""
        return self.is_resumable and self.state in (State.OPEN, State.DETACHED)

    def detach(self, *, is_replaced: bool = False) -> list[Effect]:
        """Wait for the client, or continue at once if it `is_replaced`."""
        assert self.link is not None, "it is open"
        if not is_replaced:
            self.audience.owner_away(round(self._rules.resume_s * 1_000))
        self._go(Event.DETACH)
        self._context.timers.stop_all()
        self._context.outbox.is_paused = False
        self.link.detach()
        return self._context.outbox.take()

    def handed_over(self) -> list[Effect]:
        """Return what the connection is sent whose session is resumed on another one."""
        self._farewell(closing.SUPERSEDED)
        return self._context.outbox.take()

    def check_resume(self, init: InitFields) -> None:
        """Raise ProtocolError if this INIT cannot continue the session, which is unchanged."""
        assert self._frames is not None, "it was open"
        check_last_frame(init, latest_ms=frame_timestamp_ms(max(self._frames.last_frame, 0)))

    def resume(
        self, init: InitFields, *, reply_channel: str, is_binary: bool, now_s: float
    ) -> list[Effect]:
        """Continue with a client that is back on another connection; `check_resume` allowed it.

        Args:
            init: What it sent.
            reply_channel: Where workers answer from now on.
            is_binary: The connection has the subprotocol musetalk.v1.binary.
            now_s: The moment.
        """
        assert self.link is not None, "it is detached"
        assert self.speech is not None, "it is detached"
        assert self._frames is not None, "it is detached"
        self._go(Event.RESUME)
        self.number += 1
        self._is_binary = is_binary
        self._context.negotiated = Negotiated.of(init)
        self._allow_watchers()
        self._context.timers.set(Timer.PING, now_s + PING_EVERY_S)
        self.time_limits.resumed(now_s)
        self._frames.resume(is_binary=is_binary)
        acknowledged = None if init.acknowledged_ms is None else int(init.acknowledged_ms)
        self._next_audio_ms = self.speech.resume(acknowledged, init.utterance_id, now_s)
        events = self._context.outbox.take()
        if self.link.last_worker is not None:
            self.on_first_worker(self.link.last_worker)  # INIT_SUCCESS goes first
        effects = [*self._context.outbox.take(), *events]
        self.link.resume(reply_channel, now_s)
        return effects + self._context.outbox.take()

    def on_first_worker(self, worker: SessionClaimed) -> None:
        """Answer INIT now that the link found a worker: INIT_SUCCESS can be sent."""
        assert self.link is not None, "it is the link that calls"
        fields = init_success(self.link.avatar, worker)
        self.audience.session_opened(fields)
        if self._context.negotiated.has_1_2:
            assert self.session_id is not None, "it is open"
            resume = self._tokens.issue(self.session_id, self.number) if self._tokens else None
            fields = init_success_1_2(
                fields,
                self.link.avatar,
                self._rules,
                resume_token=resume,
                watch_token=self.audience.new_token(),
                next_audio_ms=self._next_audio_ms,
            )
        self._context.outbox.to_client(InitSuccess(session_id=self.session_id, data=fields))

    def from_worker(self, message: LayerMessage, now_s: float) -> list[Effect]:
        """Take a message of a worker."""
        if self.link is not None:
            try:
                self.link.receive(message, now_s)
            except ClosingError as error:
                self._end(closing.of(error))
        return self._context.outbox.take()

    def next_for_worker(self, claim_id: str, now_s: float) -> SendToWorker | None:
        """Count as sent, and return, what the worker of this claim is due now; None: nothing."""
        return None if self.link is None else self.link.next_for_worker(claim_id, now_s)

    def undelivered(self, message: LayerMessage, now_s: float) -> list[Effect]:
        """Take back a message that could not be sent: its channel is full, or the layer gone."""
        if self.link is not None:
            self.link.undelivered(message, now_s)
        return self._context.outbox.take()

    @property
    def next_deadline_s(self) -> float | None:
        """When `timer` is to be called; None: not before another input."""
        return self._context.timers.next_s

    def timer(self, now_s: float) -> list[Effect]:
        """`next_deadline_s` has come."""
        while (due := self._context.timers.take_due(now_s)) is not None:
            timer, due_s = due
            try:
                self._on_timer(timer, due_s, now_s)
            except ClosingError as error:
                self._end(closing.of(error))
        return self._context.outbox.take()

    def _on_timer(self, timer: Timer, due_s: float, now_s: float) -> None:
        match timer:
            case Timer.INIT | Timer.IDLE | Timer.MAX_SESSION:
                self._end(closing.TIMEOUT)
            case Timer.TOKEN:
                self._end(closing.TOKEN_EXPIRED)
            case Timer.IDLE_WARNING | Timer.MAX_SESSION_WARNING | Timer.TOKEN_WARNING:
                self.time_limits.warn(timer)
            case Timer.PING:
                self._context.timers.set(Timer.PING, now_s + PING_EVERY_S)
                self._context.outbox.to_client(Ping(session_id=self.session_id))
            case Timer.IGNORED:
                self._context.error(self._limit.report(now_s))
            case Timer.SPEECH_TAIL | Timer.END_OF_SPEECH:
                assert self.speech is not None, "the session is open"
                assert self.link is not None, "the session is open"
                self.speech.on_timer(timer, now_s)
                self.link.flush_speech()
            case _:
                assert self.link is not None, "its timers run while it exists"
                self.link.on_timer(timer, due_s, now_s)

    def set_paused(self, is_paused: bool) -> None:
        """Whether the client reads too slowly for more to be sent to it."""
        self._context.outbox.is_paused = is_paused

    def supersede(self) -> list[Effect]:
        """End here: the same user opened this session on a newer connection."""
        return self._ended(closing.SUPERSEDED)

    def terminate(self) -> list[Effect]:
        """End it for an operator."""
        return self._ended(closing.OPERATOR)

    def shut_down(self) -> list[Effect]:
        """End it with the server."""
        return self._ended(closing.SERVER_SHUTDOWN)

    def refuse(self, error: ClosingError) -> list[Effect]:
        """There can be no session, or no longer."""
        return self._ended(closing.of(error))

    def fail(self) -> list[Effect]:
        """End it after a fault of the server."""
        self._context.outbox.take()  # discard the partially built reply
        return self._ended(closing.SERVER_FAULT)

    def disconnected(self) -> list[Effect]:
        """Nothing more can be sent to the client."""
        if self.state is not State.CLOSED:
            self._close()
        return self._context.outbox.take()

    def _ended(self, cause: CloseCause) -> list[Effect]:
        self._end(cause)
        return self._context.outbox.take()

    def _end(self, cause: CloseCause) -> None:
        if self.state is State.CLOSED:
            return
        self.close_cause = cause.word
        self._close()
        self._farewell(cause)

    def _farewell(self, cause: CloseCause) -> None:
        if cause.error is not None:
            self._context.error(cause.error)
        ack = CloseAck(session_id=self.session_id, data=CloseAckFields(reason=cause.reason))
        self._context.outbox.to_client(ack)
        self._context.outbox.put(CloseConnection(cause.close_code))

    def _close(self) -> None:
        if self.speech is not None:
            self.speech.end()
        self._go(Event.CLOSE)
        self._context.timers.stop_all()
        self.audience.end(is_shutdown=self.close_cause == closing.SERVER_SHUTDOWN.word)
        if self.link is not None:
            self.link.end()

    def _go(self, event: Event) -> None:
        before, self.state = self.state, TRANSITIONS[self.state][event]
        log.debug("session %s: %s -> %s", self.session_id, before.name, self.state.name)


def _refuse_binary() -> AnyClientMessage:
    raise codec.not_text()
