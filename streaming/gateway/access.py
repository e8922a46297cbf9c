"""Who opens a stream, where AUTH is on, and the end of sessions whose credential is withdrawn.

A credential comes in INIT, in the header Authorization, or as a subprotocol ``bearer.TOKEN`` (pages
can set no headers). Cookies never authenticate a stream: a page of elsewhere could use them.
"""

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings
from django.db import DatabaseError

from avatars_app.access.authentication import principal_of, withdrawn
from avatars_app.access.principal import AccessDenied, Principal, Source
from streaming.gateway.registry import Connection, Registry
from streaming.protocol.errors import CloseCode, ClosingError

log = logging.getLogger(__name__)

CHECK_EVERY_S = 2.0
WITHIN_S = 10.0
SUBPROTOCOL_MARK = "bearer."
RETRY_AFTER_MS = 5_000

_threads = ThreadPoolExecutor(4, thread_name_prefix="access")


def credential_of(scope: Mapping[str, Any]) -> str | None:
    """The credential that a connection brought with its request; None: none."""
    for name, value in scope.get("headers", ()):
        kind, _, credential = value.decode("latin1").partition(" ")
        if name == b"authorization" and kind.lower() == "bearer":
            return str(credential).strip()
    for subprotocol in scope.get("subprotocols") or ():
        if subprotocol.startswith(SUBPROTOCOL_MARK):
            return str(subprotocol).removeprefix(SUBPROTOCOL_MARK)
    return None


def unauthorized(message: str) -> ClosingError:
    """Ends a stream that is not authorized."""
    return ClosingError("UNAUTHORIZED", message, close_code=CloseCode.UNAUTHORIZED)


async def authenticate(credential: str | None, user_id: str) -> Principal:
    """Who opens a stream of this user's avatar.

    Raises:
        ClosingError: Nobody who may.
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
    except (TimeoutError, DatabaseError) as error:
        log.error("a credential could not be checked: %r", error)
        raise unauthorized("The credential cannot be checked now; try again soon.") from None
    if not principal.may_open(user_id):
        raise unauthorized(f"This credential is not for streams of {user_id}.")
    return principal


def check_sessions(registry: Registry, principal: Principal, newest: object) -> None:
    """Raise ClosingError if a subject has as many sessions as one may have.

    Args:
        registry: The sessions of this process; others are not counted.
        principal: Who opens another one.
        newest: The connection that does.
    """
    limit = settings.MAX_SESSIONS_PER_SUBJECT
    if not limit:
        return
    held = sum(
        connection is not newest and _subject_of(connection) == principal.subject
        for connection in registry
    )
    if held >= limit:
        raise ClosingError(
            "RATE_LIMIT_EXCEEDED",
            f"{principal.subject} has {held} sessions, and may have {limit}; end one, then try "
            f"again.",
            close_code=CloseCode.CAPACITY,
            reason="sessions_per_subject",
            retry_after_ms=RETRY_AFTER_MS,
        )


def _subject_of(connection: Connection) -> str | None:
    return None if connection.principal is None else connection.principal.subject


class RevocationWatch:
    """Ends the sessions of this process whose key or account was withdrawn."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look every `CHECK_EVERY_S`, if AUTH is on."""
        if settings.AUTH:
            self._task = asyncio.create_task(self._run(), name="revocations")

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        ask = database_sync_to_async(withdrawn, thread_sensitive=False, executor=_threads)
        is_out = False
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            live = [(source, c) for c in self._registry if (source := _source_of(c)) is not None]
            if not live:
                continue
            try:
                gone = await ask({source for source, _ in live})
            except DatabaseError as error:
                if not is_out:
                    log.warning("revocations cannot be looked up now: %s", error)
                is_out = True
                continue
            if is_out:
                log.warning("revocations can be looked up again")
            is_out = False
            for source, connection in live:
                if source in gone:
                    connection.revoke()


def _source_of(connection: Connection) -> Source | None:
    return None if connection.principal is None else connection.principal.source
