"""What crosses the channel layer between a gateway (the consumer) and a worker.

Theory of operation
-------------------
A session has one gateway and, at any moment, at most one worker that the gateway has accepted.

*Claim.* The gateway sends `SessionStart` to the shared channel ``inference`` of the ``default``
layer. A claim may reach two workers, one of them late, or one worker twice; so it carries a fresh
``claim_id``. Each worker that takes it answers `SessionClaimed` on the gateway's private channel of
the ``media`` layer. The gateway answers the first one for its current claim with `SessionAccepted`,
any other with `SessionStop`. Only an accepted worker sends frames. Seconds may pass before a worker
reads a claim, so the first frame and sample are part of the acceptance, not of the claim.

*Life.* Everything after the claim goes over private channels, in order, and repeats ``claim_id``,
so that messages of an earlier claim are recognized and dropped. Frames are the worker's heartbeat
and the acknowledgement of audio: a frame with ``position`` p says that all samples before p plus
its ``samples`` are on their way to the screen. In the other direction the gateway sends
`SessionAlive` every few seconds; a worker ends the session of a gateway that is silent.

*Failover.* A gateway that has not received a frame for a second claims again, with a new
``claim_id``. The next worker continues at the frame number that is due, with the first sample that
was not shown. The client sees a gap in time.

*Generations.* Each interrupt raises the session's generation. Audio of an older one is dropped
wherever it is found.

A message on the layer is a dict of plain values (both layers pack them with msgpack); ``type`` is
the name of the Channels handler.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeVar

import msgspec

from inference.assets.manifest import ClipState
from inference.errors import MessageInvalid

INFERENCE_CHANNEL = "inference"
CLAIM_LAYER = "default"
MEDIA_LAYER = "media"
WORKERS_GROUP = "workers"
"""The group of the media layer to which workers announce themselves."""

ActionForm = Literal["v1.0", "v1.1"]
LateAudio = Literal["keep", "drop"]


M = TypeVar("M", bound="TypedMessage")


class TypedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What goes over a channel layer; ``type`` names the Channels handler."""

    type: ClassVar[str]

    def to_layer(self) -> dict[str, Any]:
        """Return the message as the channel layer takes it."""
        return {"type": self.type, **msgspec.structs.asdict(self)}


class LayerMessage(TypedMessage, frozen=True, kw_only=True):
    """Parent of the messages of a session."""

    claim_id: str


class SessionStart(LayerMessage, frozen=True, kw_only=True):
    """Gateway to workers: a session needs a worker. The only message on the shared channel."""

    type = "session.start"
    session_id: str
    reply_channel: str
    """The gateway's private channel on the media layer."""
    avatar_folder: str
    """Name of the asset folder, under AVATARS_DIR or among the shipped ones."""
    avatar_version: str
    late_audio: LateAudio = "keep"
    """After a gap: keep all speech, or drop what was due more than 500 ms ago."""
    is_new: bool = True
    """None of its frames was sent yet. Late ones are better than none: a session that continues is
    not refused because a worker is late."""

    @property
    def log_fields(self) -> dict[str, str]:
        """What log lines of the session carry, for `logging`'s ``extra``."""
        return {"session": self.session_id, "avatar": self.avatar_folder}


class SessionAccepted(LayerMessage, frozen=True, kw_only=True):
    """Gateway to worker: the claim's answer is accepted; send frames."""

    type = "session.accepted"
    next_frame: int = 0
    """The frame number that is due at the moment of sending."""
    next_position: int = 0
    """The audio position, in samples, of the first audio that will be sent."""
    generation: int = 0
    clip: str | None = None
    """The base clip to begin with; None: the avatar's first idle clip."""
    is_clip_chosen: bool = True
    """The client chose ``clip``; otherwise the worker varies the clips of its state."""


class SessionAlive(LayerMessage, frozen=True, kw_only=True):
    """Gateway to worker: the gateway is alive."""

    type = "session.alive"


class SessionStop(LayerMessage, frozen=True, kw_only=True):
    """Gateway to worker: the session is over, or another worker has it."""

    type = "session.stop"
    reason: str = ""


class AudioChunk(LayerMessage, frozen=True, kw_only=True):
    """Gateway to worker: speech, in order and without gaps except those of interrupts."""

    type = "audio.chunk"
    pcm: bytes
    """s16le, 16 kHz, mono."""
    position: int
    """Index of the first sample among those accepted in the session."""
    generation: int
    clip: str | None = None
    """The clip to play under this speech; None: no request."""
    is_clip_chosen: bool = True
    """The client chose ``clip``; otherwise the worker varies the clips of its state."""
    age_ms: int = 0
    """How long ago it came to the gateway: more than a moment after a gap only."""
    trace: str = ""
    """The span that it belongs to, as a W3C traceparent; empty: none."""


class SpeechEnd(LayerMessage, frozen=True, kw_only=True):
    """Gateway to worker: the utterance ends at ``position``, without waiting for more audio."""

    type = "speech.end"
    position: int
    """The sample after the utterance's last one."""
    generation: int


class ClipChange(LayerMessage, frozen=True, kw_only=True):
    """Gateway to worker: the base clip from now on."""

    type = "clip.change"
    clip: str
    is_chosen: bool = True
    """The client chose ``clip``; otherwise it is the first of its state, to be varied."""


