"""``python -m benchmarks.watchers [--watchers 100] [--seconds 20] [--binary]``

One session speaks without a pause, and many watch it with sound: how late do frames come to them,
and what does a frame of a watcher cost the server? Then one of them stops reading: do the others
notice? What the server costs without watchers is measured first, and taken off.

The watchers live in this process, and share the machine's cores with the server. So that they cost
little, they read WebSocket frames by hand and look at the time of a frame only.
"""

import argparse
import asyncio
import json
import os
import re
import socket
import sys
import time
import uuid
from base64 import b64encode
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import websockets

from benchmarks.server import Server, add_server_arguments, judge_server
from benchmarks.speech import FRAME_BYTES, Speech, speech
from benchmarks.verdict import Verdict
from inference.timing import FRAME_MS, FRAME_S, SAMPLE_RATE_HZ
from streaming.protocol.address import STREAM_PREFIX
from streaming.protocol.binary import BINARY_SUBPROTOCOL, HEADER
from talking_avatar.measurement import Spread, lateness_s

WANTED = 100
LATENESS_MS = 20.0
CPU_MS = 0.15
WARM_UP_S = 3.0
JOINS_PER_S = 50
_TIMESTAMP = re.compile(rb'"frame_timestamp":(\d+)')
_AHEAD_FRAMES = 50


class WatcherConnection(asyncio.Protocol):
    """One watcher: notes when each frame came."""

    def __init__(self, request: bytes, init: bytes, *, is_binary: bool) -> None:
        self._request = request
        self._init = init
        self._is_binary = is_binary
        self._buffer = bytearray()
        self._is_open = False
        self.is_lost = False
        self.times_ms: list[int] = []
        self.received_s: list[float] = []
        self.payload_bytes = 0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True

    def data_received(self, data: bytes) -> None:
        assert self.transport is not None
        self._buffer += data
        if not self._is_open:
            head, separator, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            if not separator:
                return
            if b" 101 " not in head:
                raise SystemExit(f"the server refused a watcher: {head[:200]!r}")
            self._is_open = True
            self._buffer = bytearray(rest)
            self.transport.write(_text_frame(self._init))
        while (message := self._next_message()) is not None:
            self._receive(message)

    def _next_message(self) -> tuple[int, bytes] | None:
        """Opcode and payload; the server neither masks nor splits what it sends (RFC 6455, 5.2)."""
        buffer = self._buffer
        if len(buffer) < 10:
            return None
        length, begin = buffer[1], 2
        if length == 126:
            length, begin = int.from_bytes(buffer[2:4], "big"), 4
        elif length == 127:
            length, begin = int.from_bytes(buffer[2:10], "big"), 10
        if len(buffer) < begin + length:
            return None
        message = buffer[0] & 15, bytes(buffer[begin : begin + length])
        del buffer[: begin + length]
        return message

    def _receive(self, message: tuple[int, bytes]) -> None:
        now_s = time.monotonic()
        opcode, payload = message
        if opcode == 2 and self._is_binary:
            self._add(HEADER.unpack_from(payload)[4], now_s, len(payload))
        elif opcode == 1:
            if payload.startswith(b'{"type":"ERROR"'):
                raise SystemExit(f"a watcher was refused: {payload.decode()}")
            if payload.startswith(b'{"type":"VIDEO_FRAME"'):
                found = _TIMESTAMP.search(payload)
                assert found is not None, "every frame has a time"
                self._add(int(found[1]), now_s, len(payload))

    def _add(self, time_ms: int, now_s: float, size_bytes: int) -> None:
        self.times_ms.append(time_ms)
        self.received_s.append(now_s)
        self.payload_bytes += size_bytes

    def forget(self) -> None:
        """Measure from here on."""
        self.times_ms, self.received_s, self.payload_bytes = [], [], 0

    @property
    def missing(self) -> int:
        return sum((b - a) // FRAME_MS - 1 for a, b in pairwise(self.times_ms))


def _text_frame(payload: bytes) -> bytes:
    """Return a masked text frame of 126 to 65,535 bytes; the mask is zero."""
    return bytes([0x81, 0x80 | 126]) + len(payload).to_bytes(2, "big") + bytes(4) + payload


@dataclass(frozen=True, slots=True)
class Phase:
    """What one stretch of time was like."""

    frames: int
    lateness: Spread
    missing: int
    cpu_s: float | None
    grown_mb: float | None
    """By how much the server's memory grew."""
    client_cores: float
    bytes_a_frame: float


class Owner:
    """The session that speaks and is watched."""

    def __init__(self, connection: websockets.ClientConnection, session_id: str, user: str) -> None:
        self._connection = connection
        self.session_id = session_id
        self._user = user
        self.token = ""
        self.times_ms: list[int] = []
        self.received_s: list[float] = []

    async def send(self, type_: str, **data: object) -> None:
        message = {"type": type_, "session_id": self.session_id, "data": data}
        await self._connection.send(json.dumps(message))

    async def open(self) -> None:
        await self.send(
            "INIT",
            user_id=self._user,
            protocol_version="1.2",
            allow_watchers=True,
            receive=["video", "events"],
        )
        async for text in self._connection:
            message: dict[str, Any] = json.loads(text)
            if message["type"] == "INIT_SUCCESS":
                self.token = message["data"]["watch"]["token"]
                return
        raise SystemExit("the server opened no session")

    async def read(self) -> None:
        async for text in self._connection:
            if isinstance(text, str) and text.startswith('{"type":"VIDEO_FRAME"'):
                found = _TIMESTAMP.search(text.encode())
                assert found is not None, "every frame has a time"
                self.times_ms.append(int(found[1]))
                self.received_s.append(time.monotonic())

    async def speak(self, spoken: Speech) -> None:
        """One endless utterance, two seconds ahead of its time."""
        began_s = time.monotonic()
        frame = 0
        while True:
            pcm = spoken.part(frame, 1)
            chunk = {"format": "pcm_s16le", "sample_rate": SAMPLE_RATE_HZ, "channels": 1}
            assert len(pcm) == FRAME_BYTES
            await self.send("GENERATE", audio_chunk={**chunk, "data": b64encode(pcm).decode()})
            frame += 1
            due_s = began_s + (frame - _AHEAD_FRAMES) * FRAME_S
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))


