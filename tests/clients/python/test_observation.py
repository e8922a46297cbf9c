"""A session that is observed: measured, decoded, and what is wrong with it."""

import asyncio
import math

import numpy as np
import pytest

from streaming.protocol.codec import dump
from streaming.protocol.errors import ProtocolError
from streaming.protocol.server_messages import Error
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


@pytest.mark.parametrize(("seldom_s", "is_warning"), [(10.0, False), (0.2, True)])
async def test_a_mouth_that_was_late_once_in_much_speech_is_a_warning(
    monkeypatch, seldom_s, is_warning
):
    monkeypatch.setattr("talking_avatar.observation.SELDOM_S", seldom_s)
    late = ProtocolError("PROCESSING_ERROR", "The server is too busy.", reason="engine_late")
    said = dump(Error.of(late, None))
    async with (
        fake_avatar_server(Manners(says_before_frame={8: said})) as server,
        client_of(server) as client,
        Observation(client) as observation,
    ):
        await (await client.speak(SPEECH))
        await observation.wait(0.1)
    found, empty = observation.warnings, observation.problems
    if not is_warning:
        found, empty = empty, found
    assert empty == []
    assert ["too busy" in sentence for sentence in found] == [True]
