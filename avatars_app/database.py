"""Whether this process can use its database, and the one line in the log that says so."""

import logging
import threading
import time

log = logging.getLogger(__name__)


class Availability:
    """What those who use the database regularly saw of it. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._without: set[object] = set()
        """Those who could not use it the last time that they tried."""
        self._began_s = 0.0

    def lost(self, user: object, error: Exception) -> None:
        """``user`` could not use the database, and will try again."""
        with self._lock:
            is_news = not self._without
            self._without.add(user)
            if is_news:
                self._began_s = time.monotonic()
        if is_news:
            said = " ".join(str(error).split()) or repr(error)
            log.error("the database cannot be reached; trying again until it is back: %s", said)

    def found(self, user: object) -> None:
        """``user`` could use the database."""
        with self._lock:
            is_news = self._without == {user}
            self._without.discard(user)
        if is_news:
            log.warning("the database is back after %.1f s", time.monotonic() - self._began_s)

    def forget(self, user: object) -> None:
        """``user`` tries no more: what it last saw no longer counts."""
        with self._lock:
            self._without.discard(user)


availability = Availability()
"""Of this process."""
