"""The tokens by which clients resume their sessions, signed with the site's secret key.

A token says whose session it is, when that was opened, and which of its connections it was given
to. So a process that knows nothing of the session can continue it, and one that has it takes the
newest connection's token only.
"""

from dataclasses import dataclass
from typing import Any

from django.core.signing import BadSignature, Signer

from streaming.gateway.takeover import key_of
from streaming.protocol.errors import ProtocolError
from streaming.session.connection_state import invalid_session

CLOCK_TOLERANCE_MS = 5_000
"""By how much the clocks of two machines may differ."""

_signer = Signer(salt="streaming.resume")


@dataclass(frozen=True, slots=True)
class ResumeClaim:
    """What a valid token says."""

    number: int
    """Of the connection that was lost, from 0."""
    opened_at: float
    """When the session was opened, seconds since 1970."""

    def latest_frame_ms(self, now: float) -> int:
        """Return the newest ``frame_timestamp`` that the session can have come to.

        Args:
            now: Seconds since 1970.
        """
        return int((now - self.opened_at) * 1_000) + CLOCK_TOLERANCE_MS


@dataclass(slots=True)
class SignedTokens:
    """Implements `streaming.session.resumption.ResumeTokens`."""

    user_id: str
    opened_at: float
    """When the session was opened, seconds since 1970."""

    def issue(self, session_id: str, number: int) -> str:
        """Return the token of the session's connection with this number."""
        fields = [key_of(session_id), self.user_id, number, round(self.opened_at, 3)]
        token: str = _signer.sign_object(fields)
        return token


def check_token(token: str, session_id: str, user_id: str) -> ResumeClaim:
    """Return what a token says.

    Args:
        token: As the client gave it.
        session_id: The session that the client wants to resume.
        user_id: The client's, by its path.

    Raises:
        ProtocolError: It was not made here, or for another session or user.
    """
    try:
        fields: Any = _signer.unsign_object(token)
        session, user, number, opened_at = fields
    except (BadSignature, ValueError, TypeError):
        raise refused() from None
    if (session, user) != (key_of(session_id), user_id):
        raise refused()
    return ResumeClaim(int(number), float(opened_at))


def refused() -> ProtocolError:
    """Return the answer to every token that does not fit; why not is nobody's business."""
    return invalid_session(
        "The resume_token does not fit this session; send the one of its latest INIT_SUCCESS, or "
        "INIT without one for a new session."
    )
