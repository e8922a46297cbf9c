"""The event loop of the processes that serve: uvloop's where there is one, else asyncio's.

A stream is many small events: a timer, a thread's result, a few bytes on a socket. uvloop takes
each of them for a fraction of what asyncio's own loop does (docs/performance.md).
"""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new event loop, of the fastest kind that there is here."""
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """`asyncio.run` on such a loop."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(work)
