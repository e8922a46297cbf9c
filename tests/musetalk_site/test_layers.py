"""The two channel layers, in one process and over a real Redis server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.layers import ChannelLayerManager

from musetalk_site.layers import layers_in_process, layers_over_redis

SENTENCE = [
    {"type": "audio.chunk", "pcm": bytes([n % 256]) * 1_280, "position": 640 * n}
    for n in range(400)
]


@pytest.fixture(params=["in one process", "over Redis"])
async def layers(request, settings) -> AsyncIterator[ChannelLayerManager]:
    if request.param == "over Redis":
        settings.CHANNEL_LAYERS = layers_over_redis(request.getfixturevalue("redis_url"))
    else:
        settings.CHANNEL_LAYERS = layers_in_process()
    made = ChannelLayerManager()
    yield made
    for alias in ("default", "media"):
        await made[alias].flush()


async def within(seconds: float, awaitable: Any) -> Any:
    return await asyncio.wait_for(awaitable, seconds)


async def test_a_sentence_sent_at_once_arrives_whole_and_in_order(layers) -> None:
    media = layers["media"]
    channel = await media.new_channel()
    for chunk in SENTENCE:
        await media.send(channel, chunk)
    assert [await within(5, media.receive(channel)) for _ in SENTENCE] == SENTENCE


async def test_a_claim_waits_for_a_worker_to_come(layers) -> None:
    await layers["default"].send("inference", {"type": "session.start", "claim_id": "1"})
    claim = await within(5, layers["default"].receive("inference"))
    assert claim["claim_id"] == "1"


async def test_workers_share_the_claims(layers) -> None:
    taken: set[str] = set()
    all_taken = asyncio.Event()

    async def work() -> None:
        while True:
            taken.add((await layers["default"].receive("inference"))["claim_id"])
            if len(taken) == 20:
                all_taken.set()

    workers = [asyncio.create_task(work()) for _ in range(2)]
    for n in range(20):
        await layers["default"].send("inference", {"type": "session.start", "claim_id": str(n)})
    # Both layers deliver at least once; that a claim can come twice is the claim protocol's affair.
    await within(5, all_taken.wait())
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


@pytest.mark.lasting
@pytest.mark.slow
async def test_a_worker_may_wait_long_and_a_claim_may_not(layers) -> None:
    claims = layers["default"]
    await claims.send("stale", {"type": "session.start", "claim_id": "stale"})
    waiting = asyncio.create_task(claims.receive("inference"))
    await asyncio.sleep(6)
    await claims.send("inference", {"type": "session.start", "claim_id": "fresh"})
    assert (await within(5, waiting))["claim_id"] == "fresh"

    await claims.send("stale", {"type": "session.start", "claim_id": "fresh"})
    assert (await within(5, claims.receive("stale")))["claim_id"] == "fresh"
