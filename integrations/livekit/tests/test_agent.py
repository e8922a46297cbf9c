"""An agent speaks through the avatar: LiveKit's own packages, a real server, a fake room."""

import asyncio

import numpy as np
import pytest
from conftest import FRAME_S, RATE, Agent, frame_of, payloads, speech

PLAYED_MS = 60
"""Voice that the room was given before it was cleared, and that is played after it, at most."""


async def test_a_segment_is_heard_whole_and_ends_once(agent: Agent) -> None:
    voice = speech(1.3)
    await agent.say(voice)
    finished = await agent.until_finished()
    await asyncio.sleep(0.3)
    assert np.array_equal(agent.room.viewer.heard(), voice)
    assert finished.playback_position == pytest.approx(1.3)
    assert not finished.interrupted
    assert (len(agent.started), len(agent.finished)) == (1, 1)


async def test_the_reports_come_when_it_is_heard(agent: Agent) -> None:
    await agent.say(speech(1.0))
    await agent.until_finished()
    heard_s = [at_s for at_s, piece in agent.room.viewer.voice if piece.any()]
    assert agent.started[0] == pytest.approx(heard_s[0], abs=0.1)
    assert agent.finished[0][0] == pytest.approx(heard_s[-1], abs=0.1)


async def test_clearing_ends_it_at_once_where_it_was_heard(agent: Agent) -> None:
    voice = speech(5.0)
    await agent.say(voice)
    await agent.until_heard(0.7)
    agent.clear()
    finished = await agent.until_finished()
    assert agent.finished[0][0] - agent.cleared_s < 0.3
    assert finished.interrupted
    await asyncio.sleep(0.5)
    heard = agent.room.viewer.heard()
    assert np.array_equal(heard, voice[: len(heard)])
    assert finished.playback_position == pytest.approx(len(heard) / RATE, abs=FRAME_S)
    assert len(agent.finished) == 1


async def test_what_follows_a_clear_is_a_segment_of_its_own(agent: Agent) -> None:
    for seed in range(4):
        agent.room.viewer.forget()
        await agent.say(speech(3.0, seed))
        await agent.until_heard(0.1 * seed)  # the first one: before any of it was taken
        agent.clear()
        assert (await agent.until_finished(2 * seed + 1)).interrupted
        await asyncio.sleep(0.15)
        agent.room.viewer.forget()
        after = speech(0.5, 100 + seed)
        await agent.say(after)
        finished = await agent.until_finished(2 * seed + 2)
        assert finished.playback_position == pytest.approx(0.5)
        assert not finished.interrupted
        await asyncio.sleep(0.1)
        assert np.array_equal(agent.room.viewer.heard(), after)
    assert len(agent.finished) == 8


async def test_clearing_before_it_is_heard(agent: Agent) -> None:
    await agent.say(speech(0.2))
    await agent.until_finished()
    agent.room.viewer.forget()
    await agent.say(speech(3.0))
    await asyncio.sleep(0.02)
    agent.clear()
    finished = await agent.until_finished(2)
    assert agent.finished[1][0] - agent.cleared_s < 0.3
    await asyncio.sleep(0.3)
    heard_s = len(agent.room.viewer.heard()) / RATE
    assert finished.playback_position == pytest.approx(heard_s, abs=FRAME_S)
    assert len(agent.finished) == 2


async def test_segments_follow_one_another(agent: Agent) -> None:
    voices = [speech(seconds, seed) for seed, seconds in enumerate([0.5, 0.02, 0.4])]
    for voice in voices:
        await agent.say(voice)
    await agent.until_finished(3)
    await asyncio.sleep(0.3)
    assert [event.playback_position for _, event in agent.finished] == pytest.approx(
        [0.5, 0.02, 0.4]
    )
    assert np.array_equal(agent.room.viewer.heard(), np.concatenate(voices))


async def test_clearing_ends_all_segments_that_wait(agent: Agent) -> None:
    for seed in range(3):
        await agent.say(speech(2.0, seed))
    await agent.until_heard(0.4)
    agent.clear()
    await agent.until_finished(3)
    assert agent.finished[2][0] - agent.cleared_s < 0.3
    await asyncio.sleep(0.5)
    heard_s = len(agent.room.viewer.heard()) / RATE
    assert [event.playback_position for _, event in agent.finished] == [
        pytest.approx(heard_s, abs=FRAME_S),
        0,
        0,
    ]
    assert all(event.interrupted for _, event in agent.finished)


async def test_an_agent_may_pause_within_a_segment(agent: Agent) -> None:
    voice = speech(1.2)
    await agent.say(voice, pause_after=len(voice) // 2, pause_s=1.5)
    finished = await agent.until_finished()
    assert finished.playback_position == pytest.approx(1.2)
    await asyncio.sleep(0.2)
    assert np.array_equal(agent.room.viewer.heard(), voice)
    assert len(agent.finished) == 1


async def test_pictures_never_stop(agent: Agent) -> None:
    await agent.say(speech(1.0))
    await agent.until_finished()
    agent.room.viewer.forget()
    await asyncio.sleep(2)
    assert len(agent.room.viewer.pictures) == pytest.approx(50, abs=5)


async def test_another_rate_and_two_channels_are_converted(local_agent: Agent, generator) -> None:
    samples = speech(0.5)
    stereo = np.repeat(samples, 2)
    await generator._is_taken.wait()
    for at in range(0, len(stereo), 1_920):
        piece = stereo[at : at + 1_920]
        frame = frame_of(piece, 48_000)
        frame._num_channels, frame._samples_per_channel = 2, len(piece) // 2
        await local_agent.output.capture_frame(frame)
    local_agent.output.flush()
    await local_agent.until_heard(0.24)
    await asyncio.sleep(0.3)
    assert len(local_agent.room.viewer.heard()) / RATE == pytest.approx(0.25, abs=0.005)


async def test_the_wire_of_the_worker(remote_agent: Agent) -> None:
    await remote_agent.say(speech(0.4))
    await remote_agent.until_finished()
    assert [called for _, called, _ in remote_agent.room.rpcs] == [
        "lk.playback_started",
        "lk.playback_finished",
    ]
    (finished,) = payloads(remote_agent.room, "lk.playback_finished")
    assert finished["playback_position"] == pytest.approx(0.4)
    assert finished["interrupted"] is False
