"""Leases in Redis: what holders have at a time, over the processes of all machines.

Each holder is a sorted set of its members by the moment at which their leases run out, on the clock
of the server, so that the clocks of the machines do not matter. A process renews what it has every
`RENEW_EVERY_S`; what a process had that died runs out after `LEASE_S`. Each member names the
process that took it last, and no other one renews it or gives it back: a session may have moved.

While the server cannot be reached nothing is refused, and what is taken then is counted when it is
back.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Mapping
from typing import Any

from redis import asyncio as aioredis
from redis.exceptions import RedisError

from musetalk_site.redis.availability import CALL_WITHIN_S, availability, probe, reason_of

LEASE_S = 30.0
RENEW_EVERY_S = 10.0
KEY_PREFIX = "musetalk-leases"

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function hold(holders)
  for i = 2, #holders do
    redis.call('ZADD', holders[i], now + ARGV[3], ARGV[2])
    redis.call('PEXPIRE', holders[i], ARGV[3])
  end
  redis.call('SET', holders[1], ARGV[1], 'PX', ARGV[3])
end
"""
_TAKE = f"""{_NOW}
for i = 2, #KEYS do
  redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now)
  local others = redis.call('ZCARD', KEYS[i])
  if redis.call('ZSCORE', KEYS[i], ARGV[2]) then others = others - 1 end
  if others >= tonumber(ARGV[i + 2]) then return i - 1 end
end
hold(KEYS)
return 0
"""
_RENEW = f"""{_NOW}
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
hold(KEYS)
return 1
"""
_GIVE_BACK = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
for i = 2, #KEYS do redis.call('ZREM', KEYS[i], ARGV[2]) end
redis.call('DEL', KEYS[1])
return 1
"""


class RedisLeases:
    """Implements `streaming.gateway.leases.Leases`."""

    def __init__(self, url: str) -> None:
        """Keep leases in the server at ``url``, which is called when the first one is taken."""
        self._client = aioredis.Redis.from_url(
            url, socket_timeout=CALL_WITHIN_S, socket_connect_timeout=CALL_WITHIN_S
        )
        self._take = self._client.register_script(_TAKE)
        self._renew = self._client.register_script(_RENEW)
        self._give_back = self._client.register_script(_GIVE_BACK)
        self._process = uuid.uuid4().hex
        self._held: dict[str, tuple[str, ...]] = {}
        """The holders of each member that this process took."""
        self._is_lost = False
        """The server could not be reached the last time."""
        self._renewal: asyncio.Task[None] | None = None
        self._giving: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Renew what is held, from now on."""
        self._renewal = asyncio.create_task(self._keep_renewing(), name="leases")

    async def stop(self) -> None:
        """Give back what is held, as far as that can be done soon, and renew no more."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)
        for member in list(self._held):
            self.give_back(member)
        if self._giving:
            await asyncio.wait(self._giving, timeout=CALL_WITHIN_S)
        with contextlib.suppress(RedisError, OSError):
            await self._client.aclose()
        availability.forget(self)

    async def take(self, member: str, limits: Mapping[str, int]) -> str | None:
        """As `Leases.take`; waits for the server for `CALL_WITHIN_S` at most."""
        if not limits:
            return None
        holders = tuple(limits)
        number = None
        if not self._is_lost:
            arguments = [*self._arguments(member), *limits.values()]
            number = await self._ask(self._take(self._keys(member, holders), arguments))
        if number:
            return holders[number - 1]
        self._held[member] = holders
        return None

    def give_back(self, member: str) -> None:
        """As `Leases.give_back`; it happens beside."""
        holders = self._held.pop(member, None)
        if holders is not None and not self._is_lost:
            giving = asyncio.create_task(self._tell_given_back(member, holders))
            self._giving.add(giving)
            giving.add_done_callback(self._giving.discard)

    async def _tell_given_back(self, member: str, holders: tuple[str, ...]) -> None:
        if member not in self._held:  # it was not taken again at once
            await self._ask(self._give_back(self._keys(member, holders), self._arguments(member)))

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            is_idle = not self._held  # then nothing else shows what the server takes
            if is_idle or self._is_lost:
                await self._ask(probe(self._client, KEY_PREFIX))
            for member, holders in list(self._held.items()):
                await self._renew_one(member, holders)

    async def _renew_one(self, member: str, holders: tuple[str, ...]) -> None:
        if self._held.get(member) is not holders or self._is_lost:
            return
        renewed = await self._ask(self._renew(self._keys(member, holders), self._arguments(member)))
        if renewed == 0 and self._held.get(member) is holders:
            del self._held[member]  # another process has it

    async def _ask(self, call: Any) -> int | None:
        """The server's answer; None if there is none."""
        try:
            async with asyncio.timeout(CALL_WITHIN_S):
                answer = int(await call)
        except (RedisError, OSError) as error:
            self._is_lost = True
            availability.lost(self, reason_of(error))
            return None
        self._is_lost = False
        availability.found(self)
        return answer

    def _keys(self, member: str, holders: tuple[str, ...]) -> list[str]:
        return [
            f"{KEY_PREFIX}:of:{member}",
            *(f"{KEY_PREFIX}:{holder}" for holder in holders),
        ]

    def _arguments(self, member: str) -> list[str | int]:
        return [self._process, member, int(LEASE_S * 1_000)]
