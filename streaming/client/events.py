"""What a client can be told, typed. All times of the wire are in ms, all local ones in s."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Ready:
    """The session is open (INIT_SUCCESS); frames follow."""

    session_id: str
    is_lipsync_ready: bool
    clips: tuple[str, ...]
    default_clip: str
    engine: str
    codec: str
    """As WebCodecs names it, such as avc1.42C01E."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of the stream (VIDEO_FRAME or ACTION_FRAME)."""

    access_unit: bytes = field(repr=False)
    """H.264, Annex B: kilobytes that nobody wants to read."""
    timestamp_ms: int
    """The frame's number × 40."""
    received_s: float
    """Arrival, on the client's monotonic clock."""
    is_idr: bool
    state: str
    """idle, speaking or action: what is seen."""
    clip: str
    audio_timestamp_ms: int | None = None
    """Time of the frame's first sample among all accepted ones; None if it shows no speech."""
    action_progress: float | None = None
    """0 to 1, exactly 1 on an action's last frame; None if no action of protocol 1.0 is seen."""


@dataclass(frozen=True, slots=True)
class StateChanged:
    state: str
    clip: str


@dataclass(frozen=True, slots=True)
class ActionTriggered:
    index: int


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Speech was dropped: ``dropped_ms`` of accepted sound were not yet sent as frames."""

    dropped_ms: int
    received_s: float


@dataclass(frozen=True, slots=True)
class ServerError:
    """The server could not do what was asked; the session goes on unless `Closing` follows."""

    code: str
    message: str
    details: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


@dataclass(frozen=True, slots=True)
class Closing:
    """The server's last word (CLOSE_ACK)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message of a type that this client does not know: to be ignored, not an error."""

    type: str


@dataclass(frozen=True, slots=True)
class Ping:
    """The server asks for a PONG; the connection answers it by itself."""


Event = (
    Ready
    | Frame
    | StateChanged
    | ActionTriggered
    | Interrupted
    | ServerError
    | Closing
    | Unknown
    | Ping
)