async def join(address: str, owner: Owner, user: str, *, is_binary: bool) -> WatcherConnection:
    parts = urlsplit(address)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    subprotocol = f"Sec-WebSocket-Protocol: {BINARY_SUBPROTOCOL}\r\n" if is_binary else ""
    request = (
        f"GET {STREAM_PREFIX}{user}?session={owner.session_id} HTTP/1.1\r\n"
        f"Host: {parts.netloc}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{subprotocol}\r\n"
    )
    data = {"user_id": user, "role": "watch", "watch_token": owner.token}
    init = json.dumps({"type": "INIT", "session_id": owner.session_id, "data": data})
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: WatcherConnection(request.encode(), init.encode(), is_binary=is_binary), host, port
    )
    return connection


async def measure_phase(server: Server, watchers: list[WatcherConnection], seconds: float) -> Phase:
    for watcher in watchers:
        watcher.forget()
    cpu_s = server.tree.cpu_s() if server.tree else None
    memory_bytes = server.tree.memory_bytes() if server.tree else 0
    client_s, began_s = sum(os.times()[:2]), time.monotonic()
    await asyncio.sleep(seconds)
    took_s = time.monotonic() - began_s
    client_s = sum(os.times()[:2]) - client_s
    if cpu_s is not None and server.tree:
        cpu_s = server.tree.cpu_s() - cpu_s
    late_s = [late for w in watchers for late in lateness_s(w.times_ms, w.received_s)]
    frames = sum(len(w.times_ms) for w in watchers)
    return Phase(
        frames=frames,
        lateness=Spread.of(late_s) or Spread(0, *[0.0] * 4),
        missing=sum(watcher.missing for watcher in watchers),
        cpu_s=cpu_s,
        grown_mb=(server.tree.memory_bytes() - memory_bytes) / 1e6 if server.tree else None,
        client_cores=client_s / took_s,
        bytes_a_frame=sum(w.payload_bytes for w in watchers) / max(1, frames),
    )


