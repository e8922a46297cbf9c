"""An example of every message: what the protocol page offers to send, and shows as an answer.

They are messages of the real types, so none can fall behind them.
"""

from inference.timing import BYTES_PER_SAMPLE, SAMPLES_PER_FRAME
from streaming.protocol import server_messages
from streaming.protocol.client_messages import (
    SAMPLE_RATES_HZ,
    Action,
    ActionFields,
    ClientMessage,
    Close,
    EndOfSpeech,
    EndOfSpeechFields,
    Generate,
    GenerateFields,
    Init,
    InitFields,
    Interrupt,
    InterruptFields,
    Nothing,
    Pong,
    SpeechChunk,
    StateChange,
    StateChangeFields,
    UserSpeaking,
    UserSpeakingFields,
    VideoConfig,
    VideoState,
)

SESSION_ID = "3f2b8c1e-5d4a-4e6f-9a7b-0c1d2e3f4a5b"

_TOKEN = "from the owner's INIT_SUCCESS"  # noqa: S105 - says where the token is from

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
    Init(session_id=SESSION_ID, data=InitFields(user_id="guest", protocol_version="1.2")),
    Init(
        session_id=SESSION_ID,
        data=InitFields(user_id="guest", protocol_version="1.2", allow_watchers=True),
    ),
    Init(
        session_id=SESSION_ID,
        data=InitFields(user_id="guest", role="watch", watch_token=_TOKEN),
    ),
    Generate(
        session_id=SESSION_ID,
        data=GenerateFields(
            audio_chunk=_SILENCE, video_state=VideoState(type="speaking", base_video="speaking_0")
        ),
    ),
    Generate(
        session_id=SESSION_ID,
        data=GenerateFields(
            audio_chunk=SpeechChunk(
                format="pcm_s16le", sample_rate=24000, channels=1, data=bytes(480)
            ),
            utterance_id="answer-1",
        ),
    ),
    EndOfSpeech(session_id=SESSION_ID, data=EndOfSpeechFields(utterance_id="answer-1")),
    StateChange(
        session_id=SESSION_ID,
        data=StateChangeFields(target_state="idle", base_video="idle_1"),
    ),
    Action(session_id=SESSION_ID, data=ActionFields(action_index=1)),
    Action(session_id=SESSION_ID, data=ActionFields(action_type="action_2")),
    UserSpeaking(session_id=SESSION_ID, data=UserSpeakingFields(active=True)),
    Interrupt(session_id=SESSION_ID, data=InterruptFields(number=1)),
    Pong(session_id=SESSION_ID, data=Nothing()),
    Close(session_id=SESSION_ID, data=Nothing()),
)

SERVER_EXAMPLES: tuple[server_messages.ServerMessage, ...] = (
    server_messages.InitSuccess(
        session_id=SESSION_ID,
        data=server_messages.InitSuccessFields(
            model_loaded=True,
            available_videos=["idle_0", "idle_1", "speaking_0", "action_1", "action_2"],
            default_video="idle_0",
            engine="viseme",
            video=server_messages.VideoDescription(codec="avc1.42C01E"),
        ),
    ),
    server_messages.InitSuccess(
        session_id=SESSION_ID,
        data=server_messages.InitSuccessFields(
            model_loaded=True,
            available_videos=["idle_0", "speaking_0", "action_1"],
            default_video="idle_0",
            engine="viseme",
            video=server_messages.VideoDescription(codec="avc1.42C01E"),
            protocol_version="1.2",
            clip_titles={"idle_0": "calm", "action_1": "wave"},
            limits=server_messages.Limits(
                max_message_bytes=1_048_576,
                max_audio_ms=10_000,
                max_queued_speech_ms=60_000,
                session_idle_s=0,
                max_session_s=0,
                sample_rates=SAMPLE_RATES_HZ,
            ),
        ),
    ),
    server_messages.VideoFrame(
        session_id=SESSION_ID,
        data=server_messages.FrameFields(
            frame_data=_ACCESS_UNIT,
            frame_timestamp=1_240,
            keyframe=True,
            state="idle",
            base_video="idle_0",
            audio_timestamp=80,
        ),
    ),
    server_messages.ActionFrame(
        session_id=SESSION_ID,
        data=server_messages.ActionFrameFields(
            frame_data=_ACCESS_UNIT,
            frame_timestamp=2_000,
            keyframe=True,
            state="action",
            base_video="action_2",
            action_progress=0.25,
        ),
    ),
    server_messages.ActionTriggered(
        session_id=SESSION_ID, data=server_messages.ActionTriggeredFields(action_index=1)
    ),
    server_messages.StateChanged(
        session_id=SESSION_ID,
        data=server_messages.StateChangedFields(current_state="idle", current_video="idle_1"),
    ),
    server_messages.Interrupted(
        session_id=SESSION_ID, data=server_messages.InterruptedFields(dropped_ms=360)
    ),
    server_messages.SpeechStarted(
        session_id=SESSION_ID,
        data=server_messages.SpeechStartedFields(
            utterance_id="answer-1", frame_timestamp=1_240, audio_timestamp=0
        ),
    ),
    server_messages.SpeechFinished(
        session_id=SESSION_ID,
        data=server_messages.SpeechFinishedFields(
            utterance_id="answer-1", played_ms=2_480, interrupted=False, frame_timestamp=3_720
        ),
    ),
    server_messages.FrameInfo(
        session_id=SESSION_ID,
        data=server_messages.FrameInfoFields(
            frame_timestamp=1_240, state="idle", base_video="idle_0"
        ),
    ),
    server_messages.SessionWarning(
        session_id=SESSION_ID,
        data=server_messages.WarningFields(reason="max_session", in_ms=30_000),
    ),
    server_messages.SessionWarning(
        session_id=SESSION_ID,
        data=server_messages.WarningFields(reason="owner_away", in_ms=30_000),
    ),
    server_messages.Ping(session_id=SESSION_ID),
    server_messages.Error(
        session_id=SESSION_ID,
        data=server_messages.ErrorFields(
            code="RATE_LIMIT_EXCEEDED",
            message=(
                "59960 ms of speech wait and this chunk has 1000 ms, but at most 60000 ms may "
                "wait: send it again in 960 ms."
            ),
            details={
                "queued_ms": 59_960,
                "limit_ms": 60_000,
                "chunk": 60,
                "retry_after_ms": 960,
            },
        ),
    ),
    server_messages.CloseAck(
        session_id=SESSION_ID, data=server_messages.CloseAckFields(reason="client_request")
    ),
)
