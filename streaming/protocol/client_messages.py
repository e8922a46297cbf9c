"""What a client may send.

`codec.parse` turns the text of a message into one of these types, `binary.unpack_speech` the bytes
of a binary message. Version 1.2 added the fields and types that say so; they are accepted from
every client, since a client of version 1.1 does not send them.

Numbers follow JSON Schema: ``25.0`` is ``25``. msgspec's ``int`` refuses it, so whole numbers are
declared as `_Whole` and become ``int`` after they were checked.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from inference.assets.manifest import ClipState
from inference.assets.names import NAME_PATTERN, NAME_RULE
from inference.messages import ActionForm
from inference.timing import BYTES_PER_SAMPLE

UTTERANCE_ID_PATTERN = r"[A-Za-z0-9_.:-]{1,64}"

SAMPLE_RATES_HZ = (8000, 16000, 22050, 24000, 32000, 44100, 48000)
MAX_CHUNK_S = 10
"""Seconds of speech in one message."""

# Python's `$` also matches before a trailing newline; the look-ahead forbids it, and means nothing
# to the regular expressions of JSON Schema.
_END = r"$(?!\n)"
_UUID_PATTERN = rf"^[0-9A-Fa-f]{{8}}-?([0-9A-Fa-f]{{4}}-?){{3}}[0-9A-Fa-f]{{12}}{_END}"

SessionId = Annotated[
    str, Meta(pattern=_UUID_PATTERN, description="A UUID, proposed by the client.")
]
UserId = Annotated[
    str,
    Meta(
        pattern=f"^{NAME_PATTERN}{_END}",
        description=f"Names the avatar: {NAME_RULE}; the same as in the path.",
    ),
]
UtteranceId = Annotated[
    str,
    Meta(
        pattern=f"^{UTTERANCE_ID_PATTERN}{_END}",
        description="1 to 64 letters, digits, _ . : or -; used once in a session.",
    ),
]


def _whole(*allowed: int, description: str) -> Any:
    """Parse a whole number: one of ``allowed``, or any from 0 on if there are none."""
    schema: dict[str, Any] = {"type": "integer"}
    if allowed:
        schema["enum"] = list(allowed)
    return Meta(ge=0, description=description, extra_json_schema=schema)


_FPS = Annotated[float, _whole(25, description="Frames a second.")]
_SAMPLE_RATE = Annotated[float, _whole(*SAMPLE_RATES_HZ, description="Hz.")]
_CHANNELS = Annotated[float, _whole(1, 2, description="2 are mixed down to 1.")]
_ACTION_INDEX = Annotated[float, _whole(1, 2, description="The form of version 1.1.")]


def _make_whole(message: msgspec.Struct, name: str, *allowed: int) -> None:
    """Make the field an ``int``; ValueError unless it is a whole number, and an allowed one."""
    value = getattr(message, name)
    if value is None:
        return
    if value != int(value) or (allowed and int(value) not in allowed):
        wanted = " or ".join(map(str, allowed)) if allowed else "a whole number"
        raise ValueError(f"{name} is {value:g}, but must be {wanted}")
    msgspec.structs.force_setattr(message, name, int(value))


ClipName = Annotated[
    str,
    Meta(
        max_length=64,
        description=(
            'A clip name, such as idle_3. Without it, or with "any", the server picks clips of the '
            "state in turn."
        ),
    ),
]


class ClientMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Parent of what a client may send."""

    session_id: Annotated[
        str | None,
        Meta(description="The id in INIT_SUCCESS; required in every message after INIT."),
    ] = None


class Nothing(msgspec.Struct, frozen=True):
    """``{}``."""


class VideoConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The wanted video format; no other one is offered."""

    resolution: Annotated[Literal["512x512"], Meta(description="Pixels.")] = "512x512"
    fps: _FPS = 25

    def __post_init__(self) -> None:
        _make_whole(self, "fps", 25)


class VideoState(msgspec.Struct, frozen=True, kw_only=True):
    """The clip under an utterance.

    A ``base_video`` other than the state's first clip chooses that clip for this utterance;
    otherwise the server picks clips of the state by itself.
    """

    type: Annotated[ClipState, Meta(description="Whose clips are shown under the speech.")]
    base_video: ClipName | None = None


class SpeechChunk(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of speech: s16le PCM. The bytes count; ``duration_ms`` is advice."""

    format: Annotated[
        Literal["pcm_s16le"], Meta(description="16-bit signed little-endian PCM without a header.")
    ]
    sample_rate: _SAMPLE_RATE
    channels: _CHANNELS
    data: Annotated[
        bytes,
        Meta(
            min_length=BYTES_PER_SAMPLE,
            description=f"s16le, whole samples, channels interleaved; at most {MAX_CHUNK_S} s.",
        ),
    ]
    duration_ms: Annotated[float | None, Meta(description="Advice only; ignored.")] = None

    def __post_init__(self) -> None:
        _make_whole(self, "sample_rate", *SAMPLE_RATES_HZ)
        _make_whole(self, "channels", 1, 2)
        check_pcm(len(self.data), int(self.sample_rate), int(self.channels))


def check_pcm(size_bytes: int, sample_rate: int, channels: int) -> None:
    """Raise ValueError unless ``size_bytes`` of PCM are whole samples and not too long."""
    frame_bytes = BYTES_PER_SAMPLE * channels
    if size_bytes % frame_bytes:
        raise ValueError(
            f"data is {size_bytes} bytes, but a sample of {channels} channel(s) has {frame_bytes}: "
            "send whole samples"
        )
    if size_bytes > MAX_CHUNK_S * sample_rate * frame_bytes:
        raise ValueError(
            f"data is {size_bytes / (sample_rate * frame_bytes):.1f} s of speech, but a message "
            f"may have {MAX_CHUNK_S} s: send it in pieces"
        )


ReceiveKind = Literal["video", "audio", "events"]


class InitFields(msgspec.Struct, frozen=True, kw_only=True):
    """Everything but ``user_id`` is optional; what follows ``auth_token`` is of version 1.2."""

    user_id: UserId
    video_config: VideoConfig | None = None
    auth_token: Annotated[
        str | None, Meta(description="Who the client is, where the server asks for that.")
    ] = None
    protocol_version: (
        Annotated[
            str,
            Meta(
                pattern=rf"^1\.[0-9]{{1,3}}{_END}",
                description=(
                    'The newest version the client knows. From "1.2" on the server sends the '
                    "message types and fields of version 1.2."
                ),
            ),
        ]
        | None
    ) = None
    receive: Annotated[
        tuple[ReceiveKind, ...] | None,
        Meta(
            description=(
                "What to send to this connection; default: video and events, for watchers audio "
                "too."
            )
        ),
    ] = None
    late_audio: Annotated[
        Literal["keep", "drop"] | None,
        Meta(
            description=(
                "After a gap: keep (default) shows all speech, late; drop skips speech that was "
                "due more than 500 ms ago."
            )
        ),
    ] = None
    allow_watchers: Annotated[
        bool | None, Meta(description="Ask for a token that lets others watch this session.")
    ] = None
    role: Annotated[
        Literal["owner", "watch"] | None,
        Meta(description="watch: see the session named by session_id; needs watch_token."),
    ] = None
    watch_token: Annotated[str | None, Meta(description="From the owner's INIT_SUCCESS.")] = None
    resume_token: Annotated[
        str | None, Meta(description="From INIT_SUCCESS of the connection that was lost.")
    ] = None
    last_frame_timestamp: (
        Annotated[float, _whole(description="Resume: frame_timestamp of the last frame received.")]
        | None
    ) = None
    acknowledged_ms: (
        Annotated[
            float,
            _whole(description="Resume: audio_timestamp of the last speaking frame received."),
        ]
        | None
    ) = None
    utterance_id: Annotated[
        str | None,
        Meta(description="Resume: the oldest utterance whose SPEECH_FINISHED did not come."),
    ] = None
    base_video: Annotated[str | None, Meta(description="Resume: the clip chosen last.")] = None
    target_state: Annotated[
        ClipState | None, Meta(description="Resume: the state of the last STATE_CHANGE.")
    ] = None

    def __post_init__(self) -> None:
        _make_whole(self, "last_frame_timestamp")
        _make_whole(self, "acknowledged_ms")
        if self.role == "watch" and self.watch_token is None:
            raise ValueError('role "watch" needs the watch_token that the owner was given')

    @property
    def speaks_1_2(self) -> bool:
        """Whether the client understands what version 1.2 added."""
        return self.protocol_version is not None and int(self.protocol_version[2:]) >= 2


