"""What gateways of different machines say to each other about a session that is watched.

A gateway with watchers of a session elsewhere has a *mirror* of its audience; the gateway that has
the session *relays* to it what the audience is shown. Requests go to the session's group of the
media layer, in which its connection listens; answers, frames and events to the mirror's own
channel.
"""

from typing import Any

import msgspec

from inference.errors import MessageInvalid
from inference.messages import TypedMessage, VideoFrame, typed
from inference.messages import from_layer as frame_from_layer
from streaming.protocol.server_messages import (
    FrameSound,
    InitSuccessFields,
    SpeechFinished,
    SpeechStarted,
)


class MirrorMessage(TypedMessage, frozen=True, kw_only=True):
    """Parent of these messages."""


class WatchRequested(MirrorMessage, frozen=True, kw_only=True):
    """A mirror wants what the audience is shown; repeated while it is needed."""

    type = "watch.requested"
    user_id: str
    """The owner's, by the watchers' path."""
    token: str
    channel: str
    """The mirror's own."""


class WatchDropped(MirrorMessage, frozen=True, kw_only=True):
    """A mirror has no watchers left."""

    type = "watch.dropped"
    channel: str


class WatchGranted(MirrorMessage, frozen=True, kw_only=True):
    """What the mirror must know to admit watchers by itself."""

    type = "watch.granted"
    owner: str
    opened_at: float
    max_watchers: int
    relay: str
    """Names the relay that answers: after a resumption it is another one."""
    init_success: bytes | None
    """JSON; None: no worker has the session yet."""


class WatchRefused(MirrorMessage, frozen=True, kw_only=True):
    """The token does not fit."""

    type = "watch.refused"


class FrameRelayed(MirrorMessage, frozen=True, kw_only=True):
    """A frame, and the sound that belongs to it."""

    type = "watch.frame"
    frame: dict[str, Any]
    sample_rate: int = 0
    """Hz; 0: no sound."""
    sound: bytes = b""

    @classmethod
    def of(cls, frame: VideoFrame, sound: FrameSound | None) -> "FrameRelayed":
        """Return the message of a frame."""
        if sound is None:
            return cls(frame=frame.to_layer())
        return cls(frame=frame.to_layer(), sample_rate=sound.sample_rate, sound=sound.data)

    def parts(self) -> tuple[VideoFrame, FrameSound | None]:
        """Return the frame, and its sound."""
        frame = frame_from_layer(self.frame)
        if not isinstance(frame, VideoFrame):
            raise MessageInvalid(f"a frame was due, not {frame.type}")
        if not self.sample_rate:
            return frame, None
        return frame, FrameSound(sample_rate=self.sample_rate, data=self.sound)


class EventRelayed(MirrorMessage, frozen=True, kw_only=True):
    """A speech event."""

    type = "watch.event"
    event: bytes
    """JSON, as watchers are sent it."""


class IdrRequired(MirrorMessage, frozen=True, kw_only=True):
    """Another encoder begins."""

    type = "watch.idr"


class OwnerAway(MirrorMessage, frozen=True, kw_only=True):
    """The owner lost its connection."""

    type = "watch.owner_away"
    in_ms: int


class SessionOver(MirrorMessage, frozen=True, kw_only=True):
    """The session is over."""

    type = "watch.over"
    relay: str


TO_OWNER: tuple[type[MirrorMessage], ...] = (WatchRequested, WatchDropped)
TO_MIRROR: tuple[type[MirrorMessage], ...] = (
    WatchGranted,
    WatchRefused,
    FrameRelayed,
    EventRelayed,
    IdrRequired,
    OwnerAway,
    SessionOver,
)
_BY_TYPE: dict[str, type[MirrorMessage]] = {
    message.type: message for message in (*TO_OWNER, *TO_MIRROR)
}


def from_layer(message: dict[str, Any]) -> MirrorMessage:
    """Return the typed message of a layer dict.

    Raises:
        MessageInvalid: It is no message of this version.
    """
    return typed(message, _BY_TYPE)


def dump_fields(fields: InitSuccessFields) -> bytes:
    """INIT_SUCCESS for another gateway."""
    return msgspec.json.encode(fields)


def load_fields(text: bytes) -> InitSuccessFields:
    """Undo `dump_fields`."""
    return msgspec.json.decode(text, type=InitSuccessFields)


def dump_event(event: SpeechStarted | SpeechFinished) -> bytes:
    """Return a speech event for another gateway."""
    return msgspec.json.encode(event)


def load_event(text: bytes) -> SpeechStarted | SpeechFinished:
    """Undo `dump_event`."""
    return _events.decode(text)


_events: msgspec.json.Decoder[SpeechStarted | SpeechFinished] = msgspec.json.Decoder(
    SpeechStarted | SpeechFinished
)
