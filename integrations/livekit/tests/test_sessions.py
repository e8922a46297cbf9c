"""A real `AgentSession` speaks through the avatar."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from conftest import PIECE, RATE, Agent, frame_of, speech
from fake_room import FakeRoom
from livekit import agents, rtc

from livekit_talking_avatar import AvatarSession, LocalAvatarSession
from livekit_talking_avatar.__main__ import connection_of, environment
from livekit_talking_avatar.worker import Connection


async def frames(samples: np.ndarray) -> AsyncIterator[rtc.AudioFrame]:
    for at in range(0, len(samples), PIECE):
        yield frame_of(samples[at : at + PIECE])
        await asyncio.sleep(0)


async def test_an_agent_session_speaks_and_is_interrupted(avatar_server) -> None:
    room = FakeRoom("agent")
    session = agents.AgentSession()
    avatar = LocalAvatarSession(avatar_server.address, "me")
    await avatar.start(session, room)
    assert avatar.avatar_identity == "agent"
    await avatar.wait_for_join(timeout=5)
    await session.start(agents.Agent(instructions="You speak."))

    said = speech(0.8)
    await session.say("Hello.", audio=frames(said)).wait_for_playout()
    await asyncio.sleep(0.2)
    assert np.array_equal(room.viewer.heard(), said)

    room.viewer.forget()
    told = Agent(session.output.audio, room)
    said = speech(5.0, 2)
    handle = session.say("A long story.", audio=frames(said))
    await told.until_heard(0.6)
    handle.interrupt()
    async with asyncio.timeout(5):
        await handle.wait_for_playout()
    await asyncio.sleep(0.3)
    heard = room.viewer.heard()
    assert np.array_equal(heard, said[: len(heard)])
    assert [event.interrupted for _, event in told.finished] == [True]
    assert told.finished[0][1].playback_position == pytest.approx(len(heard) / RATE, abs=0.04)

    await session.aclose()
    await avatar.aclose()
    await room.close()


def test_the_worker_is_sent_where_it_is_to_go() -> None:
    connection = Connection("ws://a:1", "secret", "ws://b:2", "me", "key", "agent", 16_000)
    assert connection_of(environment(connection)) == connection
    with pytest.raises(ValueError, match="AVATAR_SERVER"):
        connection_of({"LIVEKIT_URL": "ws://a:1"})
    with pytest.raises(ValueError, match="is no rate"):
        connection_of(environment(connection) | {"AVATAR_SAMPLE_RATE": "fast"})


async def test_an_avatar_session_needs_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"):
        monkeypatch.delenv(name, raising=False)
    session = agents.AgentSession()
    with pytest.raises(ValueError, match="LIVEKIT_API_SECRET"):
        await AvatarSession("ws://localhost:8000", "me").start(session, FakeRoom("agent"))
    assert session.output.audio is None


@pytest.mark.parametrize("kind", [AvatarSession, LocalAvatarSession])
async def test_a_rate_that_the_server_does_not_take(kind: type) -> None:
    with pytest.raises(ValueError, match="take one of 8000, 16000"):
        kind("ws://localhost:8000", "me", sample_rate=12_345)
