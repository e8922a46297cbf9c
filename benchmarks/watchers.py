"""``python -m benchmarks.watchers [--watchers 100] [--seconds 20] [--binary]``

One session speaks without a pause, and many watch it with sound: how late do frames come to them,
and what does a frame of a watcher cost the server? Then one of them stops reading: do the others
notice? What the server costs without watchers is measured first, and taken off.

The watchers live in this process (`raw_stream`), and share the machine's cores with the server. A
run in which they took over 80 % of a core measured them, and does not count. Memory grows also by
what all sessions share: the pictures of clips that were played, up to a limit.
"""

import argparse
import asyncio
import json
import os
import sys
import time
import uuid
from base64 import b64encode
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import websockets

from benchmarks.load import CLIENT_LIMIT
from benchmarks.raw_stream import TIMESTAMP, RawStream, connect
from benchmarks.server import Server, add_server_arguments, judge_server
from benchmarks.speech import FRAME_BYTES, Speech, speech
from benchmarks.verdict import Verdict
from inference.timing import FRAME_S, SAMPLE_RATE_HZ
from streaming.protocol.address import STREAM_PREFIX
from talking_avatar.measurement import Spread, lateness_s

WANTED = 100
LATENESS_MS = 20.0
CPU_MS = 0.15
WARM_UP_S = 3.0
JOINS_PER_S = 50
_AHEAD_FRAMES = 50


@dataclass(frozen=True, slots=True)
class Phase:
    """What one stretch of time was like."""

    took_s: float
    watchers: int
    frames: int
    lateness: Spread
    missing: int
    cpu_s: float | None
    grown_mb: float | None
    """By how much the server's memory grew."""
    client_cores: float
    bytes_a_frame: float

    @property
    def share_of_frames(self) -> float | None:
        """Of the frames due, those that came; None: nobody watched."""
        due = self.watchers * self.took_s / FRAME_S
        return self.frames / due if due else None


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
                found = TIMESTAMP.search(text.encode())
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


async def join(
    address: str, owner: Owner, user: str, count: int, *, is_binary: bool
) -> list[RawStream]:
    """Let so many watch, a little after each other."""
    watchers = []
    for _ in range(count):
        watchers.append(
            await connect(
                address,
                user,
                owner.session_id,
                {"role": "watch", "watch_token": owner.token},
                is_binary=is_binary,
                names_session=True,
            )
        )
        await asyncio.sleep(1 / JOINS_PER_S)
    await asyncio.gather(*(watcher.opened for watcher in watchers))
    return watchers


async def measure_phase(server: Server, watchers: list[RawStream], seconds: float) -> Phase:
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
        took_s=took_s,
        watchers=len(watchers),
        frames=frames,
        lateness=Spread.of(late_s) or Spread(0, *[0.0] * 4),
        missing=sum(watcher.missing for watcher in watchers),
        cpu_s=cpu_s,
        grown_mb=(server.tree.memory_bytes() - memory_bytes) / 1e6 if server.tree else None,
        client_cores=client_s / took_s,
        bytes_a_frame=sum(w.payload_bytes for w in watchers) / max(1, frames),
    )


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
        watchers = await join(
            server.address, owner, options.user_id, options.watchers, is_binary=options.binary
        )
        await asyncio.sleep(WARM_UP_S)
        together = await measure_phase(server, watchers, options.seconds)
        watchers[0].stop_reading()
        one_stuck = await measure_phase(server, watchers[1:], options.seconds)
        lost = sum(watcher.is_lost for watcher in watchers[1:])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for watcher in watchers:
            watcher.abort()
    judge(verdict, options, alone, together, one_stuck)
    verdict.none_of("watchers lost", lost)
    return verdict


def judge(
    verdict: Verdict, options: argparse.Namespace, alone: Phase, together: Phase, stuck: Phase
) -> None:
    cost_ms = None
    if together.cpu_s is not None and alone.cpu_s is not None:
        cost_ms = (together.cpu_s - alone.cpu_s) / max(1, together.frames) * 1_000
    verdict.at_least("watchers", WANTED, options.watchers)
    verdict.below("lateness p99", LATENESS_MS, together.lateness.p99_ms)
    verdict.told("lateness p50", together.lateness.p50_ms, "ms")
    verdict.told("lateness max", together.lateness.max_ms, "ms")
    if cost_ms is not None and together.cpu_s is not None:
        verdict.at_most("server CPU, a watcher's frame", CPU_MS, cost_ms, "ms")
        verdict.told("server cores, all of it", together.cpu_s / together.took_s)
    client_cores = max(together.client_cores, stuck.client_cores)
    verdict.below("client cores", CLIENT_LIMIT, client_cores, unit="")
    verdict.none_of("frames missing", together.missing)
    verdict.at_least("frames received, of those due", 0.99, together.share_of_frames)
    verdict.told("bytes a frame", together.bytes_a_frame)
    verdict.below("lateness p99, one stopped reading", LATENESS_MS, stuck.lateness.p99_ms)
    verdict.none_of("frames missing, one stopped reading", stuck.missing)
    if stuck.watchers:
        name = "frames of those due, one stopped reading"
        verdict.at_least(name, 0.99, stuck.share_of_frames)
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
