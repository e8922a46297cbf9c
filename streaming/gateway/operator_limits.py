"""The limits of a session, as the settings say."""

from django.conf import settings

from streaming.session.limits import SessionLimits


def operator_limits() -> SessionLimits:
    """Return the limits of each session."""
    return SessionLimits(
        max_queued_speech_s=settings.MAX_QUEUED_SPEECH_S,
        idle_s=settings.SESSION_IDLE_S,
        max_session_s=settings.MAX_SESSION_S,
        end_of_speech_s=settings.END_OF_SPEECH_MS / 1_000,
        resume_s=settings.RESUME_S,
        max_watchers=settings.MAX_WATCHERS,
    )
