"""A worker in a process of its own, which is started again when it ends too soon."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable

from livekit_talking_avatar.__main__ import environment
from livekit_talking_avatar.worker import Connection

END_WITHIN_S = 5.0
FIRST_RETRY_S, MAX_RETRY_S = 0.5, 8.0
STEADY_S = 30.0
"""A worker that ran so long had begun well: the pauses start over."""

logger = logging.getLogger(__name__)


class WorkerProcess:
    """Keeps a worker running as long as it is wanted."""

    def __init__(self, connection: Connection, *, is_wanted: Callable[[], bool]) -> None:
        """Start it; in an event loop.

        Args:
            connection: Where it goes.
            is_wanted: Whether another one may start; a worker leaves with its agent, who may
                have left for a moment only.
        """
        self._connection = connection
        self._is_wanted = is_wanted
        self.process: asyncio.subprocess.Process | None = None
        """The one that runs now."""
        self._keeping = asyncio.create_task(self._keep())

    async def aclose(self) -> None:
        """End it."""
        self._keeping.cancel()
        await asyncio.gather(self._keeping, return_exceptions=True)

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        pause_s = FIRST_RETRY_S
        while True:
            began_s = loop.time()
            code = await self._run()
            if not self._is_wanted():
                return
            if loop.time() - began_s > STEADY_S:
                pause_s = FIRST_RETRY_S
            logger.warning("worker ended with %s; another starts in %g s", code, pause_s)
            await asyncio.sleep(pause_s)
            if not self._is_wanted():
                return
            pause_s = min(2 * pause_s, MAX_RETRY_S)

    async def _run(self) -> int:
        """Run a worker; returns its exit status."""
        self.process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "livekit_talking_avatar"),
            env={**os.environ, **environment(self._connection)},
        )
        try:
            return await process.wait()
        finally:
            if process.returncode is None:
                await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    process.terminate()
    try:
        async with asyncio.timeout(END_WITHIN_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
