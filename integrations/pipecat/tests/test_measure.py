"""Numbers for the README: ``pytest -m measure -s``, on a quiet machine; minutes by ``MINUTES``."""

import asyncio
import os
import time

import numpy as np
import pytest
from avatar_server import AvatarServer, Voice
from pipecat.frames.frames import (
    Frame,
    InterruptionFrame,
    OutputImageRawFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from talking_avatar import AvatarClient

from .conftest import Screen
from .test_service import Bot, running

pytestmark = pytest.mark.measure


class Tap(FrameProcessor):
    """Counts what the avatar sends to the screen."""

    def __init__(self) -> None:
        super().__init__()
        self.voiced: list[tuple[float, int, int]] = []
        """For each piece of voice: when it came, pictures and samples up to it."""
        self.pictures = 0
        self.samples = 0

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, OutputImageRawFrame):
            self.pictures += 1
        elif isinstance(frame, TTSAudioRawFrame):
            self.samples += len(frame.audio) // 2
            self.voiced.append((time.monotonic(), self.pictures, self.samples))
        await self.push_frame(frame, direction)


@pytest.mark.timeout(600)
async def test_interruptions(avatar_server: AvatarServer, voice: Voice) -> None:
    voice_ms, mouth_ms = [], []
    tap = Tap()
    screen = Screen()
    bot = Bot(avatar_server.address, screen, tap=tap)
    answered_s: list[float] = []
    send_interrupt = bot.avatar._send_interrupt

    async def timed(client: AvatarClient) -> None:
        await send_interrupt(client)
        answered_s.append(time.monotonic())  # no picture of speech comes after this

    bot.avatar._send_interrupt = timed
    async with running(bot):
        await bot.pictures(25)
        for trial in range(40):
            await bot.say(voice, f"reply-{trial}")
            await asyncio.sleep(0.8 + 0.05 * (trial % 17))
            interrupted_s = time.monotonic()
            await bot.worker.queue_frame(InterruptionFrame())
            await asyncio.sleep(0.6)
            mouth_ms.append(1_000 * (answered_s[-1] - interrupted_s))
            voice_ms.append(1_000 * max(0.0, tap.voiced[-1][0] - interrupted_s))
    print()
    for name, values in (("voice", voice_ms), ("picture of speech", mouth_ms)):
        p50, p95 = np.percentile(values, [50, 95])
        print(f"interruption to last {name}: p50 {p50:.0f}, p95 {p95:.0f} ms, {len(values)} trials")
        assert p95 <= 200


@pytest.mark.timeout(1_200)
async def test_drift(avatar_server: AvatarServer, voice: Voice) -> None:
    minutes = float(os.environ.get("MINUTES", "10"))
    tap, screen = Tap(), Screen(sample_rate=voice.sample_rate)
    async with running(Bot(avatar_server.address, screen, tap=tap)) as bot:
        await bot.pictures(25)
        pcm = voice.pcm * int(1 + minutes * 60 / voice.duration_s)
        long = Voice(pcm, voice.sample_rate)
        began_s = time.monotonic()
        await bot.say(long)
        await bot.passed(TTSStoppedFrame, within_s=long.duration_s + 30)
        took_s = time.monotonic() - began_s
    _, pictures, samples = tap.voiced[-1]
    first_pictures = tap.voiced[0][1]
    drift = pictures - first_pictures + 1 - samples / (voice.sample_rate / 25)
    lag_s = took_s - long.duration_s
    print(f"\n{long.duration_s:.0f} s of voice: {samples} of {len(pcm) // 2} samples, ", end="")
    print(f"pictures against sound {drift:+.2f} frames, behind its own length {lag_s:.2f} s")
    assert samples == len(pcm) // 2
    assert abs(drift) < 1
