"""An agent's voice, and a room in which an avatar speaks with it."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from fake_room import RATE, FakeRoom
from livekit import api, rtc
from livekit.agents.voice.avatar import AvatarRunner, DataStreamAudioOutput
from livekit.agents.voice.io import AudioOutput, PlaybackFinishedEvent
from small_livekit import KEY, SECRET, SmallLiveKit

from livekit_talking_avatar import AvatarVideoGenerator, serve_room
from livekit_talking_avatar.voice_inputs import LocalVoice

FRAME_S = 0.04
PIECE = RATE // 50


def speech(seconds: float, seed: int = 1) -> np.ndarray:
    """Samples of which none is 0, so that silence differs from them."""
    return np.random.default_rng(seed).integers(1, 9_000, int(seconds * RATE)).astype(np.int16)


@dataclass
class Agent:
    """What an agent does with its voice, and what it receives."""

    output: AudioOutput
    room: FakeRoom
    """In which the avatar is seen."""
    started: list[float] = field(default_factory=list)
    finished: list[tuple[float, PlaybackFinishedEvent]] = field(default_factory=list)
    cleared_s: float = 0.0
    _has_news: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.output.on("playback_started", lambda _: self.started.append(time.monotonic()))
        self.output.on("playback_finished", self._note_end)

    def _note_end(self, event: PlaybackFinishedEvent) -> None:
        self.finished.append((time.monotonic(), event))
        self._has_news.set()

    async def say(self, samples: np.ndarray, *, pause_after: int = 0, pause_s: float = 0) -> None:
        """One segment, faster than it is spoken, as a synthesizer gives it."""
        for at in range(0, len(samples), PIECE):
            await self.output.capture_frame(frame_of(samples[at : at + PIECE]))
            if pause_after and at <= pause_after < at + PIECE:
                await asyncio.sleep(pause_s)
        self.output.flush()

    def clear(self) -> None:
        self.cleared_s = time.monotonic()
        self.output.clear_buffer()

    async def until_heard(self, seconds: float, within_s: float = 30) -> None:
        async with asyncio.timeout(within_s):
            while len(self.room.viewer.heard()) < seconds * RATE:
                await self.room.viewer.has_news()

    async def until_finished(self, count: int = 1, within_s: float = 30) -> PlaybackFinishedEvent:
        async with asyncio.timeout(within_s):
            while len(self.finished) < count:
                self._has_news.clear()
                await self._has_news.wait()
        return self.finished[-1][1]


def frame_of(samples: np.ndarray, rate: int = RATE) -> rtc.AudioFrame:
    return rtc.AudioFrame(samples.tobytes(), rate, 1, len(samples))


@pytest.fixture
async def generator(avatar_server) -> AsyncIterator[AvatarVideoGenerator]:
    async with AvatarVideoGenerator(avatar_server.address, "me", sample_rate=RATE) as started:
        yield started


@pytest.fixture
async def local_agent(generator) -> AsyncIterator[Agent]:
    """The avatar in the agent's own process."""
    room = FakeRoom("agent")
    output = LocalVoice(RATE)
    runner = AvatarRunner(room, audio_recv=output, video_gen=generator, options=generator.options)
    await runner.start()
    yield Agent(output, room)
    await runner.aclose()
    await room.close()


@pytest.fixture
async def remote_agent(generator) -> AsyncIterator[Agent]:
    """The avatar as a participant of its own, with a worker's room of its own."""
    agents_room, avatars_room = FakeRoom("agent"), FakeRoom("avatar")
    agents_room.meet(avatars_room)
    serving = asyncio.create_task(serve_room(avatars_room, generator, agent_identity="agent"))
    output = DataStreamAudioOutput(
        agents_room,
        destination_identity="avatar",
        sample_rate=RATE,
        wait_remote_track=rtc.TrackKind.KIND_VIDEO,
        wait_playback_start=True,
    )
    yield Agent(output, avatars_room)
    agents_room.leave()
    async with asyncio.timeout(45):
        await serving
    await avatars_room.close()


@pytest.fixture
async def joined(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[SmallLiveKit, rtc.Room]]:
    """A LiveKit server, and the real room of an agent that joined; the worker finds both."""
    async with SmallLiveKit() as server:
        monkeypatch.setenv("LIVEKIT_URL", server.url)
        monkeypatch.setenv("LIVEKIT_API_KEY", KEY)
        monkeypatch.setenv("LIVEKIT_API_SECRET", SECRET)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        token = (
            api.AccessToken(KEY, SECRET)
            .with_identity("agent")
            .with_kind("agent")
            .with_grants(api.VideoGrants(room_join=True, room="room"))
        )
        room = rtc.Room()
        await room.connect(server.url, token.to_jwt())
        yield server, room
        await room.disconnect()


@pytest.fixture(params=["local", "remote"])
def agent(request: pytest.FixtureRequest) -> Agent:
    """An agent with an avatar in its process, and one with a worker."""
    return request.getfixturevalue(f"{request.param}_agent")


def payloads(room: FakeRoom, method: str) -> list[dict]:
    """What a participant called."""
    return [json.loads(payload) for _, called, payload in room.rpcs if called == method]
