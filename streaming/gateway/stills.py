"""What a live session shows now, for staff: its next frame that can be decoded by itself.

Nothing is decoded here, and nothing is kept: the next IDR is taken on its way to the client, within
a second or so.
"""

import asyncio

from asgiref.sync import async_to_sync

from streaming.gateway.registry import Registry
from streaming.gateway.takeover import key_of

WITHIN_S = 1.6
"""IDRs come at least once a second; another process waits 2 s for the answer."""


async def next_idr(registry: Registry, key: str) -> bytes | None:
    """Return the next IDR access unit of a session of this process.

    Args:
        registry: Of this process.
        key: The session's, `takeover.key_of` its id.

    Returns:
        None: it is not here, or shows nothing now.
    """
    connection = registry.connection_of(key)
    if connection is None:
        return None
    taken: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def take(access_unit: bytes) -> None:
        if not taken.done():
            taken.set_result(access_unit)

    connection.session.audience.take_next_idr(take)
    try:
        return await asyncio.wait_for(taken, WITHIN_S)
    except TimeoutError:
        return None


def next_idr_anywhere(registry: Registry, session_id: str) -> bytes | None:
    """Return the next IDR of a session of this machine; waits, in a thread of a request."""
    key = key_of(session_id)
    if registry.connection_of(key) is None:
        return None if registry.peers is None else registry.peers.still(key)
    found: bytes | None = async_to_sync(next_idr)(registry, key)
    return found
