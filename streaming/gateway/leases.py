"""How many sessions a holder has at a time, and a session watchers, over all machines.

A *lease* says that a member is there: a session, which counts for its subject and its address, or a
watcher, which counts for its session. Where machines share a Redis server, leases are kept there
(`musetalk_site.redis.leases`); elsewhere nothing is counted here, because each machine knows its
own.
"""

from collections.abc import Mapping
from typing import Protocol


class Leases(Protocol):
    """Counts members of all machines. Lives on one event loop."""

    async def take(self, member: str, limits: Mapping[str, int]) -> str | None:
        """Count a member, which may be counted already, until it is given back.

        Args:
            member: Its name, the same on all machines.
            limits: Its holders, and how many members each may have.

        Returns:
            A holder that has as many others as it may have: then nothing is counted. None: the
            member is counted, or the server cannot be asked.
        """

    def give_back(self, member: str) -> None:
        """The member is no longer here; nothing happens if another process has it by now."""


class NoLeases:
    """Counts nothing: this machine is alone."""

    async def take(self, member: str, limits: Mapping[str, int]) -> str | None:
        return None

    def give_back(self, member: str) -> None:
        return None
