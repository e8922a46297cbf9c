"""What comes from the server, and what can go wrong. Times of the wire are in ms."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Sound:
    """The sound of one frame: s16le, mono."""

    sample_rate: int
    """Hz; the speaker's own."""
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Frame:
    """One H.264 access unit (Annex B)."""

    data: bytes = field(repr=False)
    timestamp_ms: int
    """On the session's timeline: 40 ms a frame; a frame that is missing leaves a gap."""
    is_keyframe: bool
    audio_timestamp_ms: int | None = None
    """Position of the speech that it shows; None: it shows none."""
    sound: Sound | None = None
    """For connections that receive audio."""
    action_progress: float | None = None


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The next frame is the first of an utterance."""

    utterance_id: str


@dataclass(frozen=True, slots=True)
class SpeechFinished:
    """An utterance is over."""

    utterance_id: str
    played_ms: int
    interrupted: bool


@dataclass(frozen=True, slots=True)
class Interrupted:
    """All speech that was not shown is dropped; frames from here on show none of it."""

    dropped_ms: int


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The answer to a change of state."""

    state: str
    clip: str


@dataclass(frozen=True, slots=True)
class Warned:
    """The server warns, of an end that is near or of speech that it skipped."""

    reason: str
    """idle, max_session, draining, owner_away, token or audio_dropped."""
    in_ms: int | None = None
    ms: int | None = None


@dataclass(frozen=True, slots=True)
class ServerError:
    """The server could not do what was asked; the session continues unless `Closed` follows."""

    code: str
    message: str
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Resumed:
    """The connection was lost, and the session continues on another one."""


@dataclass(frozen=True, slots=True)
class Reopened:
    """The connection was lost, and a new session was opened: what was said before is gone."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is over."""

    reason: str


Event = (
    Frame
    | SpeechStarted
    | SpeechFinished
    | Interrupted
    | StateChanged
    | Warned
    | ServerError
    | Resumed
    | Reopened
    | Closed
)


class AvatarError(Exception):
    """Parent of what this library raises."""


class SessionRefused(AvatarError):
    """The server opens no session; says why, and when to try again."""

    def __init__(self, code: str, message: str, details: dict[str, Any]) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.details = details


class ConnectionLost(AvatarError):
    """The connection is gone, and with it what was said."""


class SpeechRefused(AvatarError):
    """The server did not take the speech."""

    def __init__(self, message: str, retry_after_ms: int | None) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms
        """When to try again; None: not with this utterance."""
