"""What a client may send. See `streaming.protocol.codec` for how text becomes one of these."""

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from inference.assets.manifest import ClipState
from inference.messages import ActionForm
from inference.timing import BYTES_PER_SAMPLE, SAMPLE_RATE_HZ

MAX_CHUNK_BYTES = SAMPLE_RATE_HZ * BYTES_PER_SAMPLE
"""One second of speech."""

USER_ID_PATTERN = r"[A-Za-z0-9_-]{1,64}"

# Python's `$` also matches before a trailing newline; the look-ahead forbids it, and means nothing
# to the regular expressions of JSON Schema.
_UUID_PATTERN = r"^[0-9A-Fa-f]{8}-?([0-9A-Fa-f]{4}-?){3}[0-9A-Fa-f]{12}$(?!\n)"

SessionId = Annotated[
    str, Meta(pattern=_UUID_PATTERN, description="A UUID, proposed by the client.")
]


class ClientMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Parent of what a client may send; ``takes`` is the end of the sentence "... takes"."""

    takes: ClassVar[str] = "no data"
    session_id: str | None = None


class Nothing(msgspec.Struct, frozen=True):
    """``{}``."""


class VideoConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the client wants to see; nothing else is offered."""

    resolution: Literal["512x512"] = "512x512"
    fps: Literal[25] = 25


class VideoState(msgspec.Struct, frozen=True, kw_only=True):
    """The clip wanted under an utterance: ``base_video``, else the first one of state ``type``."""

    type: ClipState
    base_video: str | None = None


class SpeechChunk(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of speech. The bytes count; ``duration_ms`` is advice."""

    format: Literal["pcm_s16le"]
    sample_rate: Literal[16000]
    channels: Literal[1]
    data: Annotated[
        bytes, Meta(min_length=BYTES_PER_SAMPLE, max_length=MAX_CHUNK_BYTES, description="s16le")
    ]
    duration_ms: float | None = None

    def __post_init__(self) -> None:
        if len(self.data) % BYTES_PER_SAMPLE:
            raise ValueError(
                f"data is {len(self.data)} bytes, but a sample has two: send an even number"
            )


class InitFields(msgspec.Struct, frozen=True, kw_only=True):
    user_id: Annotated[str, Meta(pattern=f"^{USER_ID_PATTERN}$(?!\\n)")]
    video_config: VideoConfig | None = None
    auth_token: str | None = None


class Init(ClientMessage, frozen=True, kw_only=True, tag="INIT"):
    """Open the session."""

    takes = (
        'session_id (a UUID, or null to be given one) and data {"user_id": as in the path, '
        '"video_config": optional, {"resolution": "512x512", "fps": 25}, '
        '"auth_token": optional string}'
    )
    session_id: SessionId | None = None
    data: InitFields


class GenerateFields(msgspec.Struct, frozen=True, kw_only=True):
    audio_chunk: SpeechChunk
    video_state: VideoState | None = None


_CHUNK_FORM = (
    '{"format": "pcm_s16le", "sample_rate": 16000, "channels": 1, "duration_ms": optional number, '
    f'"data": base64 of an even number of bytes from 2 to {MAX_CHUNK_BYTES}}}'
)


class Generate(ClientMessage, frozen=True, kw_only=True, tag="GENERATE"):
    """Queue speech."""

    takes = (
        f'data {{"audio_chunk": {_CHUNK_FORM}, "video_state": optional, '
        '{"type": "idle" | "speaking" | "action", "base_video": optional clip name}}'
    )
    data: GenerateFields


class StateChangeFields(msgspec.Struct, frozen=True, kw_only=True):
    target_state: ClipState
    base_video: str | None = None


class StateChange(ClientMessage, frozen=True, kw_only=True, tag="STATE_CHANGE"):
    """Change the base clip: to ``base_video``, else to the first one of ``target_state``."""

    takes = (
        'data {"target_state": "idle" | "speaking" | "action", "base_video": optional clip name}'
    )
    data: StateChangeFields


class ActionFields(msgspec.Struct, frozen=True, kw_only=True):
    """``action_index`` is the form of version 1.1, ``action_type`` that of 1.0."""

    action_index: Literal[1, 2] | None = None
    action_type: Literal["action_1", "action_2"] | None = None
    audio_chunk: SpeechChunk | None = None

    def __post_init__(self) -> None:
        if (self.action_index is None) == (self.action_type is None):
            raise ValueError("exactly one of action_index and action_type is wanted")

    @property
    def index(self) -> int:
        return self.action_index or int(str(self.action_type).removeprefix("action_"))

    @property
    def form(self) -> ActionForm:
        return "v1.0" if self.action_index is None else "v1.1"


class Action(ClientMessage, frozen=True, kw_only=True, tag="ACTION"):
    """Insert an action clip once."""

    takes = (
        'data {"action_index": 1 | 2}, or data {"action_type": "action_1" | "action_2", '
        f'"audio_chunk": optional, {_CHUNK_FORM}}}'
    )
    data: ActionFields


class Close(ClientMessage, frozen=True, kw_only=True, tag="CLOSE"):
    """End the session; valid at any time."""

    data: Nothing | None = None


class Pong(ClientMessage, frozen=True, kw_only=True, tag="PONG"):
    """Answer to PING; optional, valid at any time."""

    data: Nothing | None = None


class Interrupt(ClientMessage, frozen=True, kw_only=True, tag="INTERRUPT"):
    """Barge-in: drop the speech that was not shown yet."""

    data: Nothing | None = None


CLIENT_MESSAGES: tuple[type[ClientMessage], ...] = (
    Init,
    Generate,
    StateChange,
    Action,
    Close,
    Pong,
    Interrupt,
)
AnyClientMessage = Init | Generate | StateChange | Action | Close | Pong | Interrupt
