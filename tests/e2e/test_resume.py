"""Sessions whose connection is lost, resumed over the wire: in one process, another, a new one."""

import asyncio
import base64
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psutil
import pytest
import websockets

from tests.e2e.conftest import Serve
from tests.e2e.talking import Server
from tests.media import assert_decodes

Message = dict[str, Any]
SECOND = b"\x20\x01\xe0\xfe" * 8_000


class Client:
    """One session of version 1.2 over several connections."""

    def __init__(self, server: Server, user_id: str = "ann") -> None:
        self.uri = f"{server.address}/musetalk/v1/ws/{user_id}"
        self.user_id = user_id
        self.session_id = str(uuid.uuid4())
        self.token = ""
        self.frames: list[Message] = []
        self.started: list[str] = []
        self.finished: list[Message] = []
        self.socket: websockets.ClientConnection | None = None

    @asynccontextmanager
    async def connected(
        self, *, names_session: bool = False, **init: object
    ) -> AsyncIterator[Message]:
        """A connection, as long as it is needed; then it is lost without a farewell."""
        uri = f"{self.uri}?session={self.session_id}" if names_session else self.uri
        async with websockets.connect(uri, max_size=None) as self.socket:
            if self.token:
                init |= {"resume_token": self.token, **self.state()}
            await self.send("INIT", user_id=self.user_id, protocol_version="1.2", **init)
            try:
                answer = await asyncio.wait_for(self.next("INIT_SUCCESS", "ERROR"), 10)
                if answer["type"] == "INIT_SUCCESS":
                    self.token = answer["data"]["resume"]["token"]
                yield answer
            finally:
                self.socket.transport.abort()

    def state(self) -> dict[str, object]:
        fields: dict[str, object] = {}
        if self.frames:
            fields["last_frame_timestamp"] = self.frames[-1]["frame_timestamp"]
        if spoken := [f for f in self.frames if "audio_timestamp" in f]:
            fields["acknowledged_ms"] = spoken[-1]["audio_timestamp"]
        return fields

    async def send(self, type_: str, **data: object) -> None:
        assert self.socket is not None
        message = {"type": type_, "session_id": self.session_id, "data": data}
        await self.socket.send(json.dumps(message))

    async def speak(self, pcm: bytes, utterance_id: str) -> None:
        for at in range(0, len(pcm), 12_800):
            data = base64.b64encode(pcm[at : at + 12_800]).decode()
            fields = {"format": "pcm_s16le", "sample_rate": 16_000, "channels": 1, "data": data}
            await self.send(
                "GENERATE", audio_chunk={"duration_ms": 400, **fields}, utterance_id=utterance_id
            )

    async def next(self, *types: str) -> Message:
        """The next message of one of these types; all that comes is taken note of."""
        assert self.socket is not None
        while True:
            message: Message = json.loads(await self.socket.recv())
            match message["type"]:
                case "VIDEO_FRAME":
                    self.frames.append(message["data"])
                case "SPEECH_STARTED":
                    self.started.append(message["data"]["utterance_id"])
                case "SPEECH_FINISHED":
                    self.finished.append(message["data"])
            if message["type"] in types:
                return message

    async def see(self, count: int) -> None:
        for _ in range(count):
            await asyncio.wait_for(self.next("VIDEO_FRAME"), 10)

    async def see_finish(self) -> None:
        await asyncio.wait_for(self.next("SPEECH_FINISHED"), 20)

    def check(self, speech_ms: int) -> None:
        """Time never went back, all speech was seen once, and everything decodes."""
        times = [f["frame_timestamp"] for f in self.frames]
        assert times == sorted(set(times))
        spoken = [f["audio_timestamp"] for f in self.frames if "audio_timestamp" in f]
        assert spoken == list(range(0, speech_ms, 40))
        units = [base64.b64decode(f["frame_data"]) for f in self.frames]
        assert len(assert_decodes(units)) == len(units)


async def test_speech_continues_where_the_client_saw_it_last(server: Server) -> None:
    client = Client(server)
    async with client.connected():
        await client.see(3)
        await client.speak(SECOND * 2, "one")
        await client.next("SPEECH_STARTED")
        await client.see(10)
    await asyncio.sleep(0.5)
    lost_s = time.monotonic()
    async with client.connected(utterance_id="one") as answer:
        assert answer["data"]["resumed"] is True
        assert answer["data"]["next_audio_ms"] == 2_000, "all of it had come"
        await client.see(1)
        assert client.frames[-1]["keyframe"] is True
        assert time.monotonic() - lost_s < 2
        await client.see_finish()
    client.check(2_000)
    assert client.started == ["one"]
    assert [(f["utterance_id"], f["played_ms"], f["interrupted"]) for f in client.finished] == [
        ("one", 2_000, False)
    ]


