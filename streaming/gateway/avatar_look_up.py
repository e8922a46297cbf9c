"""Looks up which avatar a user has, beside the event loop and within a deadline."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from channels.db import database_sync_to_async
from django.db import DatabaseError

from avatars_app.selectors import AvatarRef, avatar_for
from streaming.gateway import registry as live
from streaming.protocol.errors import DatabaseUnavailable

log = logging.getLogger(__name__)

LOOK_UP_WITHIN_S = 10.0

# Threads of their own: the one that Django's code usually shares may be busy with a slow page.
_threads = ThreadPoolExecutor(4, thread_name_prefix="avatar-look-up")


async def look_up(user_id: str) -> AvatarRef:
    """Return the user's avatar.

    Args:
        user_id: As the stream's path names them.

    Raises:
        AvatarNotReady: There is none, or none yet.
        DatabaseUnavailable: The database failed, or did not answer within `LOOK_UP_WITHIN_S`.
    """
    ask = database_sync_to_async(avatar_for, thread_sensitive=False, executor=_threads)
    try:
        async with asyncio.timeout(LOOK_UP_WITHIN_S):
            return await ask(user_id)
    except (DatabaseError, TimeoutError) as error:
        log.error("the avatar of user %s could not be looked up: %r", user_id, error)
        live.registry.database_failed(error)
        raise DatabaseUnavailable from None
