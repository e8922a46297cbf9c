"""The client against a small server, its words for what goes wrong, and speech as it sends it."""

import asyncio
import contextlib
import gc
import socket
import uuid
from contextlib import asynccontextmanager

import pytest

from streaming.protocol.client_messages import Action, Close, Generate, Init, Pong
from streaming.protocol.errors import ProtocolError
from talking_avatar import (
    ActionTriggered,
    AvatarClient,
    Closed,
    ConnectionLost,
    Frame,
    Interrupted,
    ProtocolBroken,
    Reopened,
    Resumed,
    ServerUnreachable,
    SessionRefused,
    SpeechFinished,
    SpeechRefused,
    StateChanged,
    as_spoken,
)
from talking_avatar.event_queue import MAX_OTHERS, EventQueue
from talking_avatar.opening import stream_address
from tests.clients.python.fake_avatar_server import Manners, fake_avatar_server
from tests.media import assert_decodes, assert_pts_contiguous


def client_of(server: str, open_within_s: float = 10.0) -> AvatarClient:
    return AvatarClient(server, "me", reconnects=False, open_within_s=open_within_s)


async def take(client, count, kind=Frame):
    found = []
    async for event in client.events():
        if isinstance(event, kind):
            found.append(event)
            if len(found) == count:
                break
    return found


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
    with pytest.raises(ValueError, match="is no server's address"):
        stream_address(server, "me")


async def test_the_session_opens_and_pictures_follow():
    manners = Manners()
    async with fake_avatar_server(manners) as server, client_of(server) as client:
        assert client.info.engine == "fake"
        assert client.info.codec == "avc1.42C01E"
        assert (client.info.clips, client.info.default_clip) == (("idle_0",), "idle_0")
        assert uuid.UUID(client.session_id)
        frames = await take(client, 10)
    assert_pts_contiguous([frame.timestamp_ms for frame in frames], first_ms=0)
    assert_decodes(frame.data for frame in frames)
    assert frames[0].is_keyframe
    first = manners.received[0]
    assert isinstance(first, Init)
    assert (first.data.user_id, first.session_id) == ("me", client.session_id)


async def test_speech_is_cut_shown_and_dated():
    manners = Manners()
    pcm = bytes(range(256)) * 250  # 64,000 bytes: 2 s, 50 frames
    async with fake_avatar_server(manners) as server, client_of(server) as client:
        utterance = await client.speak(pcm, clip="speaking_3")
        frames = [frame for frame in await take(client, 55) if frame.audio_timestamp_ms is not None]
        assert (await utterance).played_ms == 2_000
        assert client.unshown_ms == 0
    assert [frame.audio_timestamp_ms for frame in frames] == [n * 40 for n in range(50)]
    chunks = [message for message in manners.received if isinstance(message, Generate)]
    assert [len(chunk.data.audio_chunk.data) for chunk in chunks] == [6_400] * 10
    assert b"".join(chunk.data.audio_chunk.data for chunk in chunks) == pcm
    assert {chunk.data.video_state.base_video for chunk in chunks} == {"speaking_3"}
    assert chunks[0].data.video_state.type == "speaking"


async def test_speech_as_spoken_keeps_time_and_its_way_to_the_picture_is_measured():
    async with fake_avatar_server() as server, client_of(server) as client:
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        speaking = asyncio.create_task(client.speak(as_spoken(bytes(1_280 * 10))))
        spoken: list[Frame] = []
        while len(spoken) < 10:  # as many come before them as the machine is slow
            spoken += [f for f in await take(client, 1) if f.audio_timestamp_ms is not None]
        await speaking
        took_s = loop.time() - started_s
    assert took_s >= 0.399
    assert all(0 <= frame.latency_s < took_s for frame in spoken)


async def test_pieces_as_spoken_are_whole_and_come_when_they_were_spoken():
    pcm = bytes(range(250)) * 12
    loop = asyncio.get_running_loop()
    started_s, pieces, times_s = loop.time(), [], []
    async for piece in as_spoken(pcm, sample_rate=24_000):
        pieces.append(piece)
        times_s.append(loop.time() - started_s)
    assert [len(piece) for piece in pieces] == [1_920, 1_080]
    assert b"".join(pieces) == pcm
    assert times_s[0] >= 0.04
    assert times_s[1] >= 0.0624


async def test_half_a_sample_is_refused_here():
    async with fake_avatar_server() as server, client_of(server) as client:
        with pytest.raises(ValueError, match="whole 16-bit samples"):
            await client.speak(b"123")