async def test_a_connection_that_hangs_is_replaced(server: Server) -> None:
    client = Client(server)
    async with client.connected():
        await client.see(3)
        older = client.socket
        assert older is not None
        async with client.connected() as answer:
            assert answer["data"]["resumed"] is True
            await client.see(5)
            with contextlib.suppress(websockets.ConnectionClosedError):
                async for message in older:
                    last = json.loads(message)
            assert last["type"] == "CLOSE_ACK"
            assert older.close_code == 4409


async def test_a_token_is_good_once_and_for_its_own_session(server: Server) -> None:
    client, other = Client(server), Client(server, "bob")
    async with client.connected():
        await client.see(1)
        first = client.token
    async with client.connected():
        await client.see(1)
    newest, client.token = client.token, first
    async with client.connected() as answer:
        assert answer["data"]["code"] == "INVALID_SESSION"
    client.token = newest[:-1] + ("A" if newest[-1] != "A" else "B")
    async with client.connected() as answer:
        assert answer["data"]["code"] == "INVALID_SESSION"
    other.session_id, other.token = client.session_id, newest
    async with other.connected() as answer:
        assert answer["data"]["code"] == "INVALID_SESSION"
    client.token = newest
    async with client.connected(last_frame_timestamp=10_000_000) as answer:
        client_state = answer["data"]
    async with client.connected() as answer:
        assert answer["data"]["resumed"] is True, client_state


@pytest.mark.lasting
async def test_a_client_that_does_not_come_back_is_forgotten(share: Serve) -> None:
    server = share(RESUME_S="1")
    client = Client(server)
    async with client.connected():
        await client.see(1)

    def listed() -> bool:
        return client.session_id in json.loads(server.get("/sessions")[1])["active_sessions"]

    assert await asyncio.to_thread(listed)
    await asyncio.sleep(2)
    assert not await asyncio.to_thread(listed)
    async with client.connected() as answer:  # as after the end of its process
        assert answer["data"]["resumed"] is True
        await client.see(1)
    client.check(0)


async def test_a_session_that_was_closed_is_not_resumed(server: Server) -> None:
    client = Client(server)
    async with client.connected():
        await client.see(1)
        assert client.socket is not None
        await client.socket.close()
    assert client.session_id not in json.loads(server.get("/sessions")[1])["active_sessions"]


COUNT = 2


@pytest.fixture
def many(share: Serve) -> Server:
    return share(PROCESSES=str(COUNT))


@pytest.mark.parametrize("names_session", [True, False])
async def test_in_whichever_process_the_client_comes_back(
    many: Server, names_session: bool
) -> None:
    for number in range(COUNT + 1):
        client = Client(many, f"user{number}")
        async with client.connected():
            await client.speak(SECOND, "one")
            await client.next("SPEECH_STARTED")
            await client.see(5)
        async with client.connected(names_session=names_session, utterance_id="one") as answer:
            assert answer["data"]["resumed"] is True
            if names_session:
                assert answer["data"]["next_audio_ms"] == 1_000
            await client.speak(SECOND[answer["data"]["next_audio_ms"] * 32 :], "one")
            await client.see_finish()
        client.check(1_000)


async def test_a_process_that_is_killed_costs_no_speech(many: Server) -> None:
    client = Client(many)
    async with client.connected():
        await client.see(5)
        await client.speak(SECOND * 2, "one")
        await client.next("SPEECH_STARTED")
        await client.see(10)
        sessions = json.loads(many.get("/sessions")[1])["active_sessions"]
        victim = int(str(sessions[client.session_id]["worker"]).rpartition(":")[2])
        psutil.Process(victim).kill()
        killed_s = time.monotonic()
        with pytest.raises(websockets.ConnectionClosed):
            await client.see(200)
    async with client.connected(names_session=True, utterance_id="one") as answer:
        assert answer["data"]["resumed"] is True
        next_ms = answer["data"]["next_audio_ms"]
        await client.speak((SECOND * 2)[next_ms * 32 :], "one")
        await client.see(1)
        assert time.monotonic() - killed_s < 3
        await client.see_finish()
    client.check(2_000)
    assert [f["utterance_id"] for f in client.finished] == ["one"]
