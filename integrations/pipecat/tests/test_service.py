"""The service in a pipeline, against a real server."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from avatar_server import AvatarServer, Voice
from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    Frame,
    InterruptionFrame,
    MetricsFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.metrics.metrics import TTFBMetricsData
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.tests.utils import run_test
from pipecat.workers.runner import WorkerRunner

from pipecat_talking_avatar import TalkingAvatarService

from .conftest import Screen


class Errors(FrameProcessor):
    """Notes the errors that pass upstream."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, ErrorFrame):
            self.texts.append(frame.error)
        await self.push_frame(frame, direction)


class Bot:
    """A pipeline of an avatar and a screen."""

    def __init__(
        self, server: str, screen: Screen, tap: FrameProcessor | None = None, **options: Any
    ) -> None:
        self.screen = screen
        self.errors = Errors()
        self.avatar = TalkingAvatarService(server=server, user_id="pipecat", **options)
        self.worker = PipelineWorker(
            Pipeline([self.errors, self.avatar, *([tap] if tap else []), screen]),
            cancel_on_idle_timeout=False,
            enable_rtvi=False,
            params=PipelineParams(enable_metrics=True, audio_out_sample_rate=24_000),
        )

    async def say(self, voice: Voice, context: str = "reply", piece_s: float = 0.1) -> None:
        await self.worker.queue_frame(TTSStartedFrame(context))
        for piece in voice.pieces(piece_s):
            await self.worker.queue_frame(TTSAudioRawFrame(piece, voice.sample_rate, 1, context))
        text = TTSTextFrame("said", "sentence", context_id=context)
        await self.worker.queue_frame(text)
        await self.worker.queue_frame(TTSStoppedFrame(context))

    async def passed(self, kind: type[Frame], within_s: float = 15.0) -> float:
        """When such a frame left the screen; waits for it."""
        async with asyncio.timeout(within_s):
            while True:
                for at_s, frame in self.screen.passed:
                    if isinstance(frame, kind):
                        return at_s
                await asyncio.sleep(0.02)

    async def pictures(self, count: int) -> None:
        async with asyncio.timeout(20):
            await self.screen.has_shown(count)


@asynccontextmanager
async def running(bot: Bot) -> AsyncIterator[Bot]:
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(bot.worker)
    task = asyncio.create_task(runner.run())
    try:
        yield bot
    finally:
        await bot.worker.cancel()
        await task


def loudness(pcm: bytes) -> float:
    samples = np.frombuffer(pcm, np.int16).astype(float)
    return float(np.sqrt(np.mean(samples**2))) if len(samples) else 0.0


def mouth_moves(pictures: list[np.ndarray]) -> float:
    """How much the lower middle of the picture changes, in levels."""
    mouths = [p[270:400, 180:332].astype(float) for p in pictures]
    return float(np.mean([np.abs(a - b).mean() for a, b in itertools.pairwise(mouths)]))


async def test_voice_comes_back_whole_with_its_pictures(
    avatar_server: AvatarServer, voice: Voice
) -> None:
    screen = Screen(sample_rate=voice.sample_rate)
    async with running(Bot(avatar_server.address, screen)) as bot:
        await bot.pictures(25)
        began_s = time.monotonic()
        await bot.say(voice)
        stopped_s = await bot.passed(TTSStoppedFrame)
        await bot.passed(TTSTextFrame)
        spoken = np.frombuffer(screen.heard.pcm, np.int16)
        given = np.frombuffer(voice.pcm, np.int16)
        # The transport fills its last chunk up with silence.
        assert len(given) <= len(spoken) <= len(given) + 2 * 882
        assert np.array_equal(spoken[: len(given)], given)
        assert voice.duration_s * 0.9 < stopped_s - began_s < voice.duration_s + 1.5
        spoken_of = [
            p.pixels for p in screen.heard.pictures if began_s + 0.5 < p.at_s < stopped_s - 0.3
        ]
        idle = [p.pixels for p in screen.heard.pictures if p.at_s < began_s]
        assert mouth_moves(spoken_of) > 2 * mouth_moves(idle)
        assert not bot.errors.texts


