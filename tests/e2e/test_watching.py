"""Watching a session of a real server: pictures decode, the sound is what was sent."""

import asyncio
import base64
import contextlib
import json
import socket
import struct
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
import websockets

from tests.e2e.conftest import Serve, Start
from tests.e2e.talking import CLOSE_TIMEOUT_S, Server
from tests.media import assert_decodes

pytestmark = [pytest.mark.slow, pytest.mark.lasting]

Message = dict[str, Any]
RATE = 24_000
SECONDS = 3
USER = "host"


def speech() -> bytes:
    """Three seconds of a tone that swells, at 24 kHz: no piece of it equals another."""
    time_s = np.arange(RATE * SECONDS) / RATE
    wave = np.sin(2 * np.pi * 180 * time_s) * np.sin(2 * np.pi * 2.3 * time_s) * 9_000 + time_s * 50
    return wave.astype("<i2").tobytes()


class Client:
    """One connection to a session, and all that came over it."""

    def __init__(self, connection: websockets.ClientConnection, session_id: str) -> None:
        self.connection = connection
        self.session_id = session_id
        self.messages: list[Message] = []
        self.units: list[bytes] = []
        self.times: list[int] = []
        self.sound: dict[int, bytes] = {}
        """By the ``audio_timestamp`` of its frame."""
        self.rates: set[int] = set()

    async def send(self, type_: str, **data: object) -> None:
        message = {"type": type_, "session_id": self.session_id, "data": data}
        await self.connection.send(json.dumps(message))

    async def next(self) -> Message:
        received = await asyncio.wait_for(self.connection.recv(), 10)
        message = self._unpack(received) if isinstance(received, bytes) else json.loads(received)
        if message["type"] == "VIDEO_FRAME":
            data = message["data"]
            self.times.append(data["frame_timestamp"])
            self.units.append(base64.b64decode(data["frame_data"]))
            if "audio" in data:
                self.sound[data["audio_timestamp"]] = base64.b64decode(data["audio"]["data"])
                self.rates.add(data["audio"]["sample_rate"])
        else:
            self.messages.append(message)
        return message

    @staticmethod
    def _unpack(packed: bytes) -> Message:
        _, _, flags, sound_bytes, timestamp, spoken = struct.unpack_from(">BBHIQQ", packed)
        data: Message = {"frame_timestamp": timestamp, "audio_timestamp": spoken}
        rest = packed[24:]
        if flags & 4:
            rate, sound, rest = rest[:4], rest[4 : 4 + sound_bytes], rest[4 + sound_bytes :]
            data["audio"] = {
                "sample_rate": int.from_bytes(rate, "big"),
                "data": base64.b64encode(sound),
            }
        return {"type": "VIDEO_FRAME", "data": {**data, "frame_data": base64.b64encode(rest)}}

    async def until(self, type_: str) -> Message:
        while (message := await self.next())["type"] != type_:
            is_late = message["data"].get("details") == {"reason": "engine_late"}  # a busy machine
            assert message["type"] != "ERROR" or is_late, message
        return message

    async def see(self, count: int) -> None:
        for _ in range(count):
            await self.until("VIDEO_FRAME")

    def check(self) -> None:
        """Every picture decodes. On a busy machine some may be missing, up to an IDR."""
        assert self.times == sorted(set(self.times))
        assert_decodes(self.units)

    @property
    def is_whole(self) -> bool:
        return self.times[-1] - self.times[0] == (len(self.times) - 1) * 40


@asynccontextmanager
async def connected(
    address: str, session_id: str, *, is_binary: bool = False, names_session: bool = True
) -> AsyncIterator[Client]:
    uri = f"{address}/musetalk/v1/ws/{USER}"
    uri += f"?session={session_id}" if names_session else ""
    offered = [websockets.Subprotocol("musetalk.v1.binary")] if is_binary else None
    async with websockets.connect(
        uri, max_size=None, subprotocols=offered, close_timeout=CLOSE_TIMEOUT_S
    ) as connection:
        yield Client(connection, session_id)


