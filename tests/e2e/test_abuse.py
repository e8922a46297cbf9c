"""Whatever one client does, it gets an error, the server lives, and nobody else notices.

Each test abuses the server on one connection while another client watches its own stream. The
watcher's frames must be whole and exact; about time the last test alone says something, and
compares the stream with itself.
"""

import asyncio
import base64
import contextlib
import json
import socket
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from talking_avatar import AvatarClient
from talking_avatar.measurement import lateness_s
from tests.e2e.wire import raw_client
from tests.media import assert_decodes, assert_pts_contiguous

pytestmark = pytest.mark.slow


@asynccontextmanager
async def undisturbed(server):
    """Another client's stream, which must be whole while the block runs; gives its frames."""
    frames, news = [], asyncio.Event()
    async with AvatarClient(server.address, "bystander") as client:

        async def watch():
            async for frame in client.frames():
                frames.append(frame)
                news.set()

        async def more(count):
            wanted = len(frames) + count
            async with asyncio.timeout(10):
                while len(frames) < wanted:
                    news.clear()
                    await news.wait()

        watching = asyncio.create_task(watch())
        try:
            await more(5)
            yield frames
            await more(10)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    assert_pts_contiguous([frame.timestamp_ms for frame in frames])
    assert_decodes(frame.data for frame in frames)


def deep(levels, opening="[", closing="]"):
    return opening * levels + closing * levels


def message(type_="GENERATE", data="{}"):
    return f'{{"type": "{type_}", "session_id": SESSION, "data": {data}}}'


def chunk(data='"AAA="', sound_format='"pcm_s16le"', rate="16000", channels="1"):
    fields = (
        f'"format": {sound_format}, "sample_rate": {rate}, "channels": {channels}, "data": {data}'
    )
    return message(data=f'{{"audio_chunk": {{{fields}}}}}')


WRONG = {
    "empty": "",
    "not JSON": "hello",
    "half JSON": '{"type": "INIT"',
    "a list": "[]",
    "a number": "1e999",
    "null": "null",
    "deep lists": deep(20_000),
    "deep objects": deep(10_000, '{"a":', "}"),
    "deep inside": message(data=deep(15_000)),
    "NaN": message(data='{"audio_chunk": NaN}'),
    "infinity": chunk(rate="Infinity"),
    "huge number": chunk(rate="9" * 5_000),
    "lone surrogate as type": '{"type": "\\ud800", "data": {}}',
    "lone surrogate as clip": message(
        "STATE_CHANGE", '{"target_state": "idle", "base_video": "\\udfff"}'
    ),
    "nul in a name": message("STATE_CHANGE", '{"target_state": "idle", "base_video": "\\u0000"}'),
    "no type": '{"data": {}}',
    "type is a list": '{"type": ["INIT"], "data": {}}',
    "type is an object": '{"type": {"INIT": 1}, "data": {}}',
    "unknown type": message("DANCE"),
    "data is a string": message(data='"x"'),
    "data is null": message(data="null"),
    "no chunk": message(),
    "chunk is a list": message(data='{"audio_chunk": [1, 2]}'),
    "base64 garbage": chunk('"!!!!"'),
    "base64 cut": chunk('"AAA"'),
    "base64 is a number": chunk("12"),
    "odd bytes": chunk(json.dumps(base64.b64encode(b"abc").decode())),
    "no bytes": chunk('""'),
    "too much speech": chunk(json.dumps(base64.b64encode(bytes(320_002)).decode())),
    "wrong format": chunk(sound_format='"mp3"'),
    "wrong rate": chunk(rate="11025"),
    "rate as text": chunk(rate='"16000"'),
    "wrong channels": chunk(channels="3"),
    "channels as bool": chunk(channels="true"),
    "unknown state": message("STATE_CHANGE", '{"target_state": "dancing"}'),
    "unknown clip": message("STATE_CHANGE", '{"target_state": "idle", "base_video": "idle_99"}'),
    "a path as clip": message("STATE_CHANGE", '{"target_state": "idle", "base_video": "../../x"}'),
    "action 3": message("ACTION", '{"action_index": 3}'),
    "action as text": message("ACTION", '{"action_index": "1"}'),
    "no action": message("ACTION"),
    "two actions": message("ACTION", '{"action_index": 1, "action_type": "action_1"}'),
    "large": message(data=json.dumps({"x": "y" * 100_000})),
    "binary": b"\x00\x01\x02",
    "binary JSON": b'{"type": "INIT"}',
}


async def test_wrong_messages_are_reported_and_the_session_continues(server):
    async with undisturbed(server), raw_client(server.address, "mallory") as client:
        await client.open("mallory")
        for name, wrong in WRONG.items():
            if isinstance(wrong, str):
                wrong = wrong.replace("SESSION", json.dumps(client.session_id))
            await client.socket.send(wrong)
            answer = await client.hear_one("ERROR")
            assert answer["data"]["code"] == "INVALID_MESSAGE", (name, answer)
            assert len(answer["data"]["message"]) > 10, (name, answer)
        await client.hear_frames(3)


