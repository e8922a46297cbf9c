"""``python -m benchmarks.hog [--speaking 2] [--idle 8] [--hogs N] [--seconds 30]``

What a noisy neighbor does to a server, and how soon it is over: one busy process for each core, at
the server's own priority, beside sessions that speak as into a microphone (half of them with
``late_audio: "drop"``, half with ``"keep"``) and sessions that only watch. Three phases are
compared: before, during and after. The clients get a higher priority where the system allows it,
so that what is measured is the server's lateness and not their own.
"""

import argparse
import asyncio
import multiprocessing
import os
import statistics
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from benchmarks.server import Server, add_server_arguments, server_under_test
from benchmarks.speech import speech
from benchmarks.verdict import Verdict
from inference import process_settings
from inference.cores import available_cores
from inference.runtime.speech_queue import is_loud
from inference.timing import FRAME_MS, SAMPLES_PER_MS
from talking_avatar import AvatarClient, ConnectionLost, Frame, as_spoken
from talking_avatar.measurement import Spread, lateness_s

BEFORE_S, AFTER_S = 10.0, 12.0
RECOVERY_S = 2.0
"""So long after the neighbor has gone all must be as it was."""
WARM_UP_S = 4.0
IDLE_DURING_MS, IDLE_AFTER_MS = 60.0, 20.0
LATENCY_SLACK_MS = 40.0
CLIENT_NICENESS = -10


@dataclass(frozen=True, slots=True)
class Phases:
    """Moments of the monotonic clock, which all processes of a machine share."""

    begin_s: float
    hog_begin_s: float
    hog_end_s: float
    end_s: float


@dataclass(slots=True)
class Seen:
    """The frames of one session."""

    late_audio: str | None
    """None: it only watches."""
    spoken: bytes = b""
    """What it says, over and over; the server's sound begins with it."""
    received_s: list[float] = field(default_factory=list)
    timestamps_ms: list[int] = field(default_factory=list)
    latencies_s: list[float | None] = field(default_factory=list)
    audio_ms: list[int | None] = field(default_factory=list)

    def add(self, frame: Frame) -> None:
        self.received_s.append(frame.received_s)
        self.timestamps_ms.append(frame.timestamp_ms)
        self.latencies_s.append(frame.latency_s)
        self.audio_ms.append(frame.audio_timestamp_ms)

    def lateness_s(self, begin_s: float, end_s: float) -> list[float]:
        """Of the frames that came between two moments."""
        late = lateness_s(self.timestamps_ms, self.received_s)
        return [s for s, at_s in zip(late, self.received_s, strict=True) if begin_s <= at_s < end_s]

    def latency_s(self, begin_s: float, end_s: float) -> list[float]:
        """From sound to frame, of the frames that came between two moments."""
        return [
            latency_s
            for latency_s, at_s in zip(self.latencies_s, self.received_s, strict=True)
            if latency_s is not None and begin_s <= at_s < end_s
        ]

    @property
    def lost_ms(self) -> int:
        """Speech between the first and the last spoken frame that no frame showed.

        Pauses do not count: a server that is behind shortens them, and nothing is missed.
        """
        shown = [audio_ms for audio_ms in self.audio_ms if audio_ms is not None]
        return sum(
            later - earlier - FRAME_MS
            for earlier, later in pairwise(shown)
            if later - earlier > FRAME_MS and not self._is_pause(earlier + FRAME_MS, later)
        )

    def _is_pause(self, begin_ms: int, end_ms: int) -> bool:
        """Whether nothing loud is said between two moments of the sound."""
        samples = np.frombuffer(self.spoken, "<i2")
        places = np.arange(begin_ms * SAMPLES_PER_MS, end_ms * SAMPLES_PER_MS)
        return not is_loud(samples.take(places, mode="wrap")).any()

    @property
    def missing(self) -> int:
        steps_ms = (later - earlier for earlier, later in pairwise(self.timestamps_ms))
        return sum(step_ms // FRAME_MS - 1 for step_ms in steps_ms)


def run_clients(address: str, user_id: str, speaking: int, idle: int, phases: Phases) -> list[Seen]:
    """Run all sessions up to the end of the phases, in a process of its own."""
    process_settings.when_loaded()
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, CLIENT_NICENESS)
    return asyncio.run(_run_clients(address, user_id, speaking, idle, phases))


