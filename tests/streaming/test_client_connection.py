import asyncio
import contextlib
import socket
import uuid
from contextlib import asynccontextmanager

import pytest

from streaming.client import (
    ActionTriggered,
    AvatarClient,
    ConnectionLost,
    Frame,
    Interrupted,
    ProtocolBroken,
    ServerUnreachable,
    SessionRefused,
    StateChanged,
    Unknown,
)
from streaming.client.connection import stream_address
from streaming.protocol.client_messages import Close, Generate, Init, Pong
from streaming.protocol.errors import ProtocolError
from tests.media import assert_decodes, assert_pts_contiguous
from tests.streaming.fake_avatar_server import Behaviour, fake_avatar_server


async def take(client, count, kind=Frame):
    events = []
    async for event in client:
        if isinstance(event, kind):
            events.append(event)
            if len(events) == count:
                return events
    return events


@pytest.mark.parametrize(
    ("server", "address"),
    [
        ("ws://localhost:8000", "ws://localhost:8000/musetalk/v1/ws/me"),
        ("http://h:1/", "ws://h:1/musetalk/v1/ws/me"),
        ("https://h/behind/proxy/", "wss://h/behind/proxy/musetalk/v1/ws/me"),
        ("localhost:8000", "ws://localhost:8000/musetalk/v1/ws/me"),
    ],
)
def test_addresses(server, address):
    assert stream_address(server, "me") == address


@pytest.mark.parametrize("server", ["", "ftp://h", "ws://", "/path"])
def test_what_is_no_address_is_said(server):
    with pytest.raises(ServerUnreachable, match="is no server's address"):
        stream_address(server, "me")


async def test_the_session_opens_and_pictures_follow():
    behaviour = Behaviour()
    async with fake_avatar_server(behaviour) as server, AvatarClient(server, "me") as client:
        assert client.ready.engine == "fake"
        assert client.ready.codec == "avc1.42C01E"
        assert uuid.UUID(client.session_id)
        frames = await take(client, 10)
    assert_pts_contiguous([frame.timestamp_ms for frame in frames], first_ms=0)
    assert_decodes(frame.access_unit for frame in frames)
    assert frames[0].is_idr
    first = behaviour.received[0]
    assert isinstance(first, Init)
    assert (first.data.user_id, first.session_id) == ("me", client.session_id)


async def test_speech_is_cut_shown_and_dated():
    behaviour = Behaviour()
    pcm = bytes(range(256)) * 250  # 64,000 bytes: two messages, 50 frames
    async with fake_avatar_server(behaviour) as server, AvatarClient(server, "me") as client:
        await client.send_audio(pcm, clip="speaking_3")
        frames = [frame for frame in await take(client, 55) if frame.audio_timestamp_ms is not None]
    assert [frame.audio_timestamp_ms for frame in frames] == [n * 40 for n in range(50)]
    chunks = [message for message in behaviour.received if isinstance(message, Generate)]
    assert [len(chunk.data.audio_chunk.data) for chunk in chunks] == [32_000, 32_000]
    assert b"".join(chunk.data.audio_chunk.data for chunk in chunks) == pcm
    assert chunks[0].data.video_state.base_video == "speaking_3"
    assert chunks[0].data.video_state.type == "speaking"
    assert client.sent.samples == 32_000


async def test_speaking_keeps_time():
    async with fake_avatar_server() as server, AvatarClient(server, "me") as client:
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        await client.speak(bytes(1280 * 10))
        assert loop.time() - started_s >= 0.399
        started_s = loop.time()
        await client.speak(bytes(1280 * 10), ahead_s=5.0)
        assert loop.time() - started_s < 0.3


async def test_half_a_sample_is_refused_here():
    async with fake_avatar_server() as server, AvatarClient(server, "me") as client:
        with pytest.raises(ValueError, match="no whole number"):
            await client.send_audio(b"123")


