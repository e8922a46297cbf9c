"""The engine of a runtime: opened where it was chosen to run, and closed at the end."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path

from inference.core_turns import CoreTurns
from inference.engines.access import EngineAccess
from inference.engines.base import Engine
from inference.engines.engine_selection import EngineChoice, viseme
from inference.engines.in_process import InProcessEngine
from inference.engines.process.client import EngineProcessClient
from inference.engines.process.group import EngineGroup
from inference.engines.process.launcher import Command, EngineLauncher
from inference.errors import EngineStopped, EngineUnavailable

log = logging.getLogger(__name__)

MakePool = Callable[[int, str], Executor]
"""A pool of so many threads, with names that begin so."""


class RuntimeEngine:
    """Opened once, and closed once, also while it is being opened."""

    def __init__(
        self,
        *,
        make_pool: MakePool,
        media_pool: Executor,
        now_s: Callable[[], float],
        cores: int,
        turns: CoreTurns,
        version: str,
        commands: Sequence[Command],
        addresses: Sequence[Path] = (),
        has_emphasis: bool = True,
    ) -> None:
        """Prepare to open.

        Args:
            make_pool: Makes the pool that an engine of this process runs in.
            media_pool: Where pictures are decoded and avatars are opened.
            now_s: The clock.
            cores: How many cores an engine of the CPU may keep busy.
            turns: On them.
            version: Of this software.
            commands: The command lines of engine processes, one for each device.
            addresses: Of engine processes that were started elsewhere; none: they are started
                here.
            has_emphasis: As for `choose_engine`.
        """
        self._make_pool = make_pool
        self._media_pool = media_pool
        self._now_s = now_s
        self._cores = cores
        self._turns = turns
        self._version = version
        self._commands = commands
        self._addresses = tuple(addresses)
        self._has_emphasis = has_emphasis
        self._opening: asyncio.Task[EngineAccess] | None = None
        self._launchers: list[EngineLauncher] = []
        self._client: EngineProcessClient | EngineGroup | None = None
        self.local: Engine | None = None
        """The engine itself, if it runs in this process."""

    async def open(self, choice: EngineChoice, *, is_required: bool) -> EngineAccess:
        """Load the engine.

        Args:
            choice: Which.
            is_required: There is no substitute if it cannot run here.

        Raises:
            EngineUnavailable: It cannot run here.
            EngineStopped: It was closed before it was open.
        """
        self._opening = asyncio.get_running_loop().create_task(
            self._open(choice, is_required=is_required)
        )
        try:
            return await asyncio.shield(self._opening)
        except asyncio.CancelledError:
            if self._opening.cancelled():
                raise EngineStopped("the engine was closed while it loaded") from None
            raise

    async def _open(self, choice: EngineChoice, *, is_required: bool) -> EngineAccess:
        if choice.engine is not None:
            log.info("engine: %s, %s", choice.engine.name, choice.reason)
            return await self._open_here(choice.engine)
        log.info("engine: musetalk, %s", choice.reason)
        try:
            return await self._open_process()
        except EngineUnavailable as error:
            await self._close_process()
            if is_required:
                raise
            substitute = viseme(f"because {error}", self._cores, has_emphasis=self._has_emphasis)
            return await self._open(substitute, is_required=True)

    async def _open_here(self, engine: Engine) -> EngineAccess:
        self.local = engine
        pool = self._make_pool(engine.concurrency, "engine")
        await asyncio.get_running_loop().run_in_executor(pool, engine.load)
        return InProcessEngine(
            engine,
            pool=pool,
            avatar_pool=self._media_pool,
            now_s=self._now_s,
            turns=self._turns,
        )

    async def _open_process(self) -> EngineAccess:
        if not self._addresses:
            self._launchers = [EngineLauncher(command) for command in self._commands]
            for launcher in self._launchers:
                launcher.start()
        addresses = self._addresses or [launcher.address for launcher in self._launchers]
        clients = [
            EngineProcessClient(address, pool=self._media_pool, version=self._version)
            for address in addresses
        ]
        self._client = clients[0] if len(clients) == 1 else EngineGroup(clients)
        await self._client.connect()
        return self._client

    async def close(self) -> None:
        """End the engine."""
        if self.local is not None:
            await asyncio.to_thread(self.local.close)
        if self._opening is not None and not self._opening.done():
            self._opening.cancel()
            with contextlib.suppress(asyncio.CancelledError, EngineUnavailable, EngineStopped):
                await self._opening
        await self._close_process()

    async def _close_process(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None
        await asyncio.gather(*(launcher.stop() for launcher in self._launchers))
        self._launchers = []