async def test_before_init_and_with_another_session_nothing_is_done(server):
    async with undisturbed(server), raw_client(server.address, "mallory") as client:
        for type_ in ("GENERATE", "STATE_CHANGE", "ACTION", "INTERRUPT"):
            data = {
                "GENERATE": '{"audio_chunk": {"format": "pcm_s16le", "sample_rate": 16000, '
                '"channels": 1, "data": "AAA="}}',
                "STATE_CHANGE": '{"target_state": "idle"}',
                "ACTION": '{"action_index": 1}',
                "INTERRUPT": "{}",
            }[type_]
            await client.socket.send(message(type_, data).replace("SESSION", "null"))
            answer = await client.next()
            assert (answer["type"], answer["session_id"]) == ("ERROR", None)
            assert answer["data"]["code"] == "INVALID_SESSION"
        own_id = client.session_id
        await client.open("mallory")
        client.session_id = "00000000-0000-4000-8000-000000000000"
        await client.send("INTERRUPT")
        assert (await client.hear_one("ERROR"))["data"]["code"] == "INVALID_SESSION"
        client.session_id = own_id
        await client.send("INIT", user_id="mallory")
        assert (await client.hear_one("ERROR"))["data"]["code"] == "INVALID_SESSION"


async def test_another_users_session_cannot_be_taken(server):
    async with raw_client(server.address, "victim") as victim:
        await victim.open("victim")
        async with raw_client(server.address, "mallory") as mallory:
            mallory.session_id = victim.session_id
            await mallory.send("INIT", user_id="mallory")
            assert (await mallory.hear_one("ERROR"))["data"]["code"] == "INVALID_SESSION"
        await victim.hear_frames(5)


async def test_huge_messages_close_one_connection_only(server):
    async with undisturbed(server), raw_client(server.address, "mallory") as client:
        await client.open("mallory")
        with contextlib.suppress(ConnectionClosed):
            await client.socket.send("x" * 5_000_000)
        await client.socket.wait_closed()
        assert client.socket.close_code == 1009


@pytest.mark.parametrize(
    "path",
    [
        "/musetalk/v1/ws/mallory%0a",
        "/musetalk/v1/ws/",
        "/musetalk/v1/ws/a/b",
        "/musetalk/v1/ws/" + "a" * 65,
        "/musetalk/v1/ws/..%2f..",
        "/musetalk/v1/ws/%F0%9F%98%80",
        "/musetalk/v2/ws/mallory",
        "/",
        "/health",
    ],
)
async def test_other_paths_are_refused_at_once(server, path):
    with pytest.raises(InvalidStatus) as refused:
        async with connect(server.address + path, proxy=None, open_timeout=5):
            pass
    assert refused.value.response.status_code == 403


async def test_a_user_id_unlike_the_paths_is_refused(server):
    async with raw_client(server.address, "mallory") as client:
        await client.send("INIT", user_id="admin")
        assert (await client.hear_one("ERROR"))["data"]["code"] == "INVALID_MESSAGE"


async def test_too_much_speech_is_refused_chunk_by_chunk(server):
    second = base64.b64encode(bytes(32_000)).decode()
    async with undisturbed(server), raw_client(server.address, "mallory") as client:
        await client.open("mallory")
        for _ in range(80):
            await client.speak(base64.b64decode(second), 32_000)
        answer = (await client.hear_one("ERROR"))["data"]
        assert answer["code"] == "RATE_LIMIT_EXCEEDED"
        assert answer["details"]["queued_ms"] <= answer["details"]["limit_ms"]
        await client.send("INTERRUPT")
        dropped_ms = (await client.hear_one("INTERRUPTED", limit=600))["data"]["dropped_ms"]
        assert 50_000 < dropped_ms <= 61_000


async def test_half_open_and_half_spoken_connections(server):
    host, port = urlsplit(server.address).netloc.split(":")
    async with undisturbed(server):
        sockets = []
        for opening in (
            b"",
            b"GET /musetalk/v1/ws/mallory HTTP/1.1\r\n",
            b"GET /musetalk/v1/ws/mallory HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00",
            b"NONSENSE\r\n\r\n",
        ) * 5:
            half = socket.create_connection((host, int(port)))
            half.sendall(opening)
            sockets.append(half)
        for number in range(5):
            async with raw_client(server.address, f"mallory{number}") as client:
                await client.open(f"mallory{number}")
                await client.hear_frames(2)
                client.socket.transport.abort()
        await asyncio.sleep(1.0)
        for half in sockets:
            half.close()


@pytest.mark.lasting
async def test_a_flood_does_not_disturb_another(server):
    """10,000 messages a second for some seconds; the bystander is compared with itself before."""

    async def flood(seconds):
        sent, loop = 0, asyncio.get_running_loop()
        async with raw_client(server.address, "mallory") as client:
            await client.open("mallory")
            reading = asyncio.create_task(client.hear_one("never", limit=10**6))
            text = json.dumps({"type": "PONG", "session_id": client.session_id, "data": {}})
            began_s = loop.time()
            while (passed_s := loop.time() - began_s) < seconds:
                for _ in range(200):
                    await client.socket.send(text)
                sent += 200
                await asyncio.sleep(max(0.0, sent / 10_000 - passed_s))
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        return sent

    async with undisturbed(server) as frames:
        await asyncio.sleep(3.0)
        quiet = len(frames)
        sent = await flood(3.0)
    late_ms = np.array(lateness_s([f.timestamp_ms for f in frames], [f.received_s for f in frames]))
    late_ms *= 1_000
    assert sent > 5_000
    before_ms, during_ms = np.percentile(late_ms[:quiet], 90), np.percentile(late_ms[quiet:], 90)
    # Both processes and the flood share this machine's cores, so the slack is generous; a server
    # that works the flood off before it sends pictures would be late by seconds.
    assert during_ms < before_ms + 500