async def test_commands_are_answered():
    async with fake_avatar_server() as server, AvatarClient(server, "me") as client:
        await client.change_state("idle", "idle_3")
        assert await take(client, 1, StateChanged) == [StateChanged("idle", "idle_3")]
        await client.start_action(2)
        assert await take(client, 1, ActionTriggered) == [ActionTriggered(2)]
        await client.send_audio(bytes(32_000))
        await client.interrupt()
        (interrupted,) = await take(client, 1, Interrupted)
        assert 900 <= interrupted.dropped_ms <= 1_000


async def test_pings_are_answered_and_leaving_says_goodbye():
    behaviour = Behaviour()
    async with fake_avatar_server(behaviour) as server, AvatarClient(server, "me") as client:
        await take(client, 3)
    assert client.close_code == 1000
    assert any(isinstance(message, Pong) for message in behaviour.received)
    assert isinstance(behaviour.received[-1], Close)


async def test_unknown_messages_are_passed_on_as_such():
    news = '{"type": "WEATHER", "session_id": null, "data": {"sun": true}}'
    async with (
        fake_avatar_server(Behaviour(says_first=news)) as server,
        AvatarClient(server, "me") as client,
    ):
        assert await take(client, 1, Unknown) == [Unknown("WEATHER")]


@pytest.mark.parametrize("text", ["hello", "[]", '{"type": "VIDEO_FRAME", "data": {}}'])
async def test_nonsense_is_said(text):
    async with (
        fake_avatar_server(Behaviour(says_first=text)) as server,
        AvatarClient(server, "me") as client,
    ):
        with pytest.raises(ProtocolBroken, match="no message of the protocol"):
            await take(client, 1)


async def test_a_refused_session_says_why():
    refusal = ProtocolError("MODEL_NOT_FOUND", "The avatar is being prepared.", percent=40)
    async with fake_avatar_server(Behaviour(refusal=refusal)) as server:
        with pytest.raises(SessionRefused, match="The avatar is being prepared") as caught:
            async with AvatarClient(server, "me"):
                pass
    assert (caught.value.code, caught.value.close_code) == ("MODEL_NOT_FOUND", 4404)


async def test_a_refused_name_says_what_is_allowed():
    async with fake_avatar_server() as server:
        with pytest.raises(SessionRefused, match=r"HTTP 403.*letters, digits"):
            async with AvatarClient(server, "you and me"):
                pass


async def test_nobody_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"ws://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(ServerUnreachable, match="is the server running"):
            async with AvatarClient(address, "me"):
                pass


@asynccontextmanager
async def listening(answer):
    """A TCP server for one connection; gives its address."""
    is_stopped = asyncio.Event()

    async def serve_one(reader, writer):
        try:
            await answer(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            is_stopped.set()

    async with await asyncio.start_server(serve_one, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await is_stopped.wait()


async def test_somebody_else_there():
    async def speak_smtp(reader, writer):
        await reader.readline()
        writer.write(b"220 mail.example ESMTP\r\n")

    async with listening(speak_smtp) as address:
        with pytest.raises(ServerUnreachable, match="does not speak WebSocket"):
            async with AvatarClient(address, "me"):
                pass


async def test_a_silent_server_is_not_waited_for_without_end():
    async def say_nothing(reader, writer):
        await reader.read()

    async with listening(say_nothing) as address:
        with pytest.raises(ServerUnreachable, match=r"within 0\.2 s"):
            async with AvatarClient(address, "me", open_timeout_s=0.2):
                pass


async def test_the_end_of_the_stream_ends_the_events_and_speaking_fails():
    async with (
        fake_avatar_server(Behaviour(stops_after_frames=3)) as server,
        AvatarClient(server, "me") as client,
    ):
        assert len(await take(client, 100)) == 3
        assert client.close_code == 4500
        with pytest.raises(ConnectionLost, match="code 4500"):
            await client.send_audio(b"12")
