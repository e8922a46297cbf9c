"""Signed tokens (JWT): those of an identity provider, and short-lived ones that this server issues.

Which key may have signed a token is decided by who claims to have issued it, and each key goes with
its own algorithms only. So a public key is never taken for a shared secret, and ``none`` is no
algorithm at all.

Claims: ``sub`` (required) names the subject; ``avatars`` lists the user_ids whose streams it may
open, without it the subject's own; ``role`` is viewer, operator or administrator; ``session_exp``
is when its sessions must end.
"""

import functools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from django.conf import settings
from django.utils.crypto import salted_hmac

from avatars_app.access.principal import (
    ROLES,
    AccessDenied,
    CredentialUnchecked,
    Principal,
    Source,
)

OWN_ISSUER = "talking-avatar"
OWN_AUDIENCE = "talking-avatar/stream"
JWKS_KEPT_S = 300
_MAX_TOKEN_BYTES = 8_192
_ASYMMETRIC = ("RS256", "ES256")


@dataclass(frozen=True, slots=True)
class _Verifier:
    """A key, and what a token that it signed must say."""

    key: Any
    algorithms: tuple[str, ...]
    audience: str | None
    issuer: str | None


def read_token(token: str) -> Principal:
    """Who a token says its bearer is.

    Args:
        token: In compact form.

    Raises:
        AccessDenied: It is not valid here.
        CredentialUnchecked: The identity provider cannot be reached.
    """
    if len(token) > _MAX_TOKEN_BYTES:
        raise AccessDenied(f"The token has over {_MAX_TOKEN_BYTES} bytes.")
    verifier = _own_verifier() if _claims_to_be_ours(token) else _provider_verifier(token)
    try:
        claims = jwt.decode(
            token,
            verifier.key,
            algorithms=list(verifier.algorithms),
            audience=verifier.audience,
            issuer=verifier.issuer,
            leeway=settings.AUTH_LEEWAY_S,
            options={
                "require": ["sub", "exp"],
                "verify_aud": verifier.audience is not None,
                "strict_aud": False,
            },
        )
    except jwt.ExpiredSignatureError:
        raise AccessDenied("The token has expired; ask for another one.") from None
    except jwt.InvalidAudienceError:
        raise AccessDenied("The token is for another audience than this server.") from None
    except jwt.InvalidTokenError:
        raise AccessDenied("The token is not valid here.") from None
    return _principal(claims)


def issue_token(principal: Principal, *, lifetime_s: int) -> str:
    """Return a token for streams, signed by this server.

    Args:
        principal: Who its bearer will be.
        lifetime_s: For how long sessions can be opened with it.
    """
    now_s = int(time.time())  # noqa: TID251 - JWT counts seconds since 1970
    claims: dict[str, Any] = {
        "iss": OWN_ISSUER,
        "aud": OWN_AUDIENCE,
        "sub": principal.subject,
        "role": principal.role,
        "iat": now_s,
        "exp": now_s + lifetime_s,
    }
    if principal.avatars is not None:
        claims["avatars"] = sorted(principal.avatars)
    else:
        claims["any_avatar"] = True
    if principal.source is not None:
        claims["source"] = [principal.source.kind, principal.source.id]
    return jwt.encode(claims, _own_key(), algorithm="HS256")


def _claims_to_be_ours(token: str) -> bool:
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return False
    return bool(claims.get("iss") == OWN_ISSUER)


def _own_key() -> bytes:
    return salted_hmac("avatars_app.access", "stream tokens", algorithm="sha256").digest()


def _own_verifier() -> _Verifier:
    return _Verifier(_own_key(), ("HS256",), OWN_AUDIENCE, OWN_ISSUER)


def _provider_verifier(token: str) -> _Verifier:
    audience, issuer = settings.AUTH_AUDIENCE or None, settings.AUTH_ISSUER or None
    if settings.AUTH_JWKS_URL:
        try:
            key = _jwks(settings.AUTH_JWKS_URL).get_signing_key_from_jwt(token)
        except jwt.PyJWKClientConnectionError:
            raise CredentialUnchecked(
                "The keys of the identity provider cannot be fetched now; try again soon."
            ) from None
        except (jwt.PyJWKClientError, jwt.InvalidTokenError):
            raise AccessDenied("The token is not valid here.") from None
        if key.algorithm_name not in _ASYMMETRIC:
            raise AccessDenied("The token is not valid here.")
        return _Verifier(key.key, (key.algorithm_name,), audience, issuer)
    if settings.AUTH_PUBLIC_KEY:
        key, algorithm = public_key(settings.AUTH_PUBLIC_KEY)
        return _Verifier(key, (algorithm,), audience, issuer)
    if settings.AUTH_SECRET:
        return _Verifier(settings.AUTH_SECRET, ("HS256",), audience, issuer)
    raise AccessDenied("This server accepts no tokens of others; use an API key or POST /tokens.")


@functools.lru_cache(maxsize=4)
def _jwks(url: str) -> jwt.PyJWKClient:
    # `cache_keys` would keep each key for ever, also one that the provider has withdrawn.
    return jwt.PyJWKClient(url, cache_keys=False, lifespan=JWKS_KEPT_S, timeout=5)


@functools.lru_cache(maxsize=4)
def public_key(path: Path) -> tuple[Any, str]:
    """Return the key in a PEM file, and the one algorithm that goes with it.

    Args:
        path: Of the file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no public key in PEM.
    """
    key = load_pem_public_key(path.read_bytes())
    return key, "ES256" if isinstance(key, EllipticCurvePublicKey) else "RS256"


def _principal(claims: dict[str, Any]) -> Principal:
    subject, role = claims["sub"], claims.get("role", "viewer")
    if not isinstance(subject, str) or not 0 < len(subject) <= 255:
        raise AccessDenied("The claim sub must be a text of 1 to 255 characters.")
    if role not in ROLES:
        raise AccessDenied(f"The claim role must be one of {', '.join(ROLES)}.")
    avatars = claims.get("avatars", [subject])
    if not isinstance(avatars, list) or not all(isinstance(each, str) for each in avatars):
        raise AccessDenied("The claim avatars must be a list of user_ids.")
    is_ours = claims.get("iss") == OWN_ISSUER
    session_exp = claims.get("session_exp")
    if not isinstance(session_exp, int | float | None):
        raise AccessDenied("The claim session_exp must be a number of seconds since 1970.")
    return Principal(
        subject,
        role,
        None if is_ours and claims.get("any_avatar") else frozenset(avatars),
        session_exp,
        Source(*claims["source"]) if is_ours and "source" in claims else None,
        is_by_token=True,
    )