async def test_requests_are_answered():
    manners = Manners()
    async with fake_avatar_server(manners) as server, client_of(server) as client:
        await client.change_state("idle", "idle_3")
        assert await take(client, 1, StateChanged) == [StateChanged("idle", "idle_3")]
        await client.start_action(2)
        assert await take(client, 1, ActionTriggered) == [ActionTriggered(2)]
        await client.start_action(1, with_progress=True)
        utterance = await client.speak(bytes(32_000))
        dropped_ms = await client.interrupt()
        assert 900 <= dropped_ms <= 1_000
        assert await take(client, 1, Interrupted) == [Interrupted(dropped_ms)]
        assert (await utterance).interrupted
    actions = [message.data for message in manners.received if isinstance(message, Action)]
    assert [(action.action_index, action.action_type) for action in actions] == [
        (2, None),
        (None, "action_1"),
    ]


async def test_pings_are_answered_and_leaving_says_goodbye():
    manners = Manners()
    async with fake_avatar_server(manners) as server, client_of(server) as client:
        await take(client, 3)
    assert client.closed == Closed("client_request", 1000)
    assert any(isinstance(message, Pong) for message in manners.received)
    assert isinstance(manners.received[-1], Close)


async def test_messages_of_a_newer_server_are_ignored():
    news = '{"type": "WEATHER", "session_id": null, "data": {"sun": true}}'
    async with (
        fake_avatar_server(Manners(says_first=news)) as server,
        client_of(server) as client,
    ):
        assert len(await take(client, 3)) == 3


@pytest.mark.parametrize("text", ["hello", "[]", '{"type": "VIDEO_FRAME", "data": {}}'])
async def test_nonsense_ends_the_session_and_says_why(text):
    async with fake_avatar_server(Manners(says_first=text)) as server:
        client = client_of(server)
        async with client:
            (closed,) = await take(client, 1, Closed)
            with pytest.raises(ConnectionLost):
                await client.change_state("idle")
        assert isinstance(closed.error, ProtocolBroken)
        assert "no message of the protocol" in str(closed.error)


async def test_a_refused_session_says_why():
    refusal = ProtocolError("MODEL_NOT_FOUND", "The avatar is being prepared.", percent=40)
    async with fake_avatar_server(Manners(refusal=refusal)) as server:
        with pytest.raises(SessionRefused, match="The avatar is being prepared") as caught:
            async with client_of(server):
                pass
    assert (caught.value.code, caught.value.details) == ("MODEL_NOT_FOUND", {"percent": 40})


async def test_a_refused_name_says_what_is_allowed():
    async with fake_avatar_server() as server:
        with pytest.raises(SessionRefused, match=r"HTTP 403.*letters, digits"):
            async with AvatarClient(server, "you and me"):
                pass


async def test_nothing_answers():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"ws://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(ServerUnreachable, match="is the server running"):
            async with client_of(address):
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


async def test_another_protocol_answers():
    async def speak_smtp(reader, writer):
        await reader.readline()
        writer.write(b"220 mail.example ESMTP\r\n")

    async with listening(speak_smtp) as address:
        with pytest.raises(ServerUnreachable, match="does not speak WebSocket"):
            async with client_of(address):
                pass


async def test_a_silent_server_is_not_waited_for_without_end():
    async def say_nothing(reader, writer):
        await reader.read()

    async with listening(say_nothing) as address:
        with pytest.raises(ServerUnreachable, match=r"within 0\.2 s"):
            async with client_of(address, open_within_s=0.2):
                pass


async def test_the_end_of_the_stream_ends_the_events_and_speaking_fails():
    async with (
        fake_avatar_server(Manners(stops_after_frames=3)) as server,
        client_of(server) as client,
    ):
        assert len(await take(client, 100)) == 3
        assert client.closed == Closed("connection lost", 4500)
        with pytest.raises(ConnectionLost, match="code 4500"):
            await client.speak(b"12")


async def test_a_client_that_was_not_entered_says_so():
    client = AvatarClient("ws://localhost", "me")
    for use in (client.change_state("idle"), client.speak(b"12")):
        with pytest.raises(ConnectionLost, match="Not connected"):
            await use
    with pytest.raises(ConnectionLost, match="Not connected"):
        _ = client.info


async def test_a_proxy_whose_server_is_down_is_no_refusal():
    async with fake_avatar_server(Manners(is_down=True)) as server:
        with pytest.raises(ServerUnreachable, match="HTTP 502"):
            async with client_of(server):
                pass


@asynccontextmanager
async def server_that_was_lost():
    """A client whose server ended, behind a proxy that says so; and the server's manners."""
    manners = Manners(stops_after_frames=3)
    async with fake_avatar_server(manners) as server, AvatarClient(server, "me") as client:
        first = client.session_id
        manners.is_down = True
        async with asyncio.timeout(10):
            while client.session_id == first:  # noqa: ASYNC110 - it tells nobody yet
                await asyncio.sleep(0.01)
        manners.stops_after_frames = None
        yield client, manners


async def test_a_server_that_restarts_behind_a_proxy_is_found_again():
    async with server_that_was_lost() as (client, manners):
        await asyncio.sleep(0.3)
        manners.is_down = False
        assert await take(client, 1, Reopened)


