"""What the server sends. See `streaming.protocol.codec` for how one of these becomes text."""

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
    """How the pictures are coded; ``codec`` is what WebCodecs and MSE want to hear."""

    codec: str
    width: int = DEFAULT_PROFILE.width
    height: int = DEFAULT_PROFILE.height
    format: Literal["annexb"] = "annexb"
    fps: int = FRAMES_PER_SECOND


class InitSuccessFields(msgspec.Struct, frozen=True, kw_only=True):
    model_loaded: bool
    available_videos: list[str]
    default_video: str
    streaming_started: bool = True
    engine: str
    video: VideoDescription


class InitSuccess(ServerMessage, frozen=True, kw_only=True, tag="INIT_SUCCESS"):
    """The session is open: what there is to see, and how it is coded."""

    data: InitSuccessFields


class FrameFields(msgspec.Struct, frozen=True, kw_only=True):
    frame_data: Annotated[bytes, Meta(description="One H.264 access unit, Annex B.")]
    frame_timestamp: Annotated[int, Meta(description="ms, the frame's number × 40.")]
    keyframe: bool
    state: ClipState
    base_video: str
    audio_timestamp: (
        Annotated[int, Meta(description="ms; on frames that show received speech.")] | UnsetType
    ) = UNSET


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
    action_index: int
    inserted: bool = True


class ActionTriggered(ServerMessage, frozen=True, kw_only=True, tag="ACTION_TRIGGERED"):
    """An action was accepted; it starts within a second."""

    data: ActionTriggeredFields


class StateChangedFields(msgspec.Struct, frozen=True, kw_only=True):
    current_state: ClipState
    current_video: str


class StateChanged(ServerMessage, frozen=True, kw_only=True, tag="STATE_CHANGED"):
    """A change of clip was accepted; it shows within a second."""

    data: StateChangedFields


class InterruptedFields(msgspec.Struct, frozen=True, kw_only=True):
    dropped_ms: Annotated[int, Meta(ge=0, description="Accepted speech that no frame showed.")]


class Interrupted(ServerMessage, frozen=True, kw_only=True, tag="INTERRUPTED"):
    """Barge-in took effect."""

    data: InterruptedFields


CloseReason = Literal["client_request", "timeout", "server_shutdown", "error"]


class CloseAckFields(msgspec.Struct, frozen=True, kw_only=True):
    reason: CloseReason


class CloseAck(ServerMessage, frozen=True, kw_only=True, tag="CLOSE_ACK"):
    """The last message."""

    data: CloseAckFields


class Ping(ServerMessage, frozen=True, kw_only=True, tag="PING"):
    """Is the client there? Comes every 30 seconds; a PONG is optional."""

    data: Nothing = Nothing()


class ErrorFields(msgspec.Struct, frozen=True, kw_only=True):
    code: ErrorCode
    message: Annotated[str, Meta(description="What was wrong, and what is allowed.")]
    details: dict[str, Any] | UnsetType = UNSET


class Error(ServerMessage, frozen=True, kw_only=True, tag="ERROR"):
    """What was asked could not be done, or ends the session."""

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
    CloseAck,
    Ping,
    Error,
)


def frame_message(frame: layer.VideoFrame, session_id: str) -> VideoFrame | ActionFrame:
    """What the client is sent of a worker's frame."""
    audio_timestamp = UNSET if frame.position is None else audio_timestamp_ms(frame.position)
    if frame.action_progress is not None and frame.action_form == "v1.0":
        return ActionFrame(
            session_id=session_id,
            data=ActionFrameFields(
                frame_data=frame.access_unit,
                frame_timestamp=frame_timestamp_ms(frame.frame),
                keyframe=frame.is_idr,
                state=frame.state,
                base_video=frame.clip,
                audio_timestamp=audio_timestamp,
                action_progress=frame.action_progress,
            ),
        )
    return VideoFrame(
        session_id=session_id,
        data=FrameFields(
            frame_data=frame.access_unit,
            frame_timestamp=frame_timestamp_ms(frame.frame),
            keyframe=frame.is_idr,
            state=frame.state,
            base_video=frame.clip,
            audio_timestamp=audio_timestamp,
        ),
    )
