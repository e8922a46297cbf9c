"""Limits of a session, set by the operator."""

from dataclasses import dataclass

WARN_BEFORE_S = 30.0
"""How long before its session ends a client is warned; at most half the limit."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Seconds, unless they say otherwise."""

    max_queued_speech_s: float = 60
    """Speech that may wait to be shown."""
    idle_s: float = 0
    """Without a message of the client until the session is closed; 0: no limit."""
    max_session_s: float = 0
    """Until an open session is closed; 0: no limit."""
    end_of_speech_s: float = 0.24
    """Without a chunk that end an utterance."""
    resume_s: float = 0
    """For which a session waits for a client that lost its connection; 0: it ends."""
    max_watchers: int = 100
    """Connections that may watch a session; 0: none, and no token is given."""


def warning_s(limit_s: float) -> float:
    """How long before a limit the client is warned."""
    return min(WARN_BEFORE_S, limit_s / 2)
