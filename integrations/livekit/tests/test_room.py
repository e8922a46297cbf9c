"""The worker in a real room: rooms and tracks by LiveKit, over WebRTC, and a small server."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from conftest import RATE, Agent, frame_of
from livekit import agents, rtc
from small_livekit import SmallLiveKit

from livekit_talking_avatar import AvatarSession

LOUD = 1_000
HEARD_RATE = 48_000
WINDOW = HEARD_RATE // 200
ENCODED_S = 0.1
"""What Opus and the network's buffer may add to or take from a voice's length."""


@dataclass
class RoomAgent:
    """A real agent in a real room."""

    server: SmallLiveKit
    room: rtc.Room
    session: agents.AgentSession
    avatar: AvatarSession
    states: list[str] = field(default_factory=list)

    def heard_s(self) -> float:
        """Seconds of voice; a stall of the machine makes pauses, which do not count."""
        samples = np.concatenate([piece for _, piece in self.server.viewer.voice])
        windows = samples[: len(samples) // WINDOW * WINDOW].reshape(-1, WINDOW)
        return np.count_nonzero(np.abs(windows).max(axis=1) > LOUD) * WINDOW / HEARD_RATE

    def calls(self, method: str) -> list[dict]:
        return [json.loads(payload) for _, called, payload in self.server.rpcs if called == method]


@pytest.fixture
async def agent(avatar_server, joined) -> AsyncIterator[RoomAgent]:
    server, room = joined
    session = agents.AgentSession()
    avatar = AvatarSession(avatar_server.address, "me")
    await avatar.start(session, room)
    await session.start(agents.Agent(instructions="You speak."), room=room)
    await avatar.wait_for_join(timeout=30)
    yield RoomAgent(server, room, session, avatar)
    await session.aclose()
    await avatar.aclose()


async def tone(seconds: float) -> AsyncIterator[rtc.AudioFrame]:
    """A voice without a pause."""
    samples = (9_000 * np.sin(np.arange(int(seconds * RATE)) * 0.06)).astype(np.int16)
    for at in range(0, len(samples), RATE // 10):
        yield frame_of(samples[at : at + RATE // 10])


async def test_a_segment_passes_through_the_room(agent: RoomAgent) -> None:
    await agent.session.say("", audio=tone(2.0)).wait_for_playout()
    await asyncio.sleep(0.5)
    (finished,) = agent.calls("lk.playback_finished")
    assert finished == {"playback_position": pytest.approx(2.0, abs=0.01), "interrupted": False}
    assert len([called for _, called, _ in agent.server.rpcs if "started" in called]) == 1
    assert agent.heard_s() == pytest.approx(2.0, abs=2 * ENCODED_S)
    async with asyncio.timeout(45):
        await agent.server.viewer.has_seen(25)
    avatar = agent.room.remote_participants["talking-avatar"]
    assert avatar.attributes["lk.publish_on_behalf"] == "agent"


async def test_interruptions_in_the_room(agent: RoomAgent) -> None:
    told = Agent(agent.session.output.audio, agent)
    finished_s = []
    for number in range(3):
        agent.server.viewer.forget()
        handle = agent.session.say("", audio=tone(8.0))
        async with asyncio.timeout(45):
            while len(told.started) <= number:
                await agent.server.viewer.has_news()
        await asyncio.sleep(1.0 + 0.3 * number)
        began_s = asyncio.get_running_loop().time()
        handle.interrupt()
        finished = await told.until_finished(number + 1)
        finished_s.append(told.finished[-1][0] - began_s)
        await asyncio.sleep(0.6)
        assert finished.interrupted
        assert finished.playback_position == pytest.approx(agent.heard_s(), abs=2 * ENCODED_S)
    assert sorted(finished_s)[1] < 0.3
    assert len(told.finished) == 3
    assert len(agent.calls("lk.playback_finished")) == 3


async def test_a_worker_that_dies_is_replaced(agent: RoomAgent) -> None:
    told = Agent(agent.session.output.audio, agent)
    handle = agent.session.say("", audio=tone(8.0))
    async with asyncio.timeout(45):
        while not told.started:
            await agent.server.viewer.has_news()
    process = agent.avatar._worker.process
    os.kill(process.pid, signal.SIGKILL)
    async with asyncio.timeout(45):
        await handle.wait_for_playout()
    assert [event.interrupted for _, event in told.finished] == [True]
    async with asyncio.timeout(45):
        await agent.session.say("", audio=tone(1.0)).wait_for_playout()
    assert agent.avatar._worker.process is not process
    finished = agent.calls("lk.playback_finished")
    assert [one["playback_position"] for one in finished] == [pytest.approx(1.0, abs=0.01)]


async def test_the_worker_leaves_with_the_session(agent: RoomAgent) -> None:
    await agent.avatar.aclose()
    async with asyncio.timeout(45):
        while agent.room.remote_participants:
            await asyncio.sleep(0.05)
    assert set(agent.server.peers) == {"agent"}


@pytest.mark.measure
@pytest.mark.timeout(600)
async def test_measure_clearing_in_the_room(agent: RoomAgent) -> None:
    told = Agent(agent.session.output.audio, agent)
    finished_ms, errors_ms = [], []
    for number in range(20):
        agent.server.viewer.forget()
        handle = agent.session.say("", audio=tone(8.0))
        async with asyncio.timeout(45):
            while len(told.started) <= number:
                await agent.server.viewer.has_news()
        await asyncio.sleep(0.5 + 0.1 * number)
        began_s = asyncio.get_running_loop().time()
        handle.interrupt()
        finished = await told.until_finished(number + 1)
        finished_ms.append(1_000 * (told.finished[-1][0] - began_s))
        await asyncio.sleep(0.6)
        errors_ms.append(1_000 * abs(finished.playback_position - agent.heard_s()))
    assert len(told.finished) == 20
    print()
    for name, values in (("clear to finished", finished_ms), ("position", errors_ms)):
        p50, p95 = np.percentile(values, [50, 95])
        print(f"{name}: p50 {p50:.1f}, p95 {p95:.1f}, max {max(values):.1f} ms")