@asynccontextmanager
async def owned(address: str) -> AsyncIterator[tuple[Client, str]]:
    """A session that may be watched, and its token."""
    async with connected(address, str(uuid.uuid4()), names_session=False) as owner:
        await owner.send("INIT", user_id=USER, protocol_version="1.2", allow_watchers=True)
        opened = await owner.until("INIT_SUCCESS")
        yield owner, opened["data"]["watch"]["token"]


@asynccontextmanager
async def watching(
    address: str, owner: Client, token: str, *, is_binary: bool = False, **data: object
) -> AsyncIterator[Client]:
    async with connected(address, owner.session_id, is_binary=is_binary) as watcher:
        await watcher.send("INIT", user_id=USER, role="watch", watch_token=token, **data)
        await watcher.until("INIT_SUCCESS")
        yield watcher


async def speak(owner: Client, pcm: bytes, utterance_id: str) -> None:
    for at in range(0, len(pcm), 20_000):
        chunk = {"format": "pcm_s16le", "sample_rate": RATE, "channels": 1}
        chunk["data"] = base64.b64encode(pcm[at : at + 20_000]).decode()
        await owner.send("GENERATE", audio_chunk=chunk, utterance_id=utterance_id)
    await owner.send("END_OF_SPEECH", utterance_id=utterance_id)


async def test_watchers_see_what_is_shown_and_hear_what_was_sent(server: Server) -> None:
    address, pcm = server.address, speech()
    async with (
        owned(address) as (owner, token),
        watching(address, owner, token) as plain,
        watching(address, owner, token, is_binary=True) as packed,
        watching(address, owner, token, receive=["video"]) as silent,
    ):
        everybody = (owner, plain, packed, silent)
        await asyncio.gather(*(one.see(5) for one in everybody))
        await speak(owner, pcm, "one")
        await asyncio.gather(*(one.until("SPEECH_FINISHED") for one in (owner, plain, packed)))
        async with watching(address, owner, token, is_binary=True) as late:
            await asyncio.gather(*(one.see(30) for one in (*everybody, late)))
            late.check()
        await owner.send("CLOSE")
        for one in (plain, packed, silent):
            assert (await one.until("CLOSE_ACK"))["data"] == {"reason": "session_ended"}
            with contextlib.suppress(websockets.ConnectionClosedOK):
                await one.connection.recv()
            assert one.connection.close_code == 1000
    for one in everybody:
        one.check()
    for one in (plain, packed):
        for spoken, sound in one.sound.items():
            begin = spoken * RATE // 1_000 * 2
            assert sound == pcm[begin : begin + len(sound)], "sample by sample"
        assert len(one.sound) > SECONDS * 25 / 2
        if one.is_whole:
            assert b"".join(one.sound.values()) == pcm
        assert one.rates == {RATE}
        kinds = [m["type"] for m in one.messages if m["type"].startswith("SPEECH")]
        assert kinds == ["SPEECH_STARTED", "SPEECH_FINISHED"]
    assert owner.sound == silent.sound == {}
    shown = dict(zip(owner.times, owner.units, strict=True))
    for one in (plain, packed, silent):
        both = [time for time in one.times if time in shown]
        assert len(both) > SECONDS * 25 / 2
        seen = dict(zip(one.times, one.units, strict=True))
        assert all(seen[time] == shown[time] for time in both)


async def test_one_that_stops_reading_disturbs_nobody(server: Server) -> None:
    address = server.address
    host, port = address.removeprefix("ws://").split(":")
    async with (
        owned(address) as (owner, token),
        watching(address, owner, token) as watcher,
    ):
        # By hand: a library would read ahead.
        stuck = socket.create_connection((host, int(port)))
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        with contextlib.closing(stuck):
            await asyncio.to_thread(_watch_by_hand, stuck, host, owner.session_id, token)
            before = server.process.memory_bytes()
            async with asyncio.timeout(20):
                await asyncio.gather(owner.see(250), watcher.see(250))
            grown = server.process.memory_bytes() - before
            owner.check()
            watcher.check()
            assert grown < 8_000_000, "ten seconds of frames would be more"
        await asyncio.gather(owner.see(5), watcher.see(5))


