"""An example of every message: what the protocol page offers to send, and shows as an answer.

They are messages of the real types, so none can fall behind them.
"""

from inference.timing import BYTES_PER_SAMPLE, SAMPLES_PER_FRAME
from streaming.protocol import server_messages as told
from streaming.protocol.client_messages import (
    Action,
    ActionFields,
    ClientMessage,
    Close,
    Generate,
    GenerateFields,
    Init,
    InitFields,
    Interrupt,
    Nothing,
    Pong,
    SpeechChunk,
    StateChange,
    StateChangeFields,
    VideoConfig,
    VideoState,
)

SESSION_ID = "3f2b8c1e-5d4a-4e6f-9a7b-0c1d2e3f4a5b"

_SILENCE = SpeechChunk(
    format="pcm_s16le",
    sample_rate=16000,
    channels=1,
    duration_ms=40,
    data=bytes(SAMPLES_PER_FRAME * BYTES_PER_SAMPLE),
)
_ACCESS_UNIT = bytes.fromhex("00000001 6742c01e")
"""The beginning of one: a start code, and the first bytes of a sequence parameter set."""

CLIENT_EXAMPLES: tuple[ClientMessage, ...] = (
    Init(
        session_id=SESSION_ID,
        data=InitFields(user_id="guest", video_config=VideoConfig()),
    ),
    Generate(
        session_id=SESSION_ID,
        data=GenerateFields(
            audio_chunk=_SILENCE, video_state=VideoState(type="speaking", base_video="speaking_0")
        ),
    ),
    StateChange(
        session_id=SESSION_ID,
        data=StateChangeFields(target_state="idle", base_video="idle_1"),
    ),
    Action(session_id=SESSION_ID, data=ActionFields(action_index=1)),
    Action(session_id=SESSION_ID, data=ActionFields(action_type="action_2")),
    Interrupt(session_id=SESSION_ID, data=Nothing()),
    Pong(session_id=SESSION_ID, data=Nothing()),
    Close(session_id=SESSION_ID, data=Nothing()),
)

SERVER_EXAMPLES: tuple[told.ServerMessage, ...] = (
    told.InitSuccess(
        session_id=SESSION_ID,
        data=told.InitSuccessFields(
            model_loaded=True,
            available_videos=["idle_0", "idle_1", "speaking_0", "action_1", "action_2"],
            default_video="idle_0",
            engine="viseme",
            video=told.VideoDescription(codec="avc1.42C01E"),
        ),
    ),
    told.VideoFrame(
        session_id=SESSION_ID,
        data=told.FrameFields(
            frame_data=_ACCESS_UNIT,
            frame_timestamp=1_240,
            keyframe=True,
            state="idle",
            base_video="idle_0",
            audio_timestamp=80,
        ),
    ),
    told.ActionFrame(
        session_id=SESSION_ID,
        data=told.ActionFrameFields(
            frame_data=_ACCESS_UNIT,
            frame_timestamp=2_000,
            keyframe=True,
            state="action",
            base_video="action_2",
            action_progress=0.25,
        ),
    ),
    told.ActionTriggered(session_id=SESSION_ID, data=told.ActionTriggeredFields(action_index=1)),
    told.StateChanged(
        session_id=SESSION_ID,
        data=told.StateChangedFields(current_state="idle", current_video="idle_1"),
    ),
    told.Interrupted(session_id=SESSION_ID, data=told.InterruptedFields(dropped_ms=360)),
    told.Ping(session_id=SESSION_ID),
    told.Error(
        session_id=SESSION_ID,
        data=told.ErrorFields(
            code="RATE_LIMIT_EXCEEDED",
            message="59960 ms of speech wait to be shown and at most 60000 may.",
            details={"queued_ms": 59_960, "limit_ms": 60_000},
        ),
    ),
    told.CloseAck(session_id=SESSION_ID, data=told.CloseAckFields(reason="client_request")),
)
