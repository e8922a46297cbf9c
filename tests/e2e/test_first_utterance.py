"""What is said first after a start is shown as soon as what is said later."""

import asyncio
import statistics

import psutil
import pytest

from benchmarks.speech import Speech, babble
from talking_avatar import AvatarClient, Frame, as_spoken
from tests.e2e.conftest import Serve

pytestmark = [pytest.mark.slow, pytest.mark.lasting]

SPEECH = Speech(babble(1), "babble").part(0, 25)
UTTERANCES = 4
SLACK = 3
"""A busy machine delays one utterance more than another."""


async def test_the_first_utterance_is_as_quick_as_the_others(serve: Serve) -> None:
    """It needs no module, and not more of the processor, than the others."""
    server = await asyncio.to_thread(lambda: serve(PYTHONPROFILEIMPORTTIME="1"))
    await asyncio.to_thread(server.wait_until_it_takes_sessions)
    process = psutil.Process(server.process.pid)
    late_s: list[float] = []
    """Of the frames of one utterance."""
    medians_s: list[float] = []
    used_s: list[float] = []

    async def watch(client: AvatarClient) -> None:
        async for event in client.events():
            if isinstance(event, Frame) and event.latency_s is not None:
                late_s.append(event.latency_s)

    async with AvatarClient(server.address, "ann", reconnects=False) as client:
        watching = asyncio.create_task(watch(client))
        await asyncio.sleep(1)
        imported = server.process.output.count("import time:")
        assert imported > 100
        for _ in range(UTTERANCES):
            before_s = sum(process.cpu_times()[:2])
            await asyncio.wait_for(await client.speak(as_spoken(SPEECH)), 20)
            await asyncio.sleep(0.3)  # it closes its mouth
            used_s.append(sum(process.cpu_times()[:2]) - before_s)
            medians_s.append(statistics.median(late_s))
            late_s.clear()
        assert server.process.output.count("import time:") == imported
        watching.cancel()
    assert medians_s[0] < SLACK * max(medians_s[1:]), medians_s
    assert used_s[0] < SLACK * max(used_s[1:]), used_s
    print(medians_s, used_s)
