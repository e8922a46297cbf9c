"""Events between the task that reads the socket and the program that takes them.

A program that takes no events costs no memory, and one that is too slow loses the oldest frames, up
to the next keyframe: what it gets always decodes.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from talking_avatar.events import Event, Frame

MAX_EVENTS = 250
"""Ten seconds of frames."""
MAX_OTHERS = 1_000
"""Of what is no frame, the latest: a program may have stopped taking them."""


class EventQueue:
    """The events of one session, in order."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=MAX_OTHERS)
        self._changed = asyncio.Event()
        self._is_observed = False
        self._is_ended = False
        self._skips_to_keyframe = False

    def publish(self, event: Event) -> None:
        """Append an event, unless nothing takes it."""
        if not self._is_observed:
            # The first frame that is read is a keyframe, at most a second old.
            if isinstance(event, Frame) and event.is_keyframe:
                self._events.clear()
            elif not self._events:
                return
        elif isinstance(event, Frame):
            if len(self._events) >= MAX_EVENTS:
                self._skips_to_keyframe = True
                others = (e for e in self._events if not isinstance(e, Frame))
                self._events = deque(others, maxlen=MAX_OTHERS)
            if self._skips_to_keyframe and not event.is_keyframe:
                return
            self._skips_to_keyframe = False
        self._events.append(event)
        self._changed.set()

    def end(self, last: Event) -> None:
        """Publish the last event."""
        self._events.append(last)
        self._is_ended = True
        self._changed.set()

    async def events(self) -> AsyncIterator[Event]:
        """Every event from now on, up to the last."""
        self._is_observed = True
        while True:
            while self._events:
                yield self._events.popleft()
            if self._is_ended:
                return
            self._changed.clear()
            await self._changed.wait()
