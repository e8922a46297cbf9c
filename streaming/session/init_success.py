"""What INIT_SUCCESS says of a session."""

import msgspec
from msgspec import UNSET

from inference.messages import SessionClaimed
from streaming.protocol import codec
from streaming.protocol.client_messages import MAX_CHUNK_S, SAMPLE_RATES_HZ
from streaming.protocol.server_messages import (
    InitSuccessFields,
    Limits,
    ResumeOffer,
    VideoDescription,
    WatchOffer,
)
from streaming.session.clip_choice import Avatar, clip_names, first_clip
from streaming.session.limits import SessionLimits

PROTOCOL_VERSION = "1.2"


def init_success(avatar: Avatar, worker: SessionClaimed) -> InitSuccessFields:
    """Return the fields for every client."""
    return InitSuccessFields(
        model_loaded=worker.is_lipsync_ready,
        available_videos=clip_names(avatar),
        default_video=first_clip(avatar, "idle").name,
        engine=worker.engine,
        video=VideoDescription(codec=avatar.codec, width=avatar.width, height=avatar.height),
    )


def init_success_1_2(
    fields: InitSuccessFields,
    avatar: Avatar,
    rules: SessionLimits,
    *,
    resume_token: str | None,
    watch_token: str | None,
    next_audio_ms: int | None,
) -> InitSuccessFields:
    """More fields for the owner of a session that speaks version 1.2.

    Args:
        fields: Those for every client.
        avatar: Who is shown.
        rules: The session's.
        resume_token: By which it can be resumed; None: it cannot.
        watch_token: By which it can be watched; None: it cannot.
        next_audio_ms: From where the client sends its speech again; None: it did not resume.
    """
    window_ms = round(rules.resume_s * 1_000)
    return msgspec.structs.replace(
        fields,
        protocol_version=PROTOCOL_VERSION,
        clip_titles=dict(avatar.titles) or UNSET,
        limits=_limits(rules),
        resume=(
            UNSET if resume_token is None else ResumeOffer(token=resume_token, window_ms=window_ms)
        ),
        watch=UNSET if watch_token is None else WatchOffer(token=watch_token),
        resumed=UNSET if next_audio_ms is None else True,
        next_audio_ms=UNSET if next_audio_ms is None else next_audio_ms,
    )


def _limits(rules: SessionLimits) -> Limits:
    return Limits(
        max_message_bytes=codec.MAX_MESSAGE_BYTES,
        max_audio_ms=MAX_CHUNK_S * 1_000,
        max_queued_speech_ms=round(rules.max_queued_speech_s * 1_000),
        session_idle_s=rules.idle_s,
        max_session_s=rules.max_session_s,
        sample_rates=SAMPLE_RATES_HZ,
    )
