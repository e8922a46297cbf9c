"""What is to happen when, and the one loop that waits for it.

Deadlines are absolute moments: the loop never sleeps for "a period", so lateness does not add up.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable

from inference.runtime.clock import Clock

Event = Callable[[float], None]
"""Called with the moment at which it happens, which may be later than it was wanted."""


class DeadlineQueue:
    """Events in the order of their moments; those of one moment in the order in which they came."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._events: list[tuple[float, int, Event]] = []
        self._order = itertools.count()
        self._wake = asyncio.Event()

    def at(self, when_s: float, event: Event) -> None:
        """Let ``event`` happen at ``when_s``; at once if that has passed."""
        heapq.heappush(self._events, (when_s, next(self._order), event))
        if self._events[0][0] == when_s:
            self._wake.set()

    async def run(self) -> None:
        """Keep time, until cancelled. An event that raises ends it."""
        while True:
            self._wake.clear()
            now_s = self._clock.now_s()
            while self._events and self._events[0][0] <= now_s:
                _, _, event = heapq.heappop(self._events)
                event(now_s)
                now_s = self._clock.now_s()
            await self._clock.wait(self._wake, self._events[0][0] if self._events else None)
