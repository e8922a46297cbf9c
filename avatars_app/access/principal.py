"""Who a caller is, and what that allows. Pure."""

from dataclasses import dataclass
from typing import Literal, get_args

Role = Literal["viewer", "operator", "administrator"]
"""Viewers open streams of their avatars; operators see all sessions, end them, and make avatars;
administrators also replace and delete what others made, and give keys."""
ROLES: tuple[Role, ...] = get_args(Role)


class AccessDenied(Exception):
    """A credential is missing or not good; the message tells its sender what is wrong."""


class CredentialUnchecked(Exception):
    """Whether a credential is good cannot be found out now; the message tells its sender why."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a principal stands and falls with: when it is withdrawn, sessions end."""

    kind: Literal["key", "user"]
    id: int


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller."""

    subject: str
    """Stable name: a session belongs to it."""
    role: Role = "viewer"
    avatars: frozenset[str] | None = None
    """The user_ids whose streams it may open; None: all."""
    session_exp: float | None = None
    """When its sessions must end, seconds since 1970; None: not by the token."""
    source: Source | None = None
    is_by_token: bool = False
    """A token says so, which is no credential to get further ones with."""

    def is_at_least(self, role: Role) -> bool:
        """Whether it has this role, or one that allows more."""
        return ROLES.index(self.role) >= ROLES.index(role)

    def may_open(self, user_id: str) -> bool:
        """Whether it may open a stream of this user's avatar."""
        return self.avatars is None or user_id in self.avatars
