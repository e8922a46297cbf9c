"""The tokens by which others watch a session, signed with the site's secret key.

A token says which session, whose it is, and when that was opened: it is void when the session ends,
and for any later one of the same id. It admits many, for an hour.
"""

from dataclasses import dataclass
from typing import Any

from django.core.signing import BadSignature, TimestampSigner

from streaming.gateway.resume_tokens import SignedTokens
from streaming.gateway.takeover import key_of

VALID_S = 3_600

_signer = TimestampSigner(salt="streaming.watch")


@dataclass(frozen=True, slots=True)
class SignedWatchTokens:
    """Implements `streaming.session.audience.WatchTokens`."""

    opening: SignedTokens
    """Whose the session is, and when it was opened."""

    @property
    def opened_at(self) -> float:
        """When the session was opened, seconds since 1970."""
        return self.opening.opened_at

    def issue(self, session_id: str) -> str:
        """Return a token for the session."""
        token: str = _signer.sign_object(self._fields(session_id))
        return token

    def admits(self, token: str, session_id: str) -> bool:
        """Whether a token is for this session, and not too old."""
        try:
            fields: Any = _signer.unsign_object(token, max_age=VALID_S)
        except (BadSignature, ValueError, TypeError):
            return False
        return bool(fields == self._fields(session_id))

    def _fields(self, session_id: str) -> list[object]:
        return [key_of(session_id), self.opening.user_id, round(self.opening.opened_at, 3)]
