"""What holders did, counted in Redis for the processes of all machines."""

import logging
from collections.abc import Sequence

from limits.storage import RedisStorage
from redis import ConnectionPool, RedisError

from avatars_app.access.rates import Charge, RateCounter, Refusal
from musetalk_site.redis.availability import CALL_WITHIN_S, availability, reason_of

log = logging.getLogger(__name__)

KEY_PREFIX = "musetalk-limits"


class RedisRates:
    """Counts in a Redis server; while that cannot be reached, nothing is counted."""

    def __init__(self, url: str) -> None:
        """Count in the server at ``url``; it is called when something is counted first."""
        self._url = url
        self._counter: RateCounter | None = None

    def spend(self, charges: Sequence[Charge]) -> Refusal | None:
        """As `RateCounter.spend`; waits for the server."""
        try:
            if self._counter is None:
                self._counter = RateCounter(self._storage())
            refusal = self._counter.spend(charges)
        except RedisError as error:
            availability.lost(self, reason_of(error))
            return None
        availability.found(self)
        return refusal

    def _storage(self) -> RedisStorage:
        pool = ConnectionPool.from_url(
            self._url, socket_timeout=CALL_WITHIN_S, socket_connect_timeout=CALL_WITHIN_S
        )
        return RedisStorage(self._url, connection_pool=pool, key_prefix=KEY_PREFIX)
