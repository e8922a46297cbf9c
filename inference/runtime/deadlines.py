"""What is to happen when, and the one timer that waits for it.

Deadlines are absolute moments: nothing waits for "a period", so lateness does not add up.

Waking up costs as much as many an event, so there are as few turns as can be: what is due within
`EARLY_S` happens in the same one, and what other threads hand over waits for the next one, unless
that would be too late.
"""

import asyncio
import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from inference.runtime.clock import Clock, Timer

Event = Callable[[float], None]
"""Called with the moment at which it happens, which may be later than it was wanted."""

EARLY_S = 0.001
"""Timers of event loops are no finer: one that comes a little early would only be set again."""


class DeadlineQueue:
    """Events in the order of their moments; those of one moment in the order in which they came."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._events: list[tuple[float, int, Event]] = []
        self._order = itertools.count()
        self._handed_over: deque[tuple[float, Event]] = deque()
        """With the moment by which each is to happen."""
        self._loop: asyncio.AbstractEventLoop | None = None
        """Set while it runs, as what follows."""
        self._ended: asyncio.Future[None] | None = None
        self._timer: Timer | None = None
        self._timer_s = math.inf
        """When the timer begins the next turn."""
        self._is_in_turn = False

    def at(self, when_s: float, event: Event) -> None:
        """Let ``event`` happen at ``when_s``; at once if that has passed."""
        heapq.heappush(self._events, (when_s, next(self._order), event))
        if when_s < self._timer_s:
            self._set_timer()

    def hand_over(self, event: Event, *, by_s: float) -> None:
        """Let ``event`` happen on the loop; from any thread.

        Args:
            event: What is to happen, before all that is due.
            by_s: A moment for which something was put down with `at`: the event happens then at
                the latest, at once if that has passed.
        """
        self._handed_over.append((by_s, event))
        # Looked at after the event is there: a turn at ``by_s`` or later finds it.
        loop = self._loop
        if loop is not None and self._clock.now_s() >= by_s - EARLY_S:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._take_turn)

    async def run(self) -> None:
        """Keep time, until cancelled. An event that raises ends it."""
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        try:
            self._take_turn()
            await self._ended
        finally:
            self._loop = self._ended = None
            self._stop_timer()

    def _take_turn(self) -> None:
        """Let happen what is due, and set the timer for what is not."""
        if self._ended is None or self._ended.done() or self._is_in_turn:
            return
        self._is_in_turn = True
        self._stop_timer()
        try:
            self._let_happen()
        except Exception as error:  # noqa: BLE001 - `run` raises it
            self._ended.set_exception(error)
            return
        finally:
            self._is_in_turn = False
        self._set_timer()

    def _let_happen(self) -> None:
        while True:
            now_s = self._clock.now_s()
            if self._handed_over:
                by_s, event = self._handed_over.popleft()
                # What was due with it may have happened early already, and found it missing.
                event(max(now_s, by_s) if by_s <= now_s + EARLY_S else now_s)
            elif self._events and self._events[0][0] <= now_s + EARLY_S:
                when_s, _, event = heapq.heappop(self._events)
                event(max(now_s, when_s))
            else:
                return

    def _set_timer(self) -> None:
        if self._loop is None or self._is_in_turn or not self._events:
            return
        self._stop_timer()
        self._timer_s = self._events[0][0]
        self._timer = self._clock.call_at(self._timer_s, self._take_turn)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_s = None, math.inf
