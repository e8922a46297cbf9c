"""What the server sends.

`codec.dump` turns one of these into text. The types and fields that version 1.2 added say so; only
clients that asked for version 1.2 in INIT are sent them.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from inference import messages as layer
from inference.assets.manifest import ClipState
from inference.media.profile import DEFAULT_PROFILE
from inference.timing import FRAMES_PER_SECOND, audio_timestamp_ms, frame_timestamp_ms
from streaming.protocol.client_messages import Nothing
from streaming.protocol.errors import ErrorCode, ProtocolError


class ServerMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Parent of what the server sends; ``session_id`` is null before INIT."""

    session_id: str | None


class VideoDescription(msgspec.Struct, frozen=True, kw_only=True):
    """How the pictures are coded; ``codec`` is the string that WebCodecs and MSE take."""

    codec: Annotated[str, Meta(description="As WebCodecs and Media Source Extensions take it.")]
    width: Annotated[int, Meta(description="Pixels.")] = DEFAULT_PROFILE.width
    height: Annotated[int, Meta(description="Pixels.")] = DEFAULT_PROFILE.height
    format: Annotated[
        Literal["annexb"], Meta(description="H.264 with start codes, SPS and PPS in each IDR.")
    ] = "annexb"
    fps: Annotated[int, Meta(description="Frames a second.")] = FRAMES_PER_SECOND


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What this server takes (1.2)."""

    max_message_bytes: Annotated[int, Meta(description="Of one message; above: close 1009.")]
    max_audio_ms: Annotated[int, Meta(description="Speech in one message.")]
    max_queued_speech_ms: Annotated[int, Meta(description="Speech that may wait to be shown.")]
    session_idle_s: Annotated[float, Meta(description="Seconds without a message; 0: no limit.")]
    max_session_s: Annotated[float, Meta(description="Length of a session; 0: no limit.")]
    sample_rates: Annotated[tuple[int, ...], Meta(description="Hz.")]


class ResumeOffer(msgspec.Struct, frozen=True, kw_only=True):
    """How to resume the session after the connection was lost (1.2)."""

    token: Annotated[str, Meta(description="For resume_token; good once.")]
    window_ms: Annotated[int, Meta(description="How long the session is kept.")]


class WatchOffer(msgspec.Struct, frozen=True, kw_only=True):
    """What lets others watch the session (1.2)."""

    token: Annotated[str, Meta(description="For watch_token, of any number of watchers.")]


class InitSuccessFields(msgspec.Struct, frozen=True, kw_only=True):
    model_loaded: Annotated[bool, Meta(description="Lip-sync is ready now.")]
    available_videos: Annotated[list[str], Meta(description="The avatar's clips.")]
    default_video: Annotated[str, Meta(description="The first idle clip.")]
    streaming_started: Annotated[bool, Meta(description="Frames follow.")] = True
    engine: Annotated[str, Meta(description="viseme or musetalk.")]
    video: VideoDescription
    protocol_version: Annotated[str, Meta(description="1.2")] | UnsetType = UNSET
    clip_titles: (
        Annotated[
            dict[str, str],
            Meta(description='1.2: what clips show, for people, such as {"idle_3": "nod"}.'),
        ]
        | UnsetType
    ) = UNSET
    limits: Limits | UnsetType = UNSET
    resume: ResumeOffer | UnsetType = UNSET
    watch: WatchOffer | UnsetType = UNSET
    resumed: Annotated[bool, Meta(description="1.2: the session continues.")] | UnsetType = UNSET
    next_audio_ms: (
        Annotated[int, Meta(description="1.2, resumed: send all speech again from here.")]
        | UnsetType
    ) = UNSET


class InitSuccess(ServerMessage, frozen=True, kw_only=True, tag="INIT_SUCCESS"):
    """The session is open: what can be shown, and how it is coded."""

    data: InitSuccessFields


class FrameSound(msgspec.Struct, frozen=True, kw_only=True):
    """The sound of a frame, for connections that receive audio (1.2)."""

    sample_rate: Annotated[int, Meta(description="Hz; the sender's rate.")]
    data: Annotated[bytes, Meta(description="s16le, mono.")]


class FrameFields(msgspec.Struct, frozen=True, kw_only=True):
    frame_data: Annotated[bytes, Meta(description="One H.264 access unit, Annex B.")]
    frame_timestamp: Annotated[int, Meta(description="ms, the frame's number × 40.")]
    keyframe: Annotated[bool, Meta(description="An IDR with SPS and PPS.")]
    state: Annotated[ClipState, Meta(description="What the frame shows.")]
    base_video: Annotated[str, Meta(description="The clip that it shows.")]
    audio_timestamp: (
        Annotated[
            int,
            Meta(
                description=(
                    "ms of accepted speech in this session before the frame's first sample; on "
                    "frames that show received speech. Speech dropped by INTERRUPT counts."
                )
            ),
        ]
        | UnsetType
    ) = UNSET
    audio: FrameSound | UnsetType = UNSET


class VideoFrame(ServerMessage, frozen=True, kw_only=True, tag="VIDEO_FRAME"):
    """One picture, 25 of them a second."""

    data: FrameFields


class ActionFrameFields(FrameFields, frozen=True, kw_only=True):
    action_progress: Annotated[
        float, Meta(ge=0, le=1, description="Exactly 1.0 on the last frame.")
    ]


class ActionFrame(ServerMessage, frozen=True, kw_only=True, tag="ACTION_FRAME"):
    """A frame of an action that was asked for in the form of version 1.0."""

    data: ActionFrameFields


class ActionTriggeredFields(msgspec.Struct, frozen=True, kw_only=True):
    action_index: Annotated[int, Meta(description="Which action: 1 or 2.")]
    inserted: Annotated[bool, Meta(description="Shown once, then the base clip again.")] = True


class ActionTriggered(ServerMessage, frozen=True, kw_only=True, tag="ACTION_TRIGGERED"):
    """An action was accepted; it starts within a second."""

    data: ActionTriggeredFields


class StateChangedFields(msgspec.Struct, frozen=True, kw_only=True):
    current_state: Annotated[ClipState, Meta(description="Of the clip that follows.")]
    current_video: Annotated[str, Meta(description="The clip that follows.")]


class StateChanged(ServerMessage, frozen=True, kw_only=True, tag="STATE_CHANGED"):
    """A change of clip was accepted; it shows within a second."""

    data: StateChangedFields


class InterruptedFields(msgspec.Struct, frozen=True, kw_only=True):
    dropped_ms: Annotated[int, Meta(ge=0, description="Accepted speech that no frame showed.")]


class Interrupted(ServerMessage, frozen=True, kw_only=True, tag="INTERRUPTED"):
    """Barge-in took effect."""

    data: InterruptedFields


class SpeechStartedFields(msgspec.Struct, frozen=True, kw_only=True):
    utterance_id: Annotated[str, Meta(description="The client's, or #1, #2, … of the server.")]
    frame_timestamp: Annotated[int, Meta(description="Of the utterance's first frame.")]
    audio_timestamp: Annotated[int, Meta(description="Of its first sample.")]


class SpeechStarted(ServerMessage, frozen=True, kw_only=True, tag="SPEECH_STARTED"):
    """The next frame is the first of an utterance (1.2)."""

    data: SpeechStartedFields


class SpeechFinishedFields(msgspec.Struct, frozen=True, kw_only=True):
    utterance_id: Annotated[str, Meta(description="As in SPEECH_STARTED.")]
    played_ms: Annotated[int, Meta(ge=0, description="How much of the utterance was shown.")]
    interrupted: Annotated[bool, Meta(description="Dropped before its end.")]
    frame_timestamp: Annotated[int, Meta(description="Of the newest frame.")]


class SpeechFinished(ServerMessage, frozen=True, kw_only=True, tag="SPEECH_FINISHED"):
    """An utterance is over: exactly one for each of which speech was accepted (1.2)."""

    data: SpeechFinishedFields


class FrameInfoFields(msgspec.Struct, frozen=True, kw_only=True):
    frame_timestamp: Annotated[int, Meta(description="Of the first frame that shows it, ms.")]
    state: Annotated[ClipState, Meta(description="What the frames show.")]
    base_video: Annotated[str, Meta(description="The clip that they show.")]


class FrameInfo(ServerMessage, frozen=True, kw_only=True, tag="FRAME_INFO"):
    """Binary mode: what the next binary frames show, from this frame_timestamp on (1.2)."""

    data: FrameInfoFields


WarningReason = Literal["idle", "max_session", "draining", "owner_away", "token", "audio_dropped"]


class WarningFields(msgspec.Struct, frozen=True, kw_only=True):
    reason: Annotated[
        WarningReason,
        Meta(
            description=(
                "idle, max_session, token: the session ends in in_ms; draining: the server ends "
                "soon; owner_away (to watchers): the owner lost its connection; audio_dropped: ms "
                "of late speech were skipped."
            )
        ),
    ]
    in_ms: (
        Annotated[int, Meta(description="When the session ends if nothing is done.")] | UnsetType
    ) = UNSET
    ms: Annotated[int, Meta(description="Speech that was skipped.")] | UnsetType = UNSET


class SessionWarning(ServerMessage, frozen=True, kw_only=True, tag="WARNING"):
    """Something that the client can still react to (1.2)."""

    data: WarningFields


CloseReason = Literal["client_request", "timeout", "server_shutdown", "session_ended", "error"]


class CloseAckFields(msgspec.Struct, frozen=True, kw_only=True):
    reason: Annotated[CloseReason, Meta(description="session_ended: to watchers only.")]


class CloseAck(ServerMessage, frozen=True, kw_only=True, tag="CLOSE_ACK"):
    """The last message."""

    data: CloseAckFields


class Ping(ServerMessage, frozen=True, kw_only=True, tag="PING"):
    """Sent every 30 seconds; a PONG is optional."""

    data: Nothing = Nothing()


class ErrorFields(msgspec.Struct, frozen=True, kw_only=True):
    code: Annotated[ErrorCode, Meta(description="What kind of error; see the table below.")]
    message: Annotated[str, Meta(description="What was wrong, and what is allowed.")]
    details: (
        Annotated[dict[str, Any], Meta(description="For programs; retry_after_ms among others.")]
        | UnsetType
    ) = UNSET


class Error(ServerMessage, frozen=True, kw_only=True, tag="ERROR"):
    """A request could not be fulfilled, or the session ends."""

    data: ErrorFields

    @classmethod
    def of(cls, error: ProtocolError, session_id: str | None) -> "Error":
        return cls(
            session_id=session_id,
            data=ErrorFields(
                code=error.code, message=error.message, details=error.details or UNSET
            ),
        )


SERVER_MESSAGES: tuple[type[ServerMessage], ...] = (
    InitSuccess,
    VideoFrame,
    ActionFrame,
    ActionTriggered,
    StateChanged,
    Interrupted,
    SpeechStarted,
    SpeechFinished,
    FrameInfo,
    SessionWarning,
    CloseAck,
    Ping,
    Error,
)


def frame_message(
    frame: layer.VideoFrame, session_id: str, sound: FrameSound | None = None
) -> VideoFrame | ActionFrame:
    """Return the client's message of a worker's frame.

    Args:
        frame: As the worker sent it.
        session_id: The client's session.
        sound: The frame's sound, for connections that receive it.

    Returns:
        ACTION_FRAME for the frames of an action asked for in the form of version 1.0, else
        VIDEO_FRAME.
    """
    fields: dict[str, Any] = {
        "frame_data": frame.access_unit,
        "frame_timestamp": frame_timestamp_ms(frame.frame),
        "keyframe": frame.is_idr,
        "state": frame.state,
        "base_video": frame.clip,
        "audio_timestamp": (
            UNSET if frame.position is None else audio_timestamp_ms(frame.position)
        ),
        "audio": UNSET if sound is None else sound,
    }
    if frame.action_progress is not None and frame.action_form == "v1.0":
        return ActionFrame(
            session_id=session_id,
            data=ActionFrameFields(**fields, action_progress=round(frame.action_progress, 4)),
        )
    return VideoFrame(session_id=session_id, data=FrameFields(**fields))


def frame_info(frame: layer.VideoFrame, session_id: str) -> FrameInfo:
    """Return what a binary frame does not say: the state and the clip, from ``frame`` on."""
    fields = FrameInfoFields(
        frame_timestamp=frame_timestamp_ms(frame.frame),
        state=frame.state,
        base_video=frame.clip,
    )
    return FrameInfo(session_id=session_id, data=fields)
