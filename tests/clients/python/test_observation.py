"""A session that is observed: measured, decoded, and what is wrong with it."""

import asyncio
import math

import numpy as np
import pytest

from talking_avatar import AvatarClient, ConnectionLost, StateChanged, as_spoken
from talking_avatar.observation import Observation
from tests.clients.python.fake_avatar_server import Manners, fake_avatar_server

SPEECH = (8_000 * np.sin(2 * math.pi * 300 * np.arange(8_000) / 16_000)).astype("<i2").tobytes()


def client_of(server: str) -> AvatarClient:
    return AvatarClient(server, "me", reconnects=False)


async def test_speech_is_seen_and_measured():
    async with (
        fake_avatar_server() as server,
        client_of(server) as client,
        Observation(client) as observation,
    ):
        await (await client.speak(as_spoken(SPEECH)))
        await observation.wait(0.1)
        report = observation.report()
    assert observation.problems == []
    assert report.problems() == []
    assert report.speech_frames == math.ceil(8_000 / 640)
    assert report.latency.count == report.speech_frames
    assert 0 < report.first_frame_s < 5
    assert (report.decode_errors, report.missing_frames) == (0, 0)


async def test_every_event_is_passed_on():
    events = []
    async with (
        fake_avatar_server() as server,
        client_of(server) as client,
        Observation(client, on_event=events.append) as observation,
    ):
        await client.change_state("idle", "idle_1")
        await observation.wait(0.2)
    assert StateChanged("idle", "idle_1") in events


async def test_a_stream_that_lost_a_picture_is_found_out():
    async with (
        fake_avatar_server(Manners(lost_frames=frozenset({5}))) as server,
        client_of(server) as client,
        Observation(client) as observation,
    ):
        await observation.wait(0.5)
        report = observation.report()
    assert report.missing_frames == 1
    assert report.decode_errors == 1
    assert report.problems() == ["1 pictures could not be decoded."]


async def test_a_server_that_ends_in_the_middle_is_a_problem():
    async with (
        fake_avatar_server(Manners(stops_after_frames=5)) as server,
        client_of(server) as client,
        Observation(client) as observation,
    ):
        async with asyncio.timeout(5):
            with pytest.raises(ConnectionLost):  # while it is sent, or afterwards
                await (await client.speak(SPEECH))
            await observation.wait(5)
        assert client.unshown_ms > 250
    assert not observation.is_open
    assert any("code 4500" in problem for problem in observation.problems)
