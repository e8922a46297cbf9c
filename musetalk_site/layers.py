"""The two channel layers: ``default`` for claims, ``media`` for sound and pictures.

A claim is read by one worker, and kept until one reads it, but not for long: a claimant waits
seconds at most. Sound and pictures travel on private channels, fast, and are kept nowhere.
"""

from typing import Any

CLAIM_EXPIRY_S = 5
IN_MEMORY_CAPACITY = 100_000
"""Messages a channel may hold; the stock 100 would lose most of a sentence that is sent at once."""


def layers_in_process() -> dict[str, dict[str, Any]]:
    """Everything in one process, and nothing outlives it."""
    backend = "channels.layers.InMemoryChannelLayer"
    capacity = {"capacity": IN_MEMORY_CAPACITY}
    return {
        "default": {"BACKEND": backend, "CONFIG": {**capacity, "expiry": CLAIM_EXPIRY_S}},
        "media": {"BACKEND": backend, "CONFIG": capacity},
    }


def layers_over_redis(url: str) -> dict[str, dict[str, Any]]:
    """Between processes, by the Redis server at ``url``."""
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    from musetalk_site.redis.availability import CALL_WITHIN_S

    # The layers have deadlines of their own and reconnect by themselves; the client library's would
    # drop a reader that has waited for five seconds, and hide from the layer what was lost.
    hosts = [
        {
            "address": url,
            "socket_timeout": None,
            "socket_connect_timeout": CALL_WITHIN_S,
            "retry": Retry(NoBackoff(), 0),
        }
    ]
    return {
        "default": {
            "BACKEND": "musetalk_site.redis.layers.RedisClaimLayer",
            "CONFIG": {"hosts": hosts, "prefix": "musetalk-claims", "expiry": CLAIM_EXPIRY_S},
        },
        "media": {
            "BACKEND": "musetalk_site.redis.layers.RedisMediaLayer",
            "CONFIG": {"hosts": hosts, "prefix": "musetalk-media"},
        },
    }
