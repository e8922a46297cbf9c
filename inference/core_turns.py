"""Work on frames takes turns: as many at once as there are cores, what is urgent first.

A frame whose mouth is late is encoded by another thread than the one that still makes mouths. On a
core for each they would not meet; where all cores are busy the system shares them out in slices, so
that both take twice as long, and what was late gets later still. So a thread waits for a turn, and
when one ends it is given to a picture that must be sent, before a mouth.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

MOST_WAIT_S = 0.02
"""What is urgent waits no longer: another turn may last for as long as a disk does not answer."""


class CoreTurns:
    """The turns of a process. Any thread may take one."""

    def __init__(self, cores: int) -> None:
        """Start with all turns free.

        Args:
            cores: How many there are.
        """
        self._lock = Lock()
        """Held for what follows."""
        self._free = cores
        """Below zero while urgent work did not wait for its turn."""
        self._urgent: deque[Lock] = deque()
        self._others: deque[Lock] = deque()
        """Threads that wait, each for its own lock to be released."""

    @contextmanager
    def turn(self, *, is_urgent: bool = False) -> Iterator[None]:
        """Wait for a turn; it ends with the ``with``.

        Args:
            is_urgent: It goes before those that are not, and after `MOST_WAIT_S` without a turn.
        """
        if is_urgent:
            self._wait(self._urgent, MOST_WAIT_S)
        else:
            self._wait(self._others, -1)
        try:
            yield
        finally:
            self._pass_on()

    def _wait(self, waiting: deque[Lock], timeout_s: float) -> None:
        """Wait in a queue; ``timeout_s``: for no longer, -1 for ever."""
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return
            is_mine = Lock()
            is_mine.acquire()
            waiting.append(is_mine)
        if is_mine.acquire(timeout=timeout_s):
            return
        with self._lock:
            if is_mine in waiting:  # else it was given the turn just now
                waiting.remove(is_mine)
                self._free -= 1

    def _pass_on(self) -> None:
        """End a turn, and give it to who waits, if there is one to give."""
        with self._lock:
            self._free += 1
            waiting = self._urgent or self._others
            if self._free > 0 and waiting:
                self._free -= 1
                waiting.popleft().release()
