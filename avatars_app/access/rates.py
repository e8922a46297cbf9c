"""How often holders did something, counted in fixed windows. No settings, no sockets of its own.

A holder is a subject or an address. One counter serves all processes of a machine: it is the
process's own where there is only one, the supervisor's where there are more, and Redis where there
are several machines.
"""

import functools
import threading
import time
from collections.abc import Sequence

import msgspec
from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage, Storage
from limits.strategies import FixedWindowRateLimiter


class Charge(msgspec.Struct, frozen=True):
    """One use of something that a holder may use so often."""

    what: str
    """What is counted, as in ``connections``."""
    holder: str
    """Whose use it is, as in ``subject:ann`` or ``address:192.0.2.7``."""
    amount: int
    """So many are allowed ..."""
    per_s: int
    """... in a window of so many seconds."""


class Refusal(msgspec.Struct, frozen=True):
    """A use that is one too many."""

    charge: Charge
    wait_s: float
    """When it is allowed again, in seconds from now."""


class RateCounter:
    """Counts uses; can be called from any thread."""

    def __init__(self, storage: Storage | None = None) -> None:
        """Count in ``storage``; None: in this process."""
        self._storage = storage
        self._lock = threading.Lock()

    @functools.cached_property
    def _limiter(self) -> FixedWindowRateLimiter:
        return FixedWindowRateLimiter(self._storage or MemoryStorage())

    def spend(self, charges: Sequence[Charge]) -> Refusal | None:
        """Count each charge; what comes after one that is refused is not counted.

        Args:
            charges: All for one thing that a client wants to do.

        Returns:
            The charge that is refused; None if it may be done.
        """
        with self._lock:
            limiter = self._limiter
        for charge in charges:
            item = RateLimitItemPerSecond(charge.amount, charge.per_s)
            if not limiter.hit(item, charge.what, charge.holder):
                reset = limiter.get_window_stats(item, charge.what, charge.holder).reset_time
                now = time.time()  # noqa: TID251 - the library's clock
                return Refusal(charge, max(reset - now, 0.0))
        return None