class Init(ClientMessage, frozen=True, kw_only=True, tag="INIT"):
    """Open the session, resume it, or watch another one; the first message of a connection."""

    session_id: SessionId | None = None
    data: InitFields


class GenerateFields(msgspec.Struct, frozen=True, kw_only=True):
    audio_chunk: SpeechChunk
    video_state: VideoState | None = None
    utterance_id: UtteranceId | None = None


class Generate(ClientMessage, frozen=True, kw_only=True, tag="GENERATE"):
    """Queue speech.

    Another ``utterance_id`` than in the chunk before, or none after one, begins a new utterance.
    """

    data: GenerateFields


class EndOfSpeechFields(msgspec.Struct, frozen=True, kw_only=True):
    utterance_id: Annotated[
        UtteranceId | None, Meta(description="Must be the newest utterance, if given.")
    ] = None


class EndOfSpeech(ClientMessage, frozen=True, kw_only=True, tag="END_OF_SPEECH"):
    """End the current utterance now, instead of after a time without audio (1.2)."""

    data: EndOfSpeechFields | None = None


class StateChangeFields(msgspec.Struct, frozen=True, kw_only=True):
    target_state: Annotated[ClipState, Meta(description="Whose clips are shown.")]
    base_video: ClipName | None = None


class StateChange(ClientMessage, frozen=True, kw_only=True, tag="STATE_CHANGE"):
    """Change the base clip: to ``base_video``, or to clips of ``target_state`` in turn."""

    data: StateChangeFields


class ActionFields(msgspec.Struct, frozen=True, kw_only=True):
    """``action_index`` is the form of version 1.1, ``action_type`` that of 1.0."""

    action_index: _ACTION_INDEX | None = None
    action_type: Annotated[
        Literal["action_1", "action_2"] | None, Meta(description="The form of version 1.0.")
    ] = None
    audio_chunk: SpeechChunk | None = None
    utterance_id: UtteranceId | None = None

    def __post_init__(self) -> None:
        if (self.action_index is None) == (self.action_type is None):
            raise ValueError("exactly one of action_index and action_type is required")
        _make_whole(self, "action_index", 1, 2)

    @property
    def index(self) -> int:
        return int(self.action_index or str(self.action_type).removeprefix("action_"))

    @property
    def form(self) -> ActionForm:
        return "v1.0" if self.action_index is None else "v1.1"


class Action(ClientMessage, frozen=True, kw_only=True, tag="ACTION"):
    """Insert an action clip once."""

    data: ActionFields


class UserSpeakingFields(msgspec.Struct, frozen=True, kw_only=True):
    active: Annotated[bool, Meta(description="true when the user begins to speak.")]


class UserSpeaking(ClientMessage, frozen=True, kw_only=True, tag="USER_SPEAKING"):
    """The user begins or stops speaking: the idle avatar turns attentive (1.2)."""

    data: UserSpeakingFields


class Close(ClientMessage, frozen=True, kw_only=True, tag="CLOSE"):
    """End the session; valid at any time."""

    data: Nothing | None = None


class Pong(ClientMessage, frozen=True, kw_only=True, tag="PONG"):
    """Answer to PING; optional, valid at any time."""

    data: Nothing | None = None


_INTERRUPT_NUMBER = Annotated[
    float,
    _whole(
        description="Counts the client's INTERRUPTs in this session. One that is sent again with "
        "its number, after a lost connection, drops nothing if it came before: it is answered."
    ),
]


class InterruptFields(msgspec.Struct, frozen=True, kw_only=True):
    number: _INTERRUPT_NUMBER | None = None

    def __post_init__(self) -> None:
        _make_whole(self, "number")


class Interrupt(ClientMessage, frozen=True, kw_only=True, tag="INTERRUPT"):
    """Barge-in: drop the speech that was not shown yet."""

    data: InterruptFields | None = None


AnyClientMessage = (
    Init | Generate | EndOfSpeech | StateChange | Action | UserSpeaking | Interrupt | Close | Pong
)
CLIENT_MESSAGES: tuple[type[ClientMessage], ...] = AnyClientMessage.__args__
