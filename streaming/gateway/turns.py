"""Large messages are worked on one at a time, so that the event loop is never held up by many.

A second of speech takes about a millisecond to parse and convert. When many connections send one at
the same moment, they are all ready in one pass of the event loop, and everything else, frames that
are due included, would wait for all of them. With a lock each pass works on one.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

LARGE_BYTES = 16 * 1024
"""Smaller messages are worked on at once."""

_locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


@asynccontextmanager
async def turn(size_bytes: int) -> AsyncIterator[None]:
    """Enter this to work on a client's message of so many bytes."""
    if size_bytes < LARGE_BYTES:
        yield
        return
    loop = asyncio.get_running_loop()
    lock = _locks.setdefault(loop, asyncio.Lock())
    await lock.acquire()
    try:
        yield
    finally:
        loop.call_soon(lock.release)  # not before the next pass