async def test_what_follows_voice_waits_for_it(avatar_server: AvatarServer, voice: Voice) -> None:
    screen = Screen()
    async with running(Bot(avatar_server.address, screen)) as bot:
        await bot.pictures(5)
        await bot.say(voice)
        await bot.passed(TTSStoppedFrame)
        order = [
            type(frame).__name__
            for _, frame in screen.passed
            if isinstance(frame, TTSTextFrame | TTSStoppedFrame | TTSAudioRawFrame)
        ]
        assert order[-1] == "TTSStoppedFrame"
        # The transport keeps up to a chunk of voice, which the end of the utterance sets free.
        assert len(order) - order.index("TTSTextFrame") <= 4


@pytest.mark.parametrize("rate", [8_000, 11_025, 24_000, 48_000])
async def test_voice_of_any_rate(avatar_server: AvatarServer, rate: int) -> None:
    tone = np.sin(np.arange(rate) / rate * 2 * np.pi * 220) * 8_000
    voice = Voice(tone.astype(np.int16).tobytes(), rate)
    screen = Screen()
    async with running(Bot(avatar_server.address, screen)) as bot:
        await bot.pictures(5)
        await bot.say(voice)
        await bot.passed(TTSStoppedFrame)
        heard_s = len(screen.heard.pcm) / 2 / 24_000
        assert 0.98 < heard_s < 1.12
        assert 4_500 < loudness(screen.heard.pcm[4_800:38_400]) < 6_500


