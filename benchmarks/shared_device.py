"""``python -m benchmarks.shared_device [--sessions 1 8 16 19] [--times 1:4.5 2:6.1 …]``

How many mouths come in time from an engine process whose device is shared by many sessions, on a
machine without such a device: it is asleep for as long as a batch is known to take. All else is
real and costs what it costs here: the process, its socket and messages, two calls at the same time
that share the GIL with its loop, the batcher, the lead.

Sessions ask as an app process does, each at its place in the 40 ms of a frame, and do not wait
beyond the deadline. The default times are an H200's (docs/performance.md).
"""

import argparse
import asyncio
import multiprocessing
import random
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from benchmarks.folders import PRESENTER
from benchmarks.server import add_json_argument
from benchmarks.verdict import Verdict
from inference import process_settings
from inference.assets import manifest as manifests
from inference.assets.manifest import Manifest
from inference.engines.access import MouthRequest, MouthResult
from inference.engines.base import EngineState, LoadedAvatar, RenderJob
from inference.engines.in_process import InProcessEngine
from inference.engines.musetalk.engine import CAPACITY_MARGIN, leads_s
from inference.engines.musetalk.execution import buckets, queueing
from inference.engines.process.client import EngineProcessClient
from inference.engines.process.server import EngineServer
from inference.media.types import AudioContext, AudioWindow, Patch, Rectangle
from inference.timing import ENCODING_S, FRAME_MS, FRAME_S, SAMPLES_PER_FRAME

H200_MS = {1: 4.5, 2: 6.1, 4: 8.9, 8: 14.7, 12: 20.8, 16: 26.9, 20: 32.8, 24: 40.0, 32: 52.3}
HEARING_MS = 0.3
"""Of Python, in each call: one launch and its inputs."""
GATHERING_MS, GATHERING_EACH_MS = 0.3, 0.1
"""Of Python, in each call and for each picture."""
CONTEXT = AudioContext(32_000, 1_280)
PLACE = Rectangle(140, 250, 230, 170)
VERSION = "benchmark"
SETTLE_S = 5.0
"""Time to learn the lead, before it counts."""
IN_TIME = 99.0


def compute(milliseconds: float) -> None:
    """Do Python's work for so long, on this thread's own clock."""
    end_s = time.thread_time() + milliseconds / 1_000
    while time.thread_time() < end_s:
        pass


