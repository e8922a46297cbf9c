import math

import numpy as np

from streaming.client import AvatarClient, StateChanged
from streaming.client.conversation import Conversation
from tests.streaming.fake_avatar_server import Behaviour, fake_avatar_server

SPEECH = (8_000 * np.sin(2 * math.pi * 300 * np.arange(8_000) / 16_000)).astype("<i2").tobytes()


async def test_speech_is_said_seen_and_measured():
    async with (
        fake_avatar_server() as server,
        AvatarClient(server, "me") as client,
        Conversation(client) as conversation,
    ):
        await conversation.say(SPEECH)
        assert await conversation.see_it_said()
        await conversation.watch(0.1)
        report = conversation.report()
    assert conversation.problems == []
    assert report.problems() == []
    assert report.speech_frames == math.ceil(8_000 / 640)
    assert report.latency.count == report.speech_frames
    assert 0 < report.first_frame_s < 5
    assert (report.decode_errors, report.missing_frames) == (0, 0)


async def test_every_event_is_told():
    told = []
    async with (
        fake_avatar_server() as server,
        AvatarClient(server, "me") as client,
        Conversation(client, tell=told.append) as conversation,
    ):
        await client.change_state("idle", "idle_1")
        await conversation.watch(0.2)
    assert StateChanged("idle", "idle_1") in told


async def test_a_stream_that_lost_a_picture_is_found_out():
    async with (
        fake_avatar_server(Behaviour(lost_frames=frozenset({5}))) as server,
        AvatarClient(server, "me") as client,
        Conversation(client) as conversation,
    ):
        await conversation.watch(0.5)
        report = conversation.report()
    assert report.missing_frames == 1
    assert report.decode_errors == 1
    assert report.problems() == ["1 pictures could not be decoded."]


async def test_a_server_that_goes_away_in_the_middle_is_a_problem():
    async with (
        fake_avatar_server(Behaviour(stops_after_frames=5)) as server,
        AvatarClient(server, "me") as client,
        Conversation(client, is_paced=False) as conversation,
    ):
        await conversation.say(SPEECH)
        assert not await conversation.see_it_said()
    assert any("never shown" in problem for problem in conversation.problems)
    assert any("code 4500" in problem for problem in conversation.problems)


async def test_an_interrupt_ends_the_waiting():
    async with (
        fake_avatar_server() as server,
        AvatarClient(server, "me") as client,
        Conversation(client, is_paced=False) as conversation,
    ):
        await conversation.say(SPEECH * 20)
        await client.interrupt()
        assert await conversation.see_it_said()
    assert conversation.problems == []
