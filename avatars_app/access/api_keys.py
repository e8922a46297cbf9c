"""API keys: for back ends, made and revoked in the admin.

A key is 256 random bits behind a readable prefix, by which its row is found. Only its digest is
kept; since a key cannot be guessed, a fast digest is enough.
"""

import hashlib
import hmac
import secrets
from typing import cast

from django.db.models import F
from django.utils import timezone

from avatars_app.access.principal import AccessDenied, Principal, Role, Source
from avatars_app.models import ApiKey

MARK = "tak_"
"""How every key begins, so that leaks can be searched for."""
_PREFIX_CHARACTERS = 8


def make_key() -> tuple[str, str, str]:
    """Return a new key: all of it, its prefix, its digest."""
    prefix = secrets.token_hex(_PREFIX_CHARACTERS // 2)
    key = f"{MARK}{prefix}_{secrets.token_urlsafe(32)}"
    return key, prefix, digest_of(key)


def digest_of(key: str) -> str:
    """Return what is kept of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def read_key(key: str) -> Principal:
    """Whom a key belongs to.

    Raises:
        AccessDenied: There is no such key, or it was revoked.
    """
    prefix = key.removeprefix(MARK).partition("_")[0]
    row = ApiKey.objects.filter(prefix=prefix, revoked_at=None).first()
    if row is None or not hmac.compare_digest(row.digest, digest_of(key)):
        raise AccessDenied("The API key is not known, or was revoked.")
    ApiKey.objects.filter(pk=row.pk).update(last_used_at=timezone.now(), uses=F("uses") + 1)
    return Principal(
        subject=f"key:{row.prefix}",
        role=cast(Role, row.role),
        avatars=frozenset(row.avatars.split()) if row.avatars.strip() else None,
        source=Source("key", row.pk),
    )
