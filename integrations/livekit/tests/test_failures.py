"""The voice is heard, whatever becomes of the avatar."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from conftest import RATE, Agent, speech
from fake_room import FakeRoom
from livekit.agents.voice.avatar import AvatarRunner, QueueAudioOutput

from livekit_talking_avatar import AvatarVideoGenerator
from livekit_talking_avatar.voice_inputs import LocalVoice
from talking_avatar import ConnectionLost, SessionRefused


@pytest.fixture
async def agent(own_avatar_server) -> AsyncIterator[Agent]:
    """An agent whose server the test may stop."""
    own_avatar_server.start()
    room = FakeRoom("agent")
    async with AvatarVideoGenerator(own_avatar_server.address, "me") as generator:
        voice = LocalVoice(RATE)
        runner = AvatarRunner(
            room, audio_recv=voice, video_gen=generator, options=generator.options
        )
        await runner.start()
        yield Agent(voice, room)
        await runner.aclose()
    await room.close()


async def test_the_voice_continues_when_the_server_is_gone(agent: Agent, own_avatar_server) -> None:
    voice = speech(3.0)
    await agent.say(voice)
    await agent.until_heard(0.5)
    await asyncio.to_thread(own_avatar_server.stop)
    finished = await agent.until_finished()
    await asyncio.sleep(0.2)
    assert finished.playback_position == pytest.approx(3.0)
    assert np.array_equal(agent.room.viewer.heard(), voice)

    agent.room.viewer.forget()
    await agent.say(speech(5.0, 2))
    await agent.until_heard(0.3)
    agent.clear()
    finished = await agent.until_finished(2)
    assert agent.finished[1][0] - agent.cleared_s < 0.3
    assert finished.interrupted
    await asyncio.sleep(0.3)
    assert finished.playback_position == pytest.approx(
        len(agent.room.viewer.heard()) / RATE, abs=0.04
    )


async def test_the_avatar_speaks_again_when_the_server_is_back(
    agent: Agent, own_avatar_server
) -> None:
    await asyncio.to_thread(own_avatar_server.stop)
    await agent.say(speech(0.5))
    await agent.until_finished()
    await asyncio.to_thread(own_avatar_server.start)
    agent.room.viewer.forget()
    async with asyncio.timeout(45):
        await agent.room.viewer.has_seen(25)
    voice = speech(1.0, 3)
    agent.room.viewer.forget()
    await agent.say(voice)
    await agent.until_finished(2)
    await asyncio.sleep(0.2)
    assert np.array_equal(agent.room.viewer.heard(), voice)


async def test_a_session_that_the_server_ends_is_followed_by_another_one(
    own_avatar_server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_SESSION_S", "4")
    own_avatar_server.start()
    room = FakeRoom("agent")
    async with AvatarVideoGenerator(own_avatar_server.address, "me") as generator:
        voice = LocalVoice(RATE)
        runner = AvatarRunner(
            room, audio_recv=voice, video_gen=generator, options=generator.options
        )
        await runner.start()
        agent = Agent(voice, room)
        await asyncio.sleep(4.5)
        room.viewer.forget()
        async with asyncio.timeout(10):
            await room.viewer.has_seen(25)
        said = speech(0.5)
        room.viewer.forget()
        await agent.say(said)
        await agent.until_finished()
        await asyncio.sleep(0.2)
        assert np.array_equal(room.viewer.heard(), said)
        await runner.aclose()
    await room.close()


async def test_nothing_is_said_before_a_viewer_is_there(generator) -> None:
    room = FakeRoom("agent", has_viewer=False)
    voice = LocalVoice(RATE)
    runner = AvatarRunner(room, audio_recv=voice, video_gen=generator, options=generator.options)
    await runner.start()
    agent = Agent(voice, room)
    said = speech(0.6)
    await agent.say(said)
    await asyncio.sleep(1.5)
    assert not agent.started
    room.has_viewer.set()
    finished = await agent.until_finished()
    await asyncio.sleep(0.2)
    assert finished.playback_position == pytest.approx(0.6)
    assert np.array_equal(room.viewer.heard(), said)
    await runner.aclose()
    await room.close()


async def test_a_server_that_is_not_there(unused_tcp_port: int) -> None:
    generator = AvatarVideoGenerator(f"ws://127.0.0.1:{unused_tcp_port}", "me")
    with pytest.raises(ConnectionLost, match="cannot be reached"):
        await generator.start()


async def test_a_server_that_refuses(avatar_server) -> None:
    generator = AvatarVideoGenerator(avatar_server.address, "not a name")
    with pytest.raises(SessionRefused, match="403"):
        await generator.start()


async def test_livekits_own_queue_serves_as_well(generator) -> None:
    room = FakeRoom("agent")
    queue = QueueAudioOutput(sample_rate=RATE, wait_playback_start=True)
    runner = AvatarRunner(room, audio_recv=queue, video_gen=generator, options=generator.options)
    await runner.start()
    agent = Agent(queue, room)
    await agent.say(speech(4.0))
    await agent.until_heard(0.4)
    agent.clear()
    assert (await agent.until_finished()).interrupted
    room.viewer.forget()
    said = speech(0.5, 2)
    await agent.say(said)
    finished = await agent.until_finished(2)
    assert (finished.playback_position, finished.interrupted) == (pytest.approx(0.5), False)
    await runner.aclose()
    await room.close()
