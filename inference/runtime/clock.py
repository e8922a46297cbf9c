"""The clock as an argument: the host takes whichever it is given, so tests can hold it."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """A monotonic clock that can be waited on."""

    def now_s(self) -> float:
        """Seconds since some fixed moment."""

    async def wait(self, wake: asyncio.Event, until_s: float | None) -> None:
        """Return once ``wake`` is set or ``until_s`` has come; None waits for ``wake`` alone."""


class MonotonicClock:
    """The machine's clock."""

    def now_s(self) -> float:
        return time.monotonic()

    async def wait(self, wake: asyncio.Event, until_s: float | None) -> None:
        if until_s is None:
            await wake.wait()
            return
        # A timer that sets the event is much cheaper than `wait_for`, which makes a task each time.
        timer = asyncio.get_running_loop().call_later(until_s - self.now_s(), wake.set)
        try:
            await wake.wait()
        finally:
            timer.cancel()
