"""What comes from the server, typed. Times of the wire are in ms, local ones in s."""

from dataclasses import dataclass, field
from typing import Any

from talking_avatar.close_codes import in_words
from talking_avatar.errors import AvatarError


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What the server said of the session when it opened it."""

    engine: str
    """viseme or musetalk."""
    is_lipsync_ready: bool
    clips: tuple[str, ...]
    """The avatar's, such as idle_0 and speaking_3."""
    default_clip: str
    codec: str
    """As WebCodecs names it, such as avc1.42C01E."""
    width: int
    height: int
    limits: dict[str, Any]
    """What the server takes, by the protocol's names; empty before version 1.2."""


@dataclass(frozen=True, slots=True)
class Sound:
    """The sound of one frame: s16le, mono."""

    sample_rate: int
    """Hz; the speaker's own."""
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Frame:
    """One H.264 access unit (Annex B), and what it shows."""

    data: bytes = field(repr=False)
    timestamp_ms: int
    """On the session's timeline: 40 ms a frame; a frame that is missing leaves a gap."""
    is_keyframe: bool
    audio_timestamp_ms: int | None = None
    """Position of the speech that it shows; None: it shows none."""
    sound: Sound | None = None
    """For connections that receive audio."""
    action_progress: float | None = None
    """0 to 1, exactly 1 on the last frame of an action that was asked for with progress."""
    state: str = ""
    """idle, speaking or action."""
    clip: str = ""
    received_s: float = 0.0
    """Arrival, on the monotonic clock."""
    latency_s: float | None = None
    """From sending the last sample that it shows to its arrival; None for others' speech."""


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
class ActionTriggered:
    """An action was accepted; it starts within a second."""

    index: int


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

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


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
    """The server's (CLOSE_ACK), or ``connection lost``."""
    code: int | None = None
    """The WebSocket's close code; 1006 where the connection ended without one."""
    error: AvatarError | None = None
    """Why it could not continue, where that is more than a connection that ended."""

    def __str__(self) -> str:
        why = in_words(self.code)
        return why if self.error is None else f"{why}; {self.error}"


Event = (
    Frame
    | SpeechStarted
    | SpeechFinished
    | Interrupted
    | StateChanged
    | ActionTriggered
    | Warned
    | ServerError
    | Resumed
    | Reopened
    | Closed
)