def stop_reading(watcher: WatcherConnection) -> None:
    transport = watcher.transport
    assert transport is not None
    with suppress(OSError):
        raw: socket.socket = transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    transport.pause_reading()


async def measure(server: Server, options: argparse.Namespace) -> Verdict:
    form = "binary" if options.binary else "JSON"
    verdict = Verdict("watchers")
    spoken = speech()
    verdict.notes.append(
        f"1 speaker, {options.watchers} watchers with sound, {form}, "
        f"{options.seconds:g} s a phase, one client process, {spoken.source}"
    )
    session_id = str(uuid.uuid4())
    uri = f"{server.address}{STREAM_PREFIX}{options.user_id}"
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(
            websockets.connect(uri, compression=None, max_size=None, proxy=None)
        )
        owner = Owner(connection, session_id, options.user_id)
        await owner.open()
        tasks = [asyncio.create_task(owner.read()), asyncio.create_task(owner.speak(spoken))]
        await asyncio.sleep(WARM_UP_S)
        owner.times_ms, owner.received_s = [], []
        alone = await measure_phase(server, [], options.seconds)
        unwatched = Spread.of(lateness_s(owner.times_ms, owner.received_s))
        verdict.told(
            "lateness p99 before anybody watches", unwatched.p99_ms if unwatched else None, "ms"
        )
        watchers = []
        for _ in range(options.watchers):
            watchers.append(
                await join(server.address, owner, options.user_id, is_binary=options.binary)
            )
            await asyncio.sleep(1 / JOINS_PER_S)
        await asyncio.sleep(WARM_UP_S)
        together = await measure_phase(server, watchers, options.seconds)
        stop_reading(watchers[0])
        one_stuck = await measure_phase(server, watchers[1:], options.seconds)
        lost = sum(watcher.is_lost for watcher in watchers[1:])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for watcher in watchers:
            if watcher.transport is not None:
                watcher.transport.abort()
    judge(verdict, options, alone, together, one_stuck)
    verdict.none_of("watchers lost", lost)
    return verdict


def judge(
    verdict: Verdict, options: argparse.Namespace, alone: Phase, together: Phase, stuck: Phase
) -> None:
    cost_ms = None
    if together.cpu_s is not None and alone.cpu_s is not None:
        cost_ms = (together.cpu_s - alone.cpu_s) / max(1, together.frames) * 1_000
    due = options.watchers * options.seconds / FRAME_S
    verdict.at_least("watchers", WANTED, options.watchers)
    verdict.below("lateness p99", LATENESS_MS, together.lateness.p99_ms)
    verdict.told("lateness p50", together.lateness.p50_ms, "ms")
    verdict.told("lateness max", together.lateness.max_ms, "ms")
    verdict.at_most("server CPU, a watcher's frame", CPU_MS, cost_ms, "ms")
    verdict.told("server cores, all of it", (together.cpu_s or 0) / options.seconds)
    verdict.told("client cores", together.client_cores)
    verdict.none_of("frames missing", together.missing)
    verdict.at_least("frames received, of those due", 0.99, together.frames / due)
    verdict.told("bytes a frame", together.bytes_a_frame)
    verdict.below("lateness p99, one stopped reading", LATENESS_MS, stuck.lateness.p99_ms)
    verdict.none_of("frames missing, one stopped reading", stuck.missing)
    verdict.told("memory growth", stuck.grown_mb, "MB")
    verdict.told("memory grown while all read", together.grown_mb, "MB")


def main() -> int:
    parser = argparse.ArgumentParser(description="How many may watch a session?")
    parser.add_argument("--watchers", type=int, default=WANTED)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each phase")
    parser.add_argument("--binary", action="store_true", help="frames as binary messages")
    add_server_arguments(parser)
    options = parser.parse_args()
    return judge_server(measure, options)


if __name__ == "__main__":
    sys.exit(main())
