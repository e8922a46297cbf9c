"""Whether this process can reach something, and the one line in the log that says so."""

import logging
import threading
import time


class Reachability:
    """What those who use a server regularly saw of it. For any thread."""

    def __init__(self, log: logging.Logger, *, lost: str, back: str) -> None:
        """Begin with a server that can be reached.

        Args:
            log: Where both lines go.
            lost: The line when an outage begins, with ``%s`` for the reason.
            back: The line when it ends, with ``%.1f`` for the seconds that it took.
        """
        self._log = log
        self._lost_line, self._back_line = lost, back
        self._lock = threading.Lock()
        self._reasons: dict[int, str] = {}
        """Of those who could not reach it the last time that they tried, by their `id`."""
        self._began_s = 0.0

    @property
    def outage(self) -> str:
        """Why it cannot be reached; empty while it can."""
        with self._lock:
            return next(iter(self._reasons.values()), "")

    def lost(self, user: object, reason: str | Exception) -> None:
        """``user`` cannot reach it, and will try again."""
        said = in_one_line(reason)
        with self._lock:
            is_news = not self._reasons
            self._reasons[id(user)] = said
            if is_news:
                self._began_s = time.monotonic()
        if is_news:
            self._log.error(self._lost_line, said)

    def found(self, user: object) -> None:
        """``user`` has reached it."""
        with self._lock:
            is_news = self._reasons.pop(id(user), None) is not None and not self._reasons
        if is_news:
            self._log.warning(self._back_line, time.monotonic() - self._began_s)

    def forget(self, user: object) -> None:
        """``user`` tries no more: what it last saw no longer counts."""
        with self._lock:
            self._reasons.pop(id(user), None)


def in_one_line(reason: str | Exception) -> str:
    """Return what an exception says, or its name if it says nothing."""
    return " ".join(str(reason).split()) or repr(reason)