async def test_the_rate_may_change_within_an_answer(avatar_server: AvatarServer) -> None:
    screen = Screen()
    async with running(Bot(avatar_server.address, screen)) as bot:
        await bot.pictures(5)
        for rate in (11_025, 24_000, 12_000):
            tone = np.sin(np.arange(rate // 2) / rate * 2 * np.pi * 220) * 8_000
            frame = TTSAudioRawFrame(tone.astype(np.int16).tobytes(), rate, 1, "reply")
            await bot.worker.queue_frame(frame)
        await bot.worker.queue_frame(TTSStoppedFrame("reply"))
        await bot.passed(TTSStoppedFrame)
        heard_s = len(screen.heard.pcm) / 2 / 24_000
        assert 1.48 < heard_s < 1.62
        assert not bot.errors.texts


async def test_an_interruption_is_quick_and_the_next_answer_is_whole(
    avatar_server: AvatarServer, voice: Voice
) -> None:
    screen = Screen()
    async with running(Bot(avatar_server.address, screen)) as bot:
        await bot.pictures(5)
        await bot.say(voice, "first")
        await asyncio.sleep(1.5)
        assert screen.heard.audio
        interrupted_s = time.monotonic()
        await bot.worker.queue_frame(InterruptionFrame())
        await asyncio.sleep(1.0)
        assert max(one.at_s for one in screen.heard.audio) - interrupted_s < 0.2
        assert not [f for _, f in screen.passed if isinstance(f, TTSStoppedFrame | TTSTextFrame)]
        before = len(screen.heard.audio)
        await bot.say(Voice(voice.pcm[:44_100], voice.sample_rate), "second")
        await bot.passed(TTSStoppedFrame)
        heard = b"".join(one.audio for one in screen.heard.audio[before:])
        assert 0.95 < len(heard) / 2 / 24_000 < 1.15
        assert not bot.errors.texts


async def test_a_synthesizer_that_stalls_is_heard_whole(avatar_server: AvatarServer) -> None:
    tone = (np.sin(np.arange(24_000) / 24_000 * 2 * np.pi * 220) * 8_000).astype(np.int16).tobytes()
    screen = Screen()
    async with running(Bot(avatar_server.address, screen)) as bot:
        await bot.pictures(5)
        for part in range(3):
            await bot.worker.queue_frame(TTSAudioRawFrame(tone[:24_000], 24_000, 1, "reply"))
            await asyncio.sleep(1.2 if part < 2 else 0)  # 0.5 s of voice, and a pause
        await bot.worker.queue_frame(TTSStoppedFrame("reply"))
        await bot.passed(TTSStoppedFrame)
        assert 1.48 < len(screen.heard.pcm) / 2 / 24_000 < 1.7
        assert not bot.errors.texts


async def test_the_end_waits_until_everything_was_said(
    avatar_server: AvatarServer, voice: Voice
) -> None:
    screen = Screen(sample_rate=voice.sample_rate)
    bot = Bot(avatar_server.address, screen)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(bot.worker)
    task = asyncio.create_task(runner.run())
    await bot.pictures(5)
    await bot.say(voice)
    await bot.worker.queue_frame(EndFrame())
    async with asyncio.timeout(voice.duration_s + 8):
        await task
    assert len(screen.heard.pcm) >= len(voice.pcm)


async def test_time_to_the_first_voiced_picture_is_reported(
    avatar_server: AvatarServer, voice: Voice
) -> None:
    screen = Screen()
    async with running(Bot(avatar_server.address, screen)) as bot:
        await bot.pictures(5)
        await bot.say(voice)
        await bot.passed(TTSStoppedFrame)
        values = [
            data.value
            for _, frame in screen.passed
            if isinstance(frame, MetricsFrame)
            for data in frame.data
            if isinstance(data, TTFBMetricsData) and "TalkingAvatar" in data.processor
        ]
        assert [value for value in values if value > 0]
        assert max(values) < 1


async def test_live_transports_get_pictures_that_they_show(
    avatar_server: AvatarServer, voice: Voice
) -> None:
    screen = Screen(is_live=True)
    async with running(Bot(avatar_server.address, screen)) as bot:
        await bot.pictures(25)
        await bot.say(voice)
        await bot.passed(TTSStoppedFrame)
        assert len(screen.heard.pictures) > 25 * (1 + voice.duration_s)


async def test_the_voice_continues_when_the_server_is_gone_and_the_avatar_comes_back(
    own_avatar_server: AvatarServer, voice: Voice
) -> None:
    own_avatar_server.start()
    screen = Screen(sample_rate=voice.sample_rate)
    async with running(Bot(own_avatar_server.address, screen)) as bot:
        await bot.pictures(5)
        await bot.say(voice)
        await asyncio.sleep(1.0)
        assert own_avatar_server.process is not None
        own_avatar_server.process.kill()
        own_avatar_server.process.wait()
        await bot.passed(TTSStoppedFrame, within_s=voice.duration_s + 10)
        given = np.frombuffer(voice.pcm, np.int16)
        spoken = np.frombuffer(screen.heard.pcm, np.int16)
        assert abs(len(spoken) - len(given)) < 3 * 882
        assert any("the voice continues without" in text for text in bot.errors.texts)

        own_avatar_server.start()
        count = len(screen.heard.pictures)
        await bot.pictures(count + 10)
        screen.passed.clear()
        before = len(screen.heard.audio)
        await bot.say(Voice(voice.pcm[:44_100], voice.sample_rate), "second")
        await bot.passed(TTSStoppedFrame)
        heard = b"".join(one.audio for one in screen.heard.audio[before:])
        assert len(heard) >= 44_100


async def test_without_any_server_frames_pass_in_order(voice: Voice) -> None:
    avatar = TalkingAvatarService(server="ws://127.0.0.1:9", user_id="pipecat")
    frames = [
        TTSStartedFrame("reply"),
        TTSAudioRawFrame(voice.pcm[:4_000], voice.sample_rate, 1, "reply"),
        TTSAudioRawFrame(voice.pcm[4_000:8_000], voice.sample_rate, 1, "reply"),
        TTSStoppedFrame("reply"),
    ]
    down, _ = await run_test(
        avatar,
        frames_to_send=frames,
        expected_down_frames=[TTSStartedFrame, TTSAudioRawFrame, TTSAudioRawFrame, TTSStoppedFrame],
    )
    assert b"".join(f.audio for f in down if isinstance(f, TTSAudioRawFrame)) == voice.pcm[:8_000]
