"""What INIT_SUCCESS says of a session."""

import msgspec

from inference.messages import SessionClaimed
from streaming.protocol import codec
from streaming.protocol.client_messages import MAX_CHUNK_S, SAMPLE_RATES_HZ
from streaming.protocol.server_messages import (
    InitSuccessFields,
    Limits,
    ResumeOffer,
    VideoDescription,
)
from streaming.session.clip_choice import Avatar, clip_names, first_clip
from streaming.session.limits import SessionLimits

PROTOCOL_VERSION = "1.2"


def init_success(avatar: Avatar, worker: SessionClaimed) -> InitSuccessFields:
    """What every client is told."""
    return InitSuccessFields(
        model_loaded=worker.is_lipsync_ready,
        available_videos=clip_names(avatar),
        default_video=first_clip(avatar, "idle").name,
        engine=worker.engine,
        video=VideoDescription(codec=avatar.codec, width=avatar.width, height=avatar.height),
    )


def with_limits(fields: InitSuccessFields, rules: SessionLimits) -> InitSuccessFields:
    """What clients of version 1.2 are told beside."""
    limits = Limits(
        max_message_bytes=codec.MAX_MESSAGE_BYTES,
        max_audio_ms=MAX_CHUNK_S * 1_000,
        max_queued_speech_ms=round(rules.max_queued_speech_s * 1_000),
        session_idle_s=rules.idle_s,
        max_session_s=rules.max_session_s,
        sample_rates=SAMPLE_RATES_HZ,
    )
    return msgspec.structs.replace(fields, protocol_version=PROTOCOL_VERSION, limits=limits)


def with_resume_offer(
    fields: InitSuccessFields, token: str, rules: SessionLimits
) -> InitSuccessFields:
    """How the session can be resumed."""
    offer = ResumeOffer(token=token, window_ms=round(rules.resume_s * 1_000))
    return msgspec.structs.replace(fields, resume=offer)
