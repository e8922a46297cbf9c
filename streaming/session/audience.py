"""The watchers of one session: what they receive, and when.

A session that allows watchers shows its audience every frame, before the owner's own backpressure
and whatever the owner itself receives. Each message is serialized once for all watchers of the
same form (JSON or binary, with or without sound), and each watcher has a filter of its own: one
that reads too slowly misses frames up to an IDR, and nobody else notices.

Nothing that a watcher does reaches the session. Pure.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

import msgspec

from inference.messages import VideoFrame
from streaming.protocol import binary, codec
from streaming.protocol.errors import ProtocolError
from streaming.protocol.server_messages import (
    FrameSound,
    InitSuccess,
    InitSuccessFields,
    ServerMessage,
    SessionWarning,
    SpeechFinished,
    SpeechStarted,
    WarningFields,
    frame_info,
    frame_message,
)
from streaming.session.connection_state import invalid_session
from streaming.session.effects import SendPayload
from streaming.session.init_success import PROTOCOL_VERSION
from streaming.session.watcher import Form, Watcher

MAX_EVENTS_KEPT = 100
"""Events before the first frame of a watcher that are kept for it, as far as no frame comes."""
RETRY_AFTER_MS = 10_000
"""When a watcher for whom there is no place may try again."""


class WatchTokens(Protocol):
    """Makes what lets others watch a session."""

    @property
    def opened_at(self) -> float:
        """When the session was opened, seconds since 1970; its tokens say so."""

    def issue(self, session_id: str) -> str:
        """Return a token for the session, to be used by many."""

    def admits(self, token: str, session_id: str) -> bool:
        """Whether a token is for this session, and not too old."""


class AudienceRelay(Protocol):
    """Passes on what an audience is shown, to watchers of another machine."""

    def opened(self, fields: InitSuccessFields) -> None:
        """Take note that a worker was found."""

    def show(self, frame: VideoFrame, sound: FrameSound | None) -> None:
        """Every frame, in order."""

    def tell(self, event: SpeechStarted | SpeechFinished) -> None:
        """Tell the watchers of a speech event."""

    def require_idr(self) -> None:
        """Another encoder begins."""

    def owner_away(self, in_ms: int) -> None:
        """Tell the watchers that the owner lost its connection."""

    def end(self, *, is_shutdown: bool) -> None:
        """End with the session."""


class Audience:
    """Everybody who watches one session."""

    def __init__(self) -> None:
        self._session_id: str | None = None
        self._tokens: WatchTokens | None = None
        self.max_watchers = 0
        self.init_fields: InitSuccessFields | None = None
        """What was sent to the owner when a worker was found."""
        self._relays: dict[AudienceRelay, None] = {}
        self._init_success: SendPayload | None = None
        self._is_owner_away = False
        self._watchers: dict[Watcher, None] = {}
        self._events_since_frame: deque[SendPayload] = deque(maxlen=MAX_EVENTS_KEPT)
        self._take_idr: list[Callable[[bytes], None]] = []

    @property
    def is_open(self) -> bool:
        """Whether the session may be watched."""
        return self._session_id is not None

    @property
    def watchable_since(self) -> float | None:
        """When the session was opened, as its tokens say; None: nobody may watch it."""
        return None if self._tokens is None or not self.is_open else self._tokens.opened_at

    @property
    def relays(self) -> tuple[AudienceRelay, ...]:
        """Those to other machines."""
        return tuple(self._relays)

    def add_relay(self, relay: AudienceRelay) -> None:
        """Pass on what the audience is shown."""
        self._relays[relay] = None

    def remove_relay(self, relay: AudienceRelay) -> None:
        """Nobody watches there any more."""
        self._relays.pop(relay, None)

    def __len__(self) -> int:
        return len(self._watchers)

    # From the session.

    def open(self, session_id: str, tokens: WatchTokens, max_watchers: int) -> None:
        """Open to watchers, as the owner allows.

        Args:
            session_id: The owner's.
            tokens: Of those who may watch.
            max_watchers: How many at once.
        """
        self._session_id = session_id
        self._tokens = tokens
        self.max_watchers = max_watchers

    def new_token(self) -> str | None:
        """Return what lets others watch; None if nobody may."""
        if self._tokens is None or self._session_id is None:
            return None
        return self._tokens.issue(self._session_id)

    def admits(self, token: str) -> bool:
        """Whether the token lets its bearer watch this session."""
        return (
            self._tokens is not None
            and self._session_id is not None
            and self._tokens.admits(token, self._session_id)
        )

    def session_opened(self, fields: InitSuccessFields) -> None:
        """Take what the owner was sent when a worker was found."""
        if not self.is_open:
            return
        is_first = self._init_success is None
        message = InitSuccess(
            session_id=self._session_id,
            data=msgspec.structs.replace(fields, protocol_version=PROTOCOL_VERSION),
        )
        self._init_success = _text(message)
        self.init_fields = fields
        for relay in self.relays:
            relay.opened(fields)
        if is_first:
            for watcher in self._watchers:
                watcher.send(self._init_success)

    def require_idr(self) -> None:
        """Another encoder begins."""
        for relay in self.relays:
            relay.require_idr()
        for watcher in self._watchers:
            watcher.filter.require_idr()

    def show(self, frame: VideoFrame, sound: FrameSound | None) -> None:
        """Send a frame to everybody who can decode it.

        Args:
            frame: Every frame that comes, in order.
            sound: The sound that belongs to it.
        """
        for relay in self.relays:
            relay.show(frame, sound)
        if self._take_idr and frame.is_idr:
            takers, self._take_idr = self._take_idr, []
            for take in takers:
                take(frame.access_unit)
        self._is_owner_away = False
        if not self._watchers:
            self._events_since_frame.clear()
            return
        payloads: dict[Form, SendPayload] = {}
        info: SendPayload | None = None
        clip = (frame.state, frame.clip)
        for watcher in self._watchers:
            if not watcher.has_video:
                continue
            begins = watcher.filter.last_accepted < 0
            if not watcher.filter.accepts(frame, is_paused=watcher.is_paused):
                if not begins:
                    watcher.held_back()
                continue
            if begins and watcher.has_events:
                for event in self._events_since_frame:
                    watcher.send(event)
            form = watcher.form
            if form.is_binary and watcher.shown != clip:
                watcher.shown = clip
                info = info or self._frame_info(frame)
                watcher.send(info)
            payload = payloads.get(form)
            if payload is None:
                payload = payloads[form] = self._frame_payload(frame, sound, form)
            watcher.send_frame(payload, frame)
        self._events_since_frame.clear()

    def take_next_idr(self, take: Callable[[bytes], None]) -> None:
        """Call ``take`` with the next access unit that can be decoded by itself.

        Staff may look at a session that nobody may watch.
        """
        self._take_idr.append(take)

    def tell(self, event: SpeechStarted | SpeechFinished) -> None:
        """Send a speech event to everybody who has begun to watch."""
        for relay in self.relays:
            relay.tell(event)
        if not self._watchers:
            return
        payload = _text(event)
        self._events_since_frame.append(payload)
        for watcher in self._watchers:
            has_begun = watcher.filter.last_accepted >= 0 or not watcher.has_video
            if watcher.has_events and has_begun:
                watcher.send(payload)

    def owner_away(self, in_ms: int) -> None:
        """Tell that the owner lost its connection; without it the session ends in ``in_ms``."""
        self._is_owner_away = True
        for relay in self.relays:
            relay.owner_away(in_ms)
        self._to_all(self._warning(in_ms))

    def end(self, *, is_shutdown: bool) -> None:
        """End with the session, because the whole server ends or for another reason."""
        for relay in self.relays:
            relay.end(is_shutdown=is_shutdown)
        self._relays.clear()
        watchers, self._watchers = list(self._watchers), {}
        self._session_id = None
        for watcher in watchers:
            watcher.session_ended(is_shutdown=is_shutdown)

    # From watchers.

    def join(self, watcher: Watcher) -> None:
        """Send to this watcher, too.

        Raises:
            ProtocolError: Nobody may watch, or too many do.
        """
        if not self.is_open:
            raise refused()
        if len(self._watchers) >= self.max_watchers:
            raise full(self.max_watchers)
        self._watchers[watcher] = None
        if self._init_success is not None:
            watcher.send(self._init_success)
        if self._is_owner_away:
            watcher.send(self._warning(None))

    def leave(self, watcher: Watcher) -> None:
        """Leave: the watcher's connection is gone."""
        self._watchers.pop(watcher, None)

    # Messages.

    def _to_all(self, payload: SendPayload) -> None:
        for watcher in self._watchers:
            watcher.send(payload)

    def _warning(self, in_ms: int | None) -> SendPayload:
        in_field = {} if in_ms is None else {"in_ms": in_ms}
        fields = WarningFields(reason="owner_away", **in_field)
        return _text(SessionWarning(session_id=self._session_id, data=fields))

    def _frame_info(self, frame: VideoFrame) -> SendPayload:
        assert self._session_id is not None, "frames come while the session is open"
        return _text(frame_info(frame, self._session_id))

    def _frame_payload(
        self, frame: VideoFrame, sound: FrameSound | None, form: Form
    ) -> SendPayload:
        assert self._session_id is not None, "frames come while the session is open"
        message = frame_message(frame, self._session_id, sound if form.has_sound else None)
        return SendPayload(binary.pack_message(message)) if form.is_binary else _text(message)


def _text(message: ServerMessage) -> SendPayload:
    return SendPayload(codec.dump(message))


def full(max_watchers: int) -> ProtocolError:
    """The answer to one watcher more than may watch a session."""
    return ProtocolError(
        "RATE_LIMIT_EXCEEDED",
        f"{max_watchers} watch this session already, and no more may: try again later.",
        reason="watchers",
        retry_after_ms=RETRY_AFTER_MS,
    )


def refused() -> ProtocolError:
    """Return the answer to every token that does not fit; why not is nobody's business."""
    return invalid_session(
        "The watch_token does not fit a session that can be watched here; ask its owner for the "
        "one in INIT_SUCCESS.watch, and connect to the owner's path with ?session=<session_id>."
    )