class ListeningChange(LayerMessage, frozen=True, kw_only=True):
    """Gateway to worker: the user began or stopped speaking; the idle avatar turns attentive."""

    type = "listening.change"
    is_active: bool


class ActionStart(LayerMessage, frozen=True, kw_only=True):
    """Gateway to worker: insert this action clip once."""

    type = "action.start"
    clip: str
    form: ActionForm
    """How the client asked for it; its frames go out in the same form."""


class SpeechInterrupt(LayerMessage, frozen=True, kw_only=True):
    """Gateway to worker: drop all speech of generations older than ``generation``.

    Answered by `SpeechInterrupted`.
    """

    type = "speech.interrupt"
    generation: int


class SessionClaimed(LayerMessage, frozen=True, kw_only=True):
    """Worker to gateway: it can take the session."""

    type = "session.claimed"
    worker_channel: str
    """The worker's private channel on the media layer."""
    worker: str
    """The worker's name for people: host and process."""
    engine: str
    is_lipsync_ready: bool


class SessionRefused(LayerMessage, frozen=True, kw_only=True):
    """Worker to gateway: it cannot open the avatar, or it is full."""

    type = "session.refused"
    reason: Literal["avatar", "capacity"]
    message: str


class VideoFrame(LayerMessage, frozen=True, kw_only=True):
    """Worker to gateway: one access unit, due now."""

    type = "video.frame"
    frame: int
    access_unit: bytes
    is_idr: bool
    state: ClipState
    clip: str
    position: int | None = None
    """Audio position of the frame's first sample, on frames that show received audio."""
    samples: int = 0
    """Received samples that it shows: 640, fewer at the end of an utterance, 0 without audio."""
    action_progress: float | None = None
    """0..1 on the frames of an action, exactly 1 on its last."""
    action_form: ActionForm | None = None
    may_speak: bool = True
    """The worker has a place for an utterance of this session."""


class SpeechInterrupted(LayerMessage, frozen=True, kw_only=True):
    """Worker to gateway: speech of older generations is gone; no later frame shows any.

    ``position``: the sample after the last one shown.
    """

    type = "speech.interrupted"
    generation: int
    position: int


class SpeechSkipped(LayerMessage, frozen=True, kw_only=True):
    """Worker to gateway: late speech, or late silence, was dropped."""

    type = "speech.skipped"
    position: int
    """The sample after the last one dropped."""
    samples: int
    """How many were dropped."""


class SpeechFailed(LayerMessage, frozen=True, kw_only=True):
    """Worker to gateway: the engine failed; the base video continues."""

    type = "speech.failed"
    reason: str


class SessionEnded(LayerMessage, frozen=True, kw_only=True):
    """Worker to gateway: it drains, or it failed. The gateway claims again at once."""

    type = "session.ended"
    reason: Literal["drain", "error"]


class WorkerAnnouncement(TypedMessage, frozen=True, kw_only=True):
    """Worker to all gateways, every few seconds: it is there, and this is its state."""

    type = "worker.announced"
    worker: str
    """Its name for people: host and process."""
    engine: str
    is_ready: bool
    """The engine is healthy."""
    message: str = ""
    """What hinders it, or what it does beside speaking; for people."""
    is_late: bool = False
    """Its frames are so late that it admits no session."""
    is_full: bool = False
    """All its places to speak are taken."""
    sessions: int = 0
    """How many it serves."""
    speaking: int = 0
    """How many of them hold a place to speak."""
    channel: str = ""
    """Its private channel on the media layer, which takes claims as well; empty: not known."""
    is_leaving: bool = False
    """It ends now."""

    @classmethod
    def from_layer(cls, message: dict[str, Any]) -> "WorkerAnnouncement":
        """Return the typed message of a layer dict.

        Raises:
            MessageInvalid: It is no announcement of this version.
        """
        try:
            return msgspec.convert(message, cls)
        except msgspec.ValidationError as error:
            raise MessageInvalid(f"not a message of this version: {error}") from None


TO_WORKER: tuple[type[LayerMessage], ...] = (
    SessionStart,
    SessionAccepted,
    SessionAlive,
    SessionStop,
    AudioChunk,
    SpeechEnd,
    ClipChange,
    ListeningChange,
    ActionStart,
    SpeechInterrupt,
)
TO_GATEWAY: tuple[type[LayerMessage], ...] = (
    SessionClaimed,
    SessionRefused,
    VideoFrame,
    SpeechInterrupted,
    SpeechSkipped,
    SpeechFailed,
    SessionEnded,
)
_BY_TYPE = {message.type: message for message in (*TO_WORKER, *TO_GATEWAY)}


def from_layer(message: dict[str, Any]) -> LayerMessage:
    """Return the typed message of a layer dict.

    Raises:
        MessageInvalid: It is no message of this version.
    """
    return typed(message, _BY_TYPE)


def typed(message: dict[str, Any], by_type: Mapping[str, type[M]]) -> M:
    """Return the message of one of these types.

    Raises:
        MessageInvalid: It is no message of this version.
    """
    try:
        return msgspec.convert(message, by_type[message["type"]])
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise MessageInvalid(f"not a message of this version: {error}") from None