async def test_what_is_said_before_the_server_is_back_is_said_then():
    async with server_that_was_lost() as (client, manners):
        speaking = asyncio.create_task(client.speak(bytes(6_400)))
        await asyncio.sleep(0.1)
        manners.is_down = False
        async with asyncio.timeout(10):
            assert (await (await speaking)).played_ms == 200


async def test_an_interrupt_does_not_wait_for_a_server_that_is_down():
    async with server_that_was_lost() as (client, manners):
        speaking = asyncio.create_task(client.speak(bytes(6_400)))
        await asyncio.sleep(0.1)
        async with asyncio.timeout(10):
            assert await client.interrupt() == 0
            manners.is_down = False
            assert (await (await speaking)).interrupted
            assert (await (await client.speak(bytes(6_400)))).played_ms == 200


async def test_an_interrupt_that_nobody_awaits_any_more_is_no_unhandled_error(monkeypatch):
    unhandled = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    async with fake_avatar_server() as server, client_of(server) as client:

        async def is_stuck(*_, **__):
            await asyncio.Event().wait()

        monkeypatch.setattr(client._connection, "send_speech", is_stuck)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.interrupt()
    del client
    gc.collect()
    assert not unhandled


async def test_refused_speech_fails_and_an_interrupt_ends_all_that_was_said():
    manners = Manners()
    refusal = ProtocolError("RATE_LIMIT_EXCEEDED", "No place to speak is free.")
    manners.refuses_speech = refusal
    async with fake_avatar_server(manners) as server, client_of(server) as client:
        utterance = await client.speak(bytes(1_280))
        with pytest.raises(SpeechRefused):
            await utterance
        refusal.details["reason"] = "utterance_over"
        unknown = await client.speak(bytes(1_280))  # as if it had been lost on its way
        async with asyncio.timeout(10):
            await client.interrupt()
            assert (await unknown).interrupted


async def test_a_watcher_that_reconnects_watches_the_same_session():
    manners = Manners(stops_after_frames=3)
    session_id = str(uuid.uuid4())
    async with (
        fake_avatar_server(manners) as server,
        AvatarClient.watch(server, "me", session_id, "token", reconnects=True) as client,
    ):
        assert await take(client, 1, Resumed)
    inits = [message for message in manners.received if isinstance(message, Init)]
    assert len(inits) > 1
    assert {(init.session_id, init.data.watch_token) for init in inits} == {(session_id, "token")}


@asynccontextmanager
async def network_before(server: str):
    """A way to a server; its address, and what lets all that is on it now vanish without a word."""
    ways: list[asyncio.Event] = []

    async def pump(reader, writer, is_gone):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                if not is_gone.is_set():
                    writer.write(data)
        writer.close()

    async def carry(reader, writer):
        ways.append(is_gone := asyncio.Event())
        far_reader, far_writer = await asyncio.open_connection(*server[5:].split(":"))
        await asyncio.gather(pump(reader, far_writer, is_gone), pump(far_reader, writer, is_gone))

    def vanish():
        for way in ways:
            way.set()

    async with await asyncio.start_server(carry, "127.0.0.1", 0) as way:
        yield f"ws://127.0.0.1:{way.sockets[0].getsockname()[1]}", vanish


async def test_a_connection_that_dies_without_a_word_is_replaced(monkeypatch):
    monkeypatch.setattr("talking_avatar.connection.SILENCE_S", 0.8)
    async with (
        fake_avatar_server() as server,
        network_before(server) as (address, vanish),
        AvatarClient(address, "me") as client,
    ):
        assert await take(client, 5)
        vanish()
        async with asyncio.timeout(10):
            assert await take(client, 1, Reopened)
            assert await take(client, 5)


async def test_a_silent_connection_that_answers_pings_is_kept(monkeypatch):
    monkeypatch.setattr("talking_avatar.connection.SILENCE_S", 0.4)
    manners = Manners(pauses_at_frame=5, pause_s=1.5)
    async with fake_avatar_server(manners) as server, client_of(server) as client:
        async with asyncio.timeout(10):
            assert len(await take(client, 10)) == 10


async def test_events_that_nobody_takes_any_more_are_not_kept_without_end():
    queue = EventQueue()
    queue.publish(Frame(b"", 0, is_keyframe=True))
    first = queue.events()
    await anext(first)
    for number in range(5_000):
        queue.publish(SpeechFinished(str(number), 40, interrupted=False))
        queue.publish(Frame(b"", 40 * number, is_keyframe=number % 25 == 0))
    queue.end(Closed("closed", 1000))
    left = [event async for event in queue.events()]
    assert left[-1] == Closed("closed", 1000)
    ids = [event.utterance_id for event in left if isinstance(event, SpeechFinished)]
    assert ids == [str(number) for number in range(5_000 - len(ids), 5_000)]
    assert len(left) <= MAX_OTHERS
