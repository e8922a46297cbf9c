"""What crosses the channel layer between a door (the consumer) and a worker.

Theory of operation
-------------------
A session has one door and, at any moment, at most one worker that the door has accepted.

*Claim.* The door sends `SessionStart` to the shared channel ``inference`` of the ``default``
layer. A claim may reach two workers, or one of them late, so it carries a fresh ``claim_id``. Each
worker that takes it answers `SessionClaimed` on the door's private channel of the ``media`` layer.
The door answers the first one for its current claim with `SessionAccepted`, any other with
`SessionStop`. Only an accepted worker sends frames. A claim may lie for seconds before a worker
reads it, so where to begin is said on acceptance.

*Life.* Everything after the claim goes over private channels, in order, and repeats ``claim_id``,
so that whatever belongs to an earlier claim can be told and dropped. Frames are the worker's
heartbeat and the acknowledgement of audio: a frame with ``position`` p says that all samples
before p plus its ``samples`` are on their way to the screen. The other way round the door says
`SessionAlive` every few seconds: a door that is heard no more is gone, and its session with it.

*Handing on.* A door that has not seen a frame for a second claims anew, with a new ``claim_id``.
The next worker goes on at the frame number that is due, with the first sample that was not shown.
What the client sees is a gap in time.

*Generations.* Each interrupt raises the session's generation. Audio of an older one is dropped
wherever it is met.

A message on the layer is a dict of plain values (both layers pack them with msgpack); ``type`` is
the Channels handler's name.
"""

from typing import Any, ClassVar, Literal

import msgspec

from inference.assets.manifest import ClipState
from inference.errors import MessageInvalid

INFERENCE_CHANNEL = "inference"
CLAIM_LAYER = "default"
MEDIA_LAYER = "media"

ActionForm = Literal["v1.0", "v1.1"]


class LayerMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Parent of the messages; ``type`` names the Channels handler."""

    type: ClassVar[str]
    claim_id: str

    def to_layer(self) -> dict[str, Any]:
        return {"type": self.type, **msgspec.structs.asdict(self)}


# ---- door → worker


class SessionStart(LayerMessage, frozen=True, kw_only=True):
    """Somebody please show this avatar. The only message on the shared channel."""

    type = "session.start"
    session_id: str
    reply_channel: str
    """The door's private channel on the media layer."""
    avatar_folder: str
    """Name of the asset folder, to be found under AVATARS_DIR or among the shipped ones."""
    avatar_version: str


class SessionAccepted(LayerMessage, frozen=True, kw_only=True):
    """You are the session's worker: send frames."""

    type = "session.accepted"
    next_frame: int = 0
    """The frame number that is due at the moment of sending."""
    next_position: int = 0
    """The audio position, in samples, of the first audio that will be sent."""
    generation: int = 0
    clip: str | None = None
    """The clip of the client's last STATE_CHANGE; None: the avatar's first idle clip."""


class SessionAlive(LayerMessage, frozen=True, kw_only=True):
    """The door is still there."""

    type = "session.alive"


class SessionStop(LayerMessage, frozen=True, kw_only=True):
    """The session is over, or another worker has it. Nothing more is sent for this claim."""

    type = "session.stop"
    reason: str = ""


class AudioChunk(LayerMessage, frozen=True, kw_only=True):
    """Speech, in order and without gaps but those that an interrupt tears."""

    type = "audio.chunk"
    pcm: bytes
    """s16le, 16 kHz, mono."""
    position: int
    """Index of the first sample among those accepted in the session."""
    generation: int
    clip: str | None = None
    """The clip wanted for this utterance (GENERATE's ``video_state``)."""


class ClipChange(LayerMessage, frozen=True, kw_only=True):
    """The base clip from now on."""

    type = "clip.change"
    clip: str


class ActionStart(LayerMessage, frozen=True, kw_only=True):
    """Insert this action clip once."""

    type = "action.start"
    clip: str
    form: ActionForm
    """How the client asked for it; its frames go out in the same form."""


class SpeechInterrupt(LayerMessage, frozen=True, kw_only=True):
    """Drop all speech of older generations than ``generation``; answered by `SpeechInterrupted`."""

    type = "speech.interrupt"
    generation: int


# ---- worker → door


class SessionClaimed(LayerMessage, frozen=True, kw_only=True):
    """I can do it."""

    type = "session.claimed"
    worker_channel: str
    """My private channel on the media layer."""
    worker: str
    """My name for people: host and process."""
    engine: str
    is_lipsync_ready: bool


class SessionRefused(LayerMessage, frozen=True, kw_only=True):
    """I cannot: the avatar cannot be opened, or I am full."""

    type = "session.refused"
    reason: Literal["avatar", "capacity"]
    message: str


class VideoFrame(LayerMessage, frozen=True, kw_only=True):
    """One access unit, due now."""

    type = "video.frame"
    frame: int
    access_unit: bytes
    is_idr: bool
    state: ClipState
    clip: str
    position: int | None = None
    """Audio position of the frame's first sample, on frames that show received audio."""
    samples: int = 0
    """How many received samples it shows: 640, less where an utterance ends, 0 without audio."""
    action_progress: float | None = None
    """0..1 on the frames of an action, exactly 1 on its last."""
    action_form: ActionForm | None = None


class SpeechInterrupted(LayerMessage, frozen=True, kw_only=True):
    """Speech of older generations is gone; no later frame shows any.

    ``position``: the sample after the last one shown.
    """

    type = "speech.interrupted"
    generation: int
    position: int


class SpeechFailed(LayerMessage, frozen=True, kw_only=True):
    """The engine failed; the base video goes on."""

    type = "speech.failed"
    reason: str


class SessionEnded(LayerMessage, frozen=True, kw_only=True):
    """The worker gives the session back: it drains, or it failed. The door claims anew at once."""

    type = "session.ended"
    reason: Literal["drain", "error"]


TO_WORKER: tuple[type[LayerMessage], ...] = (
    SessionStart,
    SessionAccepted,
    SessionAlive,
    SessionStop,
    AudioChunk,
    ClipChange,
    ActionStart,
    SpeechInterrupt,
)
TO_DOOR: tuple[type[LayerMessage], ...] = (
    SessionClaimed,
    SessionRefused,
    VideoFrame,
    SpeechInterrupted,
    SpeechFailed,
    SessionEnded,
)
_BY_TYPE = {message.type: message for message in (*TO_WORKER, *TO_DOOR)}


def from_layer(message: dict[str, Any]) -> LayerMessage:
    """The typed message of a layer dict; MessageInvalid if it is none of ours."""
    try:
        return msgspec.convert(message, _BY_TYPE[message["type"]])
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise MessageInvalid(f"not a message of this version: {error}") from None
