"""Whether this process can reach its Redis server, and the one line in the log that says so."""

import logging
import time
from collections.abc import Iterator

log = logging.getLogger(__name__)

CALL_WITHIN_S = 2.0
"""How long the server may take to answer one call of a layer."""


class LayerUnavailable(ConnectionError):
    """The Redis server cannot be reached. The layer reconnects by itself; try again later."""


class Availability:
    """Whether the layers of this process can reach their server."""

    def __init__(self) -> None:
        self.losses = 0
        """How many connections were lost so far; one from before a loss had better be replaced."""
        self._reasons: dict[int, str] = {}
        self._began_s = 0.0

    @property
    def outage(self) -> str:
        """Why the server cannot be reached; empty while it can. Can be read from any thread."""
        return next(iter(list(self._reasons.values())), "")

    def lost(self, user: object, reason: str) -> None:
        """``user``, a layer or one of its connections, cannot reach the server."""
        self.losses += 1
        if not self._reasons:
            self._began_s = time.monotonic()
            log.error("Redis cannot be reached (%s); trying again until it is back", reason)
        self._reasons[id(user)] = reason

    def found(self, user: object) -> None:
        """``user`` has reached the server."""
        if self._reasons.pop(id(user), None) is not None and not self._reasons:
            log.warning("Redis is back after %.1f s", time.monotonic() - self._began_s)

    def forget(self, user: object) -> None:
        """``user`` is closed: what it last saw no longer counts."""
        self._reasons.pop(id(user), None)


availability = Availability()
"""Of this process."""


def reason_of(error: BaseException) -> str:
    """Return what an exception of the client library says, for people."""
    if isinstance(error, TimeoutError) and not str(error):
        return f"no answer within {CALL_WITHIN_S:g} s"
    return str(error) or type(error).__name__


def pauses() -> Iterator[float]:
    """How long to wait before each attempt to reconnect."""
    yield from (0.1, 0.25, 0.5)
    while True:
        yield 1.0
