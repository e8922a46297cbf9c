"""Whether this process can reach its Redis server."""

import logging
from collections.abc import Iterator
from typing import Any

from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError

from inference.reachability import Reachability

log = logging.getLogger(__name__)

CALL_WITHIN_S = 2.0
"""How long the server may take to answer one call of a layer."""


class LayerUnavailable(ConnectionError):
    """The Redis server cannot be reached. The layer reconnects by itself; try again later."""


class Availability(Reachability):
    """What the layers of this process and their connections saw of their server."""

    def __init__(self) -> None:
        super().__init__(
            log,
            lost="Redis cannot be reached (%s); trying again until it is back",
            back="Redis is back after %.1f s",
        )
        self.losses = 0
        """How many connections were lost so far; one from before a loss had better be replaced."""

    def lost(self, user: object, reason: str | Exception) -> None:
        """``user``, a layer or one of its connections, cannot reach the server."""
        self.losses += 1
        super().lost(user, reason)


availability = Availability()
"""Of this process."""


def reason_of(error: BaseException) -> str:
    """Return what an exception of the client library says, for people."""
    if isinstance(error, TimeoutError) and not str(error):
        return f"no answer within {CALL_WITHIN_S:g} s"
    return str(error).rstrip(".") or type(error).__name__


def takes_no_writes(error: BaseException) -> bool:
    """Whether it says that the server keeps nothing: memory or disk is full, or it is a replica."""
    if isinstance(error, OutOfMemoryError | ReadOnlyError):
        return True
    return isinstance(error, ResponseError) and str(error).startswith("MISCONF")


def probe(client: Any, prefix: str) -> Any:
    """Ask a server for what a ping does not: one that is full, or a replica, keeps nothing.

    Args:
        client: Of the client library.
        prefix: Of the caller's keys.

    Returns:
        What is to be awaited; it raises if the server cannot be reached, or takes no writes.
    """
    return client.set(f"{prefix}:probe", "", px=1_000)


def pauses() -> Iterator[float]:
    """How long to wait before each attempt to reconnect."""
    yield from (0.1, 0.25, 0.5)
    while True:
        yield 1.0