def _watch_by_hand(stuck: socket.socket, host: str, session_id: str, token: str) -> None:
    stuck.sendall(
        f"GET /musetalk/v1/ws/{USER} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    assert b" 101 " in stuck.recv(4_096)
    data = {"user_id": USER, "role": "watch", "watch_token": token}
    text = json.dumps({"type": "INIT", "session_id": session_id, "data": data}).encode()
    header = struct.pack(">BBH", 0x81, 0x80 | 126, len(text))  # the mask is zero
    stuck.sendall(header + bytes(4) + text)
    assert b"INIT_SUCCESS" in stuck.recv(4_096)


@pytest.fixture
def two_processes(share: Serve) -> Server:
    return share(PROCESSES="2")


async def test_the_address_leads_to_the_process_of_the_session(two_processes: Server) -> None:
    address = f"ws://127.0.0.1:{two_processes.port}"
    for _ in range(3):
        async with (
            owned(address) as (owner, token),
            watching(address, owner, token) as one,
            watching(address, owner, token) as other,
        ):
            await asyncio.gather(*(client.see(10) for client in (owner, one, other)))
            one.check()


async def test_gateways_of_several_machines_relay_a_session_over_redis(
    start: Start, serve: Serve, redis_url: str
) -> None:
    shared = {"CHANNEL_REDIS_URL": redis_url, "SECRET_KEY": "one of all machines"}
    start("manage.py", "runworker", "inference", **shared).wait_for("takes sessions")
    machines = [serve("--no-worker", **shared) for _ in range(3)]
    here, there, elsewhere = (f"ws://127.0.0.1:{machine.port}" for machine in machines)
    pcm = speech()
    async with (
        owned(here) as (owner, token),
        watching(there, owner, token) as one,
        watching(there, owner, token, is_binary=True) as packed,
        watching(elsewhere, owner, token) as other,
    ):
        everybody = (owner, one, packed, other)
        await asyncio.gather(*(client.see(5) for client in everybody))
        await speak(owner, pcm, "one")
        await asyncio.gather(*(client.until("SPEECH_FINISHED") for client in everybody))
        await asyncio.gather(*(client.see(10) for client in everybody))
        await owner.send("CLOSE")
        for client in (one, packed, other):
            assert (await client.until("CLOSE_ACK"))["data"] == {"reason": "session_ended"}
    for client in everybody:
        client.check()
    for client in (one, packed, other):
        assert len(client.sound) > SECONDS * 25 / 2
        for spoken, sound in client.sound.items():
            begin = spoken * RATE // 1_000 * 2
            assert sound == pcm[begin : begin + len(sound)], "sample by sample"
        if client.is_whole:
            assert b"".join(client.sound.values()) == pcm
    async with connected(there, str(uuid.uuid4())) as stranger:
        await stranger.send("INIT", user_id=USER, role="watch", watch_token=token)
        refused = await stranger.next()
        assert (refused["type"], refused["data"]["code"]) == ("ERROR", "INVALID_SESSION")
    for machine in machines:
        assert await asyncio.to_thread(machine.process.end) == 0
        assert "Traceback" not in machine.process.output, machine.process.output[-3_000:]
        assert "was destroyed" not in machine.process.output, machine.process.output[-3_000:]


async def test_so_many_may_watch_a_session_on_all_machines_together(
    start: Start, serve: Serve, redis_url: str
) -> None:
    shared = {"CHANNEL_REDIS_URL": redis_url, "SECRET_KEY": "one of all machines"}
    start("manage.py", "runworker", "inference", **shared).wait_for("takes sessions")
    machines = [serve("--no-worker", MAX_WATCHERS="2", **shared) for _ in range(2)]
    here, there = (f"ws://127.0.0.1:{machine.port}" for machine in machines)
    async with (
        owned(here) as (owner, token),
        watching(here, owner, token) as one,
        watching(there, owner, token) as two,
    ):
        for address in (here, there):
            async with connected(address, owner.session_id) as third:
                await third.send("INIT", user_id=USER, role="watch", watch_token=token)
                refused = (await third.next())["data"]
                assert refused["code"] == "RATE_LIMIT_EXCEEDED"
                assert refused["details"]["reason"] == "watchers"
                assert refused["details"]["retry_after_ms"] > 0
        await asyncio.gather(one.see(5), two.see(5))
        await two.send("CLOSE")
        await two.until("CLOSE_ACK")
        async with watching(here, owner, token) as three:
            await three.see(5)
