"""Who may open a stream, and how many of them.

A credential comes in INIT, in the header Authorization, or as a subprotocol ``bearer.TOKEN`` (pages
can set no headers). Cookies never authenticate a stream: a page of elsewhere could use them.
"""

import asyncio
import logging
import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings
from django.db import DatabaseError

from avatars_app.access import holder_limits
from avatars_app.access.authentication import principal_of
from avatars_app.access.principal import AccessDenied, CredentialUnchecked, Principal
from streaming.gateway import registry as live
from streaming.protocol.errors import CloseCode, ClosingError, DatabaseUnavailable

log = logging.getLogger(__name__)

WITHIN_S = 10.0
PROVIDER_RETRY_AFTER_MS = 5_000
SUBPROTOCOL_MARK = "bearer."

_threads = ThreadPoolExecutor(4, thread_name_prefix="admission")


async def admit(scope: Mapping[str, Any], auth_token: str | None, user_id: str) -> Principal | None:
    """Who opens a stream of this user's avatar, and counts as having done so.

    Args:
        scope: Of the connection.
        auth_token: What INIT brought.
        user_id: Whose avatar.

    Returns:
        None: AUTH is off.

    Raises:
        ClosingError: Nobody who may, or too often.
    """
    await count_address(scope)
    if not settings.AUTH:
        return None
    principal = await _authenticate(auth_token or credential_of(scope), user_id)
    await _count(None, principal)
    return principal


async def count_address(scope: Mapping[str, Any]) -> None:
    """Count a connection at its address.

    Raises:
        ClosingError: The address opened as many in this minute as it may.
    """
    await _count(_address_of(scope), None)


def session_limits(scope: Mapping[str, Any], principal: Principal | None) -> Mapping[str, int]:
    """How many sessions each holder of a connection may have."""
    return holder_limits.session_limits(_address_of(scope), principal)


def credential_of(scope: Mapping[str, Any]) -> str | None:
    """Return the credential that a connection brought with its request; None: none."""
    for name, value in scope.get("headers", ()):
        kind, _, credential = value.decode("latin1").partition(" ")
        if name == b"authorization" and kind.lower() == "bearer":
            return str(credential).strip()
    for subprotocol in scope.get("subprotocols") or ():
        if subprotocol.startswith(SUBPROTOCOL_MARK):
            return str(subprotocol).removeprefix(SUBPROTOCOL_MARK)
    return None


def unauthorized(message: str) -> ClosingError:
    """Return the error that ends a stream that is not authorized."""
    return ClosingError("UNAUTHORIZED", message, close_code=CloseCode.UNAUTHORIZED)


async def _authenticate(credential: str | None, user_id: str) -> Principal:
    """Who opens a stream of this user's avatar.

    Raises:
        ClosingError: Nobody who may, or that cannot be found out now.
    """
    if not credential:
        raise unauthorized(
            "This server asks who you are: send data.auth_token with INIT, or Authorization: "
            "Bearer."
        )
    look_up = database_sync_to_async(principal_of, thread_sensitive=False, executor=_threads)
    try:
        async with asyncio.timeout(WITHIN_S):
            principal: Principal = await look_up(credential)
    except AccessDenied as denied:
        raise unauthorized(str(denied)) from None
    except CredentialUnchecked as unchecked:
        log.error("a credential could not be checked: %s", unchecked)
        raise ClosingError(
            "PROCESSING_ERROR",
            str(unchecked),
            close_code=CloseCode.INTERNAL_ERROR,
            reason="identity_provider_unavailable",
            retry_after_ms=PROVIDER_RETRY_AFTER_MS,
        ) from None
    except (TimeoutError, DatabaseError) as error:
        log.error("a credential could not be checked: %r", error)
        live.registry.database_failed(error)
        raise DatabaseUnavailable from None
    if not principal.may_open(user_id):
        raise unauthorized(f"This credential is not for streams of {user_id}.")
    return principal


async def _count(address: str | None, principal: Principal | None) -> None:
    """Count a connection; ClosingError if there were as many in this minute as there may be."""
    charges = holder_limits.connection_charges(address, principal)
    if not charges:
        return
    loop = asyncio.get_running_loop()
    refusal = await loop.run_in_executor(_threads, holder_limits.spend, charges)
    if refusal is None:
        return
    charge = refusal.charge
    kind = holder_limits.kind_of(charge.holder)
    raise ClosingError(
        "RATE_LIMIT_EXCEEDED",
        f"This {kind} may open {charge.amount} connections a minute; try again in "
        f"{math.ceil(refusal.wait_s)} s.",
        close_code=CloseCode.CAPACITY,
        reason=f"connections_per_{kind}",
        retry_after_ms=math.ceil(refusal.wait_s * 1_000),
    )


def _address_of(scope: Mapping[str, Any]) -> str | None:
    """Return the client's address; None: not known."""
    client = scope.get("client")
    return str(client[0]) if client else None