class TimedEngine:
    """An `Engine` in front of a device that does one batch after the other, and makes nothing."""

    name = "timed"
    context = CONTEXT
    concurrency = 2

    def __init__(self, times_ms: dict[int, float], hearing_ms: float) -> None:
        self.max_batch = max(times_ms)
        self._times_ms = times_ms
        self._hearing_ms = hearing_ms
        overhead_ms = hearing_ms + GATHERING_MS + GATHERING_EACH_MS
        self.capacity = buckets.jobs_carried(CAPACITY_MARGIN * FRAME_MS, times_ms)
        self._leads_s = leads_s(
            lambda sessions: queueing.answered_within(
                sessions, FRAME_MS, times_ms, under_way=2, overhead=overhead_ms
            ),
            max(self.capacity, 1),
        )
        self._device = threading.Lock()
        self._free_at_s = 0.0

    def lead_for(self, speaking: int) -> float:
        return self._leads_s[min(max(speaking, 1), len(self._leads_s)) - 1]

    def state(self) -> EngineState:
        return EngineState()

    def open_avatar(self, folder: Path, manifest: Manifest) -> LoadedAvatar:
        return manifest.name

    def is_ready(self, avatar: LoadedAvatar, clip: str) -> bool:
        return True

    def region(self, avatar: LoadedAvatar, clip: str, index: int) -> Rectangle:
        return PLACE

    def listen(self, windows: Sequence[AudioWindow]) -> list[list[str]]:
        np.stack([window.samples for window in windows])
        compute(self._hearing_ms)
        return [["heard"] for _ in windows]

    def render(self, jobs: Sequence[RenderJob]) -> list[Patch]:
        compute(GATHERING_MS + GATHERING_EACH_MS * len(jobs))
        took_ms = buckets.least_times(len(jobs), self._times_ms)[-1][0]
        with self._device:
            self._free_at_s = max(time.monotonic(), self._free_at_s) + took_ms / 1_000
            done_s = self._free_at_s
        threading.Event().wait(max(0.0, done_s - time.monotonic()))
        luma = np.zeros((PLACE.height, PLACE.width), np.uint8)
        chroma = np.zeros((PLACE.height // 2, PLACE.width // 2), np.uint8)
        return [Patch(PLACE.x, PLACE.y, luma, chroma, chroma) for _ in jobs]


def serve(address: str, times_ms: dict[int, float], hearing_ms: float) -> None:
    """Be the engine process."""
    process_settings.for_networks()
    engine: Any = TimedEngine(times_ms, hearing_ms)
    access = InProcessEngine(
        engine,
        pool=ThreadPoolExecutor(engine.concurrency),
        avatar_pool=ThreadPoolExecutor(1),
        now_s=time.monotonic,
    )
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen()
    listening.setblocking(False)
    uvloop.run(EngineServer(access, version=VERSION).run(listening))


@dataclass(slots=True)
class Session:
    """What became of the mouths of one."""

    asked: int = 0
    in_time: int = 0
    waits_s: list[float] = field(default_factory=list)


async def speak(
    client: EngineProcessClient,
    avatar: LoadedAvatar,
    session: Session,
    *,
    first_s: float,
    end_s: float,
) -> None:
    """Ask for the mouth of frame after frame, from the one that is due at ``first_s`` on."""
    loop = asyncio.get_running_loop()
    picture = np.zeros((1_152, 512), np.uint8)
    window = AudioWindow(
        np.zeros(CONTEXT.before + SAMPLES_PER_FRAME + CONTEXT.after, np.int16), frames=1
    )
    due_s = first_s
    while due_s < end_s:
        await asyncio.sleep(due_s - client.lead_s - time.monotonic())
        asked_s, counts = time.monotonic(), due_s > first_s + SETTLE_S
        request = MouthRequest(
            avatar, "idle_0", 0, lambda: picture, window, 1.0, deadline_s=due_s - ENCODING_S
        )

        def answer(
            result: MouthResult | Exception,
            request: MouthRequest = request,
            asked_s: float = asked_s,
            counts: bool = counts,
        ) -> None:
            now_s = time.monotonic()
            if counts and isinstance(result, MouthResult):
                session.in_time += now_s <= request.deadline_s
                session.waits_s.append(now_s - asked_s)

        session.asked += counts
        client.submit(request, answer)
        loop.call_later(request.deadline_s - asked_s, client.withdraw, request)
        due_s += FRAME_S


async def ask(address: str, count: int, seconds: float) -> tuple[list[Session], float]:
    """Let ``count`` sessions speak.

    Returns:
        The sessions, and the lead at the end.
    """
    client = EngineProcessClient(Path(address), pool=ThreadPoolExecutor(2), version=VERSION)
    await client.connect()
    avatar = await client.open_avatar(PRESENTER, manifests.read(PRESENTER))
    client.report_speaking(count)
    places = random.Random(count)
    sessions = [Session() for _ in range(count)]
    begin_s = time.monotonic() + 0.5
    async with asyncio.TaskGroup() as group:
        for session in sessions:
            first_s = begin_s + places.uniform(0, FRAME_S)
            group.create_task(
                speak(client, avatar, session, first_s=first_s, end_s=begin_s + SETTLE_S + seconds)
            )
    lead_s = client.lead_s
    await client.close()
    return sessions, lead_s


def measure(options: argparse.Namespace) -> Verdict:
    """One row for each number of sessions."""
    verdict = Verdict("a shared device")
    times_ms = dict(options.times)
    verdict.notes.append(f"a device that takes {times_ms} ms, {options.hearing:g} ms of hearing")
    context = multiprocessing.get_context("spawn")
    for count in options.sessions:
        with tempfile.TemporaryDirectory(prefix="avatar-") as folder:
            address = f"{folder}/engine"
            process = context.Process(
                target=serve, args=(address, times_ms, options.hearing), daemon=True
            )
            process.start()
            try:
                sessions, lead_s = uvloop.run(ask(address, count, options.seconds))
            finally:
                process.kill()
                process.join()
        worst = min(100 * session.in_time / session.asked for session in sessions)
        waits_ms = [1_000 * wait for session in sessions for wait in session.waits_s]
        verdict.at_least(f"in time, the worst of {count} sessions", IN_TIME, worst, "%")
        verdict.told(
            "  p99 of waiting", float(np.percentile(waits_ms, 99)) if waits_ms else None, "ms"
        )
        verdict.told("  lead", 1_000 * lead_s, "ms")
    return verdict


def _size_and_time(text: str) -> tuple[int, float]:
    size, _, took_ms = text.partition(":")
    return int(size), float(took_ms)


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.shared_device", description=__doc__)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 8, 16, 19])
    parser.add_argument("--times", type=_size_and_time, nargs="+", default=list(H200_MS.items()))
    parser.add_argument("--hearing", type=float, default=HEARING_MS, help="ms of Python in a call")
    parser.add_argument("--seconds", type=float, default=8.0)
    add_json_argument(parser)
    options = parser.parse_args()
    return measure(options).conclude(options.json)


if __name__ == "__main__":
    sys.exit(main())
