"""Notices a connection that died without a word, as where a network goes away.

TCP notices that after many minutes, or never if nothing is sent. A server that lives sends 25
frames a second, and answers pings where it has none to send.
"""

import asyncio
import contextlib

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

TURNS = 8
"""How often in the time that is given a message is looked for."""


class Liveness:
    """Ends one connection if nothing comes any more."""

    def __init__(self, socket: ClientConnection, silence_s: float) -> None:
        """Prepare.

        Args:
            socket: The connection.
            silence_s: For so long neither a message nor a pong may be missing.
        """
        self._socket = socket
        self._turn_s = silence_s / TURNS
        # Counted in turns of the loop: a program that stood still missed nothing.
        self._silent_turns = 0

    def heard(self) -> None:
        """Something came."""
        self._silent_turns = 0

    async def watch(self) -> None:
        """Abort the connection when it has been silent for too long."""
        while self._silent_turns < TURNS:
            if self._silent_turns == 1:
                await self._ping()
            await asyncio.sleep(self._turn_s)
            self._silent_turns += 1
        self._socket.transport.abort()

    async def _ping(self) -> None:
        with contextlib.suppress(TimeoutError, ConnectionClosed):
            # What waits to be sent may be stuck.
            async with asyncio.timeout(self._turn_s):
                pong = asyncio.ensure_future(await self._socket.ping())
                pong.add_done_callback(self._take_pong)

    def _take_pong(self, pong: "asyncio.Future[float]") -> None:
        if not pong.cancelled() and pong.exception() is None:
            self.heard()