async def _run_clients(
    address: str, user_id: str, speaking: int, idle: int, phases: Phases
) -> list[Seen]:
    kinds = [("drop", "keep")[n % 2] for n in range(speaking)] + [None] * idle
    spoken = speech()
    async with AsyncExitStack() as connections:
        tasks, seen = [], []
        for number, kind in enumerate(kinds):
            client = await connections.enter_async_context(
                AvatarClient(address, user_id, late_audio=kind)
            )
            part = spoken.part(number * spoken.frames // len(kinds), spoken.frames)
            seen.append(Seen(kind, part))
            tasks.append(asyncio.create_task(_watch(client, seen[-1], phases)))
            if kind is not None:
                tasks.append(asyncio.create_task(_speak(client, part)))
        await asyncio.sleep(phases.end_s - time.monotonic())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return seen


async def _watch(client: AvatarClient, seen: Seen, phases: Phases) -> None:
    async for frame in client.frames():
        if frame.received_s >= phases.begin_s:
            seen.add(frame)


async def _speak(client: AvatarClient, part: bytes) -> None:
    with suppress(ConnectionLost):
        while True:
            await client.speak(as_spoken(part))


def _spin() -> None:
    while True:
        pass


def measure(server: Server, options: argparse.Namespace) -> Verdict:
    verdict = Verdict("hog")
    began_s = time.monotonic() + WARM_UP_S
    hog_begin_s = began_s + BEFORE_S
    hog_end_s = hog_begin_s + options.seconds
    phases = Phases(began_s, hog_begin_s, hog_end_s, hog_end_s + AFTER_S)
    context = multiprocessing.get_context("spawn")
    hogs = [context.Process(target=_spin, daemon=True) for _ in range(options.hogs)]
    pause = threading.Event()
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        sessions = pool.submit(
            run_clients, server.address, options.user_id, options.speaking, options.idle, phases
        )
        try:
            pause.wait(hog_begin_s - time.monotonic())
            for hog in hogs:
                hog.start()
            pause.wait(hog_end_s - time.monotonic())
        finally:
            for hog in hogs:
                if hog.is_alive():
                    hog.kill()
                    hog.join()
        seen = sessions.result()
    verdict.notes.append(
        f"{options.speaking} sessions speak, {options.idle} watch; {options.hogs} busy processes"
        f" for {options.seconds:g} s; {speech().source}"
    )
    _judge(verdict, seen, phases)
    return verdict


def _judge(verdict: Verdict, seen: list[Seen], phases: Phases) -> None:
    recovered_s = phases.hog_end_s + RECOVERY_S
    spans = {
        "before": (phases.begin_s, phases.hog_begin_s),
        "during": (phases.hog_begin_s, phases.hog_end_s),
        "after": (recovered_s, phases.end_s),
    }
    groups = {
        "idle": [one for one in seen if one.late_audio is None],
        "drop": [one for one in seen if one.late_audio == "drop"],
        "keep": [one for one in seen if one.late_audio == "keep"],
    }
    _print_table(groups, spans)
    for phase, limit_ms in (("during", IDLE_DURING_MS), ("after", IDLE_AFTER_MS)):
        if groups["idle"]:
            spread = Spread.of([s for one in groups["idle"] for s in one.lateness_s(*spans[phase])])
            p99_ms = spread.p99_ms if spread else None
            verdict.below(f"lateness p99, idle, {phase}", limit_ms, p99_ms)
    if groups["drop"]:
        before_ms, after_ms = (
            statistics.median(latencies_s) * 1_000 if latencies_s else None
            for latencies_s in (
                [s for one in groups["drop"] for s in one.latency_s(*spans[phase])]
                for phase in ("before", "after")
            )
        )
        limit_ms = (before_ms or 0.0) + LATENCY_SLACK_MS
        verdict.at_most(f"sound to frame, drop, {RECOVERY_S:g} s after", limit_ms, after_ms, "ms")
    verdict.none_of("speech lost, keep, ms", sum(one.lost_ms for one in groups["keep"]))
    verdict.told("frames left out, all sessions", sum(one.missing for one in seen))


def _print_table(groups: dict[str, list[Seen]], spans: dict[str, tuple[float, float]]) -> None:
    heads = ("sessions", "phase", "frames/s", "p50 ms", "p99 ms", "sound ms")
    print("".join(f"{head:>10}" for head in heads))
    for name, some in groups.items():
        for phase, (begin_s, end_s) in spans.items():
            late_s = [s for one in some for s in one.lateness_s(begin_s, end_s)]
            spread = Spread.of(late_s)
            if spread is None:
                continue
            latencies_s = [s for one in some for s in one.latency_s(begin_s, end_s)]
            sound = f"{statistics.median(latencies_s) * 1_000:.1f}" if latencies_s else "-"
            rate = len(late_s) / (end_s - begin_s) / len(some)
            cells = (
                name,
                phase,
                f"{rate:.2f}",
                f"{spread.p50_ms:.1f}",
                f"{spread.p99_ms:.1f}",
                sound,
            )
            print("".join(f"{cell:>10}" for cell in cells))


def main() -> int:
    parser = argparse.ArgumentParser(description="What does a noisy neighbor do to a server?")
    parser.add_argument("--speaking", type=int, default=2, help="sessions; default: %(default)s")
    parser.add_argument("--idle", type=int, default=8, help="sessions; default: %(default)s")
    parser.add_argument(
        "--hogs", type=int, default=available_cores(), help="busy processes; default: one a core"
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="how long they run")
    add_server_arguments(parser)
    options = parser.parse_args()
    with server_under_test(options) as server:
        verdict = measure(server, options)
    return verdict.conclude(options.json)


if __name__ == "__main__":
    sys.exit(main())
