"""One client's conversation with an avatar, as the door sees it. No I/O, no clock.

Theory of operation
-------------------
A `Session` begins with the connection. What happens is handed in, each time with the moment on a
monotonic clock, and every call returns the effects that it has, in order (`streaming.effects`):

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

`next_for_worker` is asked while `HandOn` is carried out. None of them raises on anything that a
client or a worker does: an exception out of here is a fault of ours, and `fail` the answer to it.

The states are those of `streaming.states`, the ways to end those of `streaming.endings`. The link
to a worker (`streaming.link`) exists while the session is OPEN. The client's messages pass four
doors in this order: the token bucket, the parser, the session check, the reaction to each type.
"""

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from inference import messages as layer
from streaming import endings, protocol
from streaming import server_messages as told
from streaming.client_messages import AnyClientMessage, Close, Init, Pong
from streaming.clips import Avatar
from streaming.counters import Counters
from streaming.effects import CloseConnection, Effect, OpenSession, Outbox, SendToWorker
from streaming.endings import Ending, EndingWord
from streaming.errors import ClosingError, ProtocolError
from streaming.frames import FrameRelay
from streaming.gate import PictureGate
from streaming.limits import MessageLimit
from streaming.link import WorkerLink
from streaming.requests import Requests
from streaming.states import TRANSITIONS, Event, State, check, invalid_session
from streaming.timers import Timer, Timers

log = logging.getLogger(__name__)

INIT_WITHIN_S = 10.0
PING_EVERY_S = 30.0


@dataclass(frozen=True, slots=True)
class Rules:
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
        rules: Rules | None = None,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self.user_id = user_id
        self.session_id: str | None = None
        self.state = State.CONNECTED
        self.ending: EndingWord | None = None
        """Why the server closed the connection; None if it did not, or not yet."""
        self.counters = Counters()
        self.link: WorkerLink | None = None
        self._reply_channel = reply_channel
        self._rules = rules or Rules()
        self._new_id = new_id
        self._outbox = Outbox()
        self._gate = PictureGate()
        self._timers = Timers()
        self._limit = MessageLimit(now_s)
        self._requests: Requests | None = None
        self._timers.set(Timer.INIT, now_s + INIT_WITHIN_S)
        self._be_patient(now_s)

    # ---- the client

    def text(self, text: str, now_s: float) -> list[Effect]:
        if self._admit(now_s):
            try:
                message = protocol.parse(text)
                check(message, self.state, self.session_id)
                self._react(message, now_s)
            except ClosingError as error:
                self._end(endings.of(error))
            except ProtocolError as error:
                self._error(error)
        return self._outbox.take()

    def binary(self, now_s: float) -> list[Effect]:
        if self._admit(now_s):
            self._error(protocol.not_text())
        return self._outbox.take()

    def _admit(self, now_s: float) -> bool:
        """Whether the client's message is to be looked at."""
        if self.state is State.CLOSED:
            return False
        self.counters.messages += 1
        self._be_patient(now_s)
        is_admitted = self._limit.admits(now_s)
        if (report_s := self._limit.report_s) is not None:
            self._timers.set(Timer.IGNORED, report_s)
        return is_admitted

    def _react(self, message: AnyClientMessage, now_s: float) -> None:
        match message:
            case Init():
                self._init(message)
            case Close():
                self._end(endings.CLIENT_REQUEST)
            case Pong():
                pass
            case _:
                assert self._requests is not None, "checked: the session is open"
                self._requests.receive(message, now_s)

    def _init(self, message: Init) -> None:
        if message.data.user_id != self.user_id:
            raise ProtocolError(
                "INVALID_MESSAGE",
                f"data.user_id is {protocol.quoted(message.data.user_id)}, but this address is "
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
                    counters=self.counters,
                ),
                counters=self.counters,
                new_id=self._new_id,
            )
            self._requests = Requests(
                session_id=self.session_id,
                link=self.link,
                outbox=self._outbox,
                counters=self.counters,
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
            self._end(endings.no_avatar(reason, percent))
        return self._outbox.take()

    # ---- workers

    def from_worker(self, message: layer.LayerMessage, now_s: float) -> list[Effect]:
        if self.link is not None:
            try:
                self.link.receive(message, now_s)
            except ClosingError as error:
                self._end(endings.of(error))
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
                self._ring(timer, due_s, now_s)
            except ClosingError as error:
                self._end(endings.of(error))
        return self._outbox.take()

    def _ring(self, timer: Timer, due_s: float, now_s: float) -> None:
        match timer:
            case Timer.INIT | Timer.IDLE:
                self._end(endings.TIMEOUT)
            case Timer.PING:
                self._timers.set(Timer.PING, now_s + PING_EVERY_S)
                self._outbox.to_client(told.Ping(session_id=self.session_id))
            case Timer.IGNORED:
                self._error(self._limit.report(now_s))
            case _:
                assert self.link is not None, "its timers run while it exists"
                self.link.ring(timer, due_s, now_s)

    # ---- the connection

    def set_paused(self, is_paused: bool) -> None:
        """Whether the client reads too slowly for more to be sent to it."""
        self._outbox.is_paused = self._gate.is_paused = is_paused

    def supersede(self) -> list[Effect]:
        """The same user opened this session on a newer connection."""
        self._end(endings.SUPERSEDED)
        return self._outbox.take()

    def terminate(self) -> list[Effect]:
        """Somebody who runs the server wants it to end."""
        self._end(endings.OPERATOR)
        return self._outbox.take()

    def shut_down(self) -> list[Effect]:
        self._end(endings.SERVER_SHUTDOWN)
        return self._outbox.take()

    def fail(self) -> list[Effect]:
        """A fault of the server's."""
        self._outbox.take()  # half of an answer is none
        self._end(endings.SERVER_FAULT)
        return self._outbox.take()

    def disconnected(self) -> list[Effect]:
        """Nothing more can be sent to the client."""
        if self.state is not State.CLOSED:
            self._leave()
        return self._outbox.take()

    def _end(self, ending: Ending) -> None:
        if self.state is State.CLOSED:
            return
        if ending.error is not None:
            self._error(ending.error)
        self.ending = ending.word
        self._outbox.to_client(
            told.CloseAck(
                session_id=self.session_id, data=told.CloseAckFields(reason=ending.reason)
            )
        )
        self._leave()
        self._outbox.put(CloseConnection(ending.close_code))

    def _leave(self) -> None:
        self._go(Event.CLOSE)
        self._timers.stop_all()
        if self.link is not None:
            self.link.end()

    # ---- small things

    def _go(self, event: Event) -> None:
        before, self.state = self.state, TRANSITIONS[self.state][event]
        log.info("session %s: %s -> %s", self.session_id, before.name, self.state.name)

    def _be_patient(self, now_s: float) -> None:
        if self._rules.idle_s > 0:
            self._timers.set(Timer.IDLE, now_s + self._rules.idle_s)

    def _error(self, error: ProtocolError) -> None:
        self.counters.errors[error.code] += 1
        self._outbox.error(error, self.session_id)
