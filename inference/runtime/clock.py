"""The clock as an argument: the host takes whichever it is given, so tests can hold it."""

import asyncio
import time
from collections.abc import Callable
from contextvars import Context
from typing import Protocol


class Timer(Protocol):
    """A call that will be made."""

    def cancel(self) -> None:
        """Forget it."""


class Clock(Protocol):
    """A monotonic clock with timers."""

    def now_s(self) -> float:
        """Seconds since some fixed moment."""

    def call_at(self, when_s: float, callback: Callable[[], None]) -> Timer:
        """Have ``callback`` called on the running event loop at a moment, at once if it passed."""


class MonotonicClock:
    """The machine's clock."""

    def now_s(self) -> float:
        return time.monotonic()

    def call_at(self, when_s: float, callback: Callable[[], None]) -> Timer:
        # What one session's work sets would otherwise log with that session's fields, for ever.
        return asyncio.get_running_loop().call_later(
            max(when_s - self.now_s(), 0.0), callback, context=Context()
        )
