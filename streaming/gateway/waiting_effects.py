"""Effects that wait for a channel layer: of what a later one replaces, only the later.

Behind a layer that is slow, or answers nothing, they would otherwise gather without end. What is
kept is one of each kind: a flush sends all speech there is when its turn comes, only the newest
claim counts, and of a session's base clip, its listening and its signs of life the last one. So
nothing that a worker must know is left out, and no limit is needed at which something would be.
"""

import asyncio
from collections import deque

from inference.messages import ClipChange, ListeningChange, SessionAlive
from streaming.session.effects import FlushSpeech, OpenSession, SendClaim, SendToWorker

LayerEffect = FlushSpeech | SendToWorker | SendClaim | OpenSession

LATEST_COUNTS = (ClipChange, ListeningChange, SessionAlive)


class WaitingEffects:
    """A queue with one reader, on one event loop."""

    def __init__(self) -> None:
        self._effects: deque[LayerEffect] = deque()
        self._has_changed = asyncio.Event()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._effects)

    def put(self, effect: LayerEffect) -> None:
        """Add an effect, in the place of one that it replaces."""
        for index, waiting in enumerate(self._effects):
            if _replaces(effect, waiting):
                self._effects[index] = effect
                return
        self._effects.append(effect)
        self._has_changed.set()

    def close(self) -> None:
        """Nothing is added any more; what waits can be taken."""
        self._is_closed = True
        self._has_changed.set()

    async def take(self) -> LayerEffect | None:
        """Wait for the oldest; None: there is none, and none will come."""
        while not self._effects:
            if self._is_closed:
                return None
            self._has_changed.clear()
            await self._has_changed.wait()
        return self._effects.popleft()


def _replaces(effect: LayerEffect, waiting: LayerEffect) -> bool:
    """Whether nothing is missed if ``effect`` is carried out in the place of one that waits."""
    match effect, waiting:
        case FlushSpeech(), FlushSpeech():
            return effect == waiting
        case SendClaim(), SendClaim():
            return True
        case SendToWorker(channel, message), SendToWorker(other_channel, other):
            is_same_worker = (channel, message.claim_id) == (other_channel, other.claim_id)
            return (
                is_same_worker
                and type(message) is type(other)
                and isinstance(message, LATEST_COUNTS)
            )
        case _:
            return False
