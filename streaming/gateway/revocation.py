"""The end of sessions whose key or account is withdrawn."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from channels.db import database_sync_to_async
from django.conf import settings
from django.db import DatabaseError

from avatars_app.access.authentication import withdrawn
from avatars_app.access.principal import Source
from avatars_app.database import availability
from streaming.gateway.registry import Connection, Registry

log = logging.getLogger(__name__)

CHECK_EVERY_S = 2.0

_threads = ThreadPoolExecutor(1, thread_name_prefix="revocations")


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
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            live = [(source, c) for c in self._registry if (source := _source_of(c)) is not None]
            if not live:
                availability.forget(self)
                continue
            try:
                gone = await ask({source for source, _ in live})
            except DatabaseError as error:
                availability.lost(self, error)
                continue
            except Exception:
                log.exception("revocations: looking again in %.0f s", CHECK_EVERY_S)
                continue
            availability.found(self)
            for source, connection in live:
                if source in gone:
                    connection.revoke()


def _source_of(connection: Connection) -> Source | None:
    return None if connection.principal is None else connection.principal.source
