"""Prints the numbers of the README: ``pytest -m measure -s``."""

import asyncio
import time
import zlib

import numpy as np
import pytest
from conftest import FRAME_S, RATE, Agent, speech

from livekit_talking_avatar import AvatarVideoGenerator

pytestmark = [pytest.mark.measure, pytest.mark.timeout(600)]
CLEARS = 40
SEGMENTS = 5


def summary(name: str, values_ms: list[float]) -> str:
    p50, p95 = np.percentile(values_ms, [50, 95])
    return f"{name}: p50 {p50:.1f}, p95 {p95:.1f}, max {max(values_ms):.1f} ms ({len(values_ms)})"


async def test_clearing(agent: Agent) -> None:
    finished_ms, silent_ms, errors_ms = [], [], []
    for number in range(CLEARS):
        agent.room.viewer.forget()
        voice = speech(6.0, number)
        await agent.say(voice)
        await agent.until_heard(0.3 + 0.037 * number)
        agent.clear()
        finished = await agent.until_finished(number + 1)
        finished_ms.append(1_000 * (agent.finished[-1][0] - agent.cleared_s))
        await asyncio.sleep(0.4)
        heard = agent.room.viewer.heard()
        assert np.array_equal(heard, voice[: len(heard)])
        last_s = [at_s for at_s, piece in agent.room.viewer.voice if piece.any()][-1]
        silent_ms.append(1_000 * max(0.0, last_s - agent.cleared_s))
        errors_ms.append(1_000 * abs(finished.playback_position - len(heard) / RATE))
        assert finished.interrupted
    assert len(agent.finished) == len(agent.started) == CLEARS
    print()
    print(summary("clear to finished", finished_ms))
    print(summary("clear to the last sample heard", silent_ms))
    print(summary("position against what was heard", errors_ms))
    assert max(finished_ms) <= 300
    assert max(errors_ms) <= 1_000 * FRAME_S


async def test_speaking(agent: Agent, generator: AvatarVideoGenerator) -> None:
    shown: list[tuple[int, int]] = []
    samples = 0
    add = generator._playout.add

    def noting(picture, voice, now_s) -> None:
        nonlocal samples
        if voice:
            shown.append((zlib.crc32(picture.i420), samples))
            samples += len(voice) // 2
        add(picture, voice, now_s)

    generator._playout.add = noting
    first_ms, offsets_ms = [], []
    for number in range(SEGMENTS):
        agent.room.viewer.forget()
        shown.clear()
        samples = 0
        began_s = time.monotonic()
        voice = speech(6.0, number)
        await agent.say(voice)
        await agent.until_finished(number + 1)
        await asyncio.sleep(0.3)
        assert np.array_equal(agent.room.viewer.heard(), voice)
        times_s, counts = [], []
        for at_s, piece in agent.room.viewer.voice:
            if piece.any():
                times_s.append(at_s)
                counts.append(np.count_nonzero(piece))
        first_ms.append(1_000 * (times_s[0] - began_s))
        starts = np.cumsum([0, *counts])
        seen = {crc: at_s for at_s, crc in agent.room.viewer.pictures}
        for crc, start in shown:
            if crc in seen:
                at = int(np.searchsorted(starts, start, "right")) - 1
                offsets_ms.append(1_000 * (seen[crc] - times_s[at]))
    print()
    print(summary("first voice pushed to first voice heard", first_ms))
    early, late = np.percentile(offsets_ms, [2.5, 97.5])
    print(f"picture after its voice: 95 % between {early:.0f} and {late:.0f} ms")
    print(f"pictures seen: {len(offsets_ms)} of {SEGMENTS * 150}")
