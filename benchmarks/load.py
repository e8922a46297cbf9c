"""``python -m benchmarks.load [--kind speaking|idle|both] [--seconds 20]``

How many sessions a server holds: n that all speak without a pause, or n that only watch, n growing
until frames come late. The clients live in this process, the server in its own; both share the
machine's cores. What the server costs is read from its whole process tree.
"""

import argparse
import asyncio
import os
import random
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from benchmarks.server import Server, add_server_arguments, server_under_test
from benchmarks.speech import Speech, speech
from benchmarks.verdict import Verdict
from inference.timing import FRAME_S
from streaming.client import AvatarClient, ConnectionLost, Frame, ServerError
from streaming.client.measurement import Measurement, Spread, StreamReport, lateness_s

SPEAKING_LADDER = (1, 2, 4, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64)
IDLE_LADDER = (25, 50, 100, 150, 200, 300, 400)
SPEAKING_WANTED, IDLE_WANTED = 8, 100
SPEAKING_CPU_MS, IDLE_CPU_MS = 8.0, 0.5
LATENESS_LIMIT_MS = 20.0
WARM_UP_S = 3.0
SESSIONS_A_SECOND = 20


@dataclass(frozen=True, slots=True)
class Rung:
    """What one number of sessions did."""

    sessions: int
    frames: int
    speech_frames: int
    slowest_per_s: float
    lateness: Spread
    latency_p95_ms: float | None
    missing: int
    errors: int
    cpu_ms_per_frame: float | None
    server_cores: float | None
    client_cores: float

    @property
    def is_held(self) -> bool:
        return self.lateness.p99_ms < LATENESS_LIMIT_MS and not self.missing and not self.errors


class Viewer:
    """One session: watches, and speaks if it has something to say."""

    def __init__(self, client: AvatarClient) -> None:
        self.client = client
        self.measurement = Measurement()
        self.timestamps_ms: list[int] = []
        self.received_s: list[float] = []
        self.is_counting = False

    async def watch(self) -> None:
        async for event in self.client:
            if not self.is_counting:
                continue
            if isinstance(event, Frame):
                self.timestamps_ms.append(event.timestamp_ms)
                self.received_s.append(event.received_s)
                self.measurement.add_frame(event)
            elif isinstance(event, ServerError):
                self.measurement.add_error(event.code)

    async def speak(self, spoken: Speech, delay_s: float) -> None:
        """One endless utterance, from a place in the speech that is this viewer's own."""
        await asyncio.sleep(delay_s)
        place = random.randrange(spoken.frames)
        try:
            while True:
                await self.client.speak(spoken.part(place, spoken.frames))
        except ConnectionLost:
            return

    def report(self) -> StreamReport:
        return self.measurement.report(self.client.sent, self.client.init_sent_s)


async def climb(
    server: Server, user_id: str, sessions: int, spoken: Speech | None, seconds: float
) -> Rung:
    """Let ``sessions`` run for ``seconds`` after a warm-up; they all say ``spoken``, if given."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as connections:
        viewers = []
        for _ in range(sessions):
            client = AvatarClient(server.address, user_id, open_timeout_s=30)
            viewers.append(Viewer(await connections.enter_async_context(client)))
            await asyncio.sleep(1 / SESSIONS_A_SECOND)
        tasks = [asyncio.create_task(viewer.watch()) for viewer in viewers]
        if spoken is not None:
            # As with people, nobody's chunk falls together with everybody else's.
            tasks += [
                asyncio.create_task(viewer.speak(spoken, FRAME_S * number / sessions))
                for number, viewer in enumerate(viewers)
            ]
        await asyncio.sleep(WARM_UP_S)
        for viewer in viewers:
            viewer.is_counting = True
        began_s = loop.time()
        server_cpu_s = server.tree.cpu_s() if server.tree else None
        client_cpu_s = sum(os.times()[:2])
        await asyncio.sleep(seconds)
        took_s = loop.time() - began_s
        if server_cpu_s is not None and server.tree:
            server_cpu_s = server.tree.cpu_s() - server_cpu_s
        client_cpu_s = sum(os.times()[:2]) - client_cpu_s
        for viewer in viewers:
            viewer.is_counting = False
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return _rung(viewers, took_s, server_cpu_s, client_cpu_s)


def _rung(
    viewers: Sequence[Viewer], took_s: float, server_cpu_s: float | None, client_cpu_s: float
) -> Rung:
    reports = [viewer.report() for viewer in viewers]
    late_s = [late for v in viewers for late in lateness_s(v.timestamps_ms, v.received_s)]
    latencies = [report.latency.p95_ms for report in reports if report.latency]
    lateness = Spread.of(late_s) or Spread(0, *[float("inf")] * 4)
    frames = sum(report.frames for report in reports)
    due = int(took_s / FRAME_S)
    return Rung(
        sessions=len(viewers),
        frames=frames,
        speech_frames=sum(report.speech_frames for report in reports),
        slowest_per_s=min(report.frames / took_s for report in reports),
        lateness=lateness,
        latency_p95_ms=max(latencies) if latencies else None,
        # A session that ended has fewer frames and no gap.
        missing=sum(max(report.missing_frames, due - report.frames - 2, 0) for report in reports),
        errors=sum(sum(report.errors.values()) for report in reports),
        cpu_ms_per_frame=server_cpu_s / frames * 1_000 if server_cpu_s and frames else None,
        server_cores=server_cpu_s / took_s if server_cpu_s is not None else None,
        client_cores=client_cpu_s / took_s,
    )


def print_rung(rung: Rung) -> None:
    def shown(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    print(
        f"{rung.sessions:8} {rung.slowest_per_s:9.2f} {rung.lateness.p50_ms:7.1f}"
        f" {rung.lateness.p99_ms:7.1f} {rung.lateness.max_ms:7.1f}"
        f" {shown(rung.latency_p95_ms, '.1f'):>8} {rung.missing:8} {rung.errors:7}"
        f" {shown(rung.cpu_ms_per_frame, '.2f'):>10} {shown(rung.server_cores, '.2f'):>7}"
        f" {rung.client_cores:7.2f}  {'held' if rung.is_held else 'not held'}",
        flush=True,
    )


async def ladder(
    server: Server,
    user_id: str,
    counts: Sequence[int],
    spoken: Speech | None,
    seconds: float,
) -> list[Rung]:
    """Rung after rung, up to the first that is not held."""
    print(f"\n{'speaking' if spoken else 'idle'} sessions")
    print(
        f"{'sessions':>8} {'slowest/s':>9} {'p50 ms':>7} {'p99 ms':>7} {'max ms':>7}"
        f" {'sound ms':>8} {'missing':>8} {'errors':>7} {'CPU ms/fr':>10}"
        f" {'server':>7} {'client':>7}"
    )
    rungs = []
    for count in counts:
        rungs.append(await climb(server, user_id, count, spoken, seconds))
        print_rung(rungs[-1])
        if not rungs[-1].is_held:
            break
    return rungs


def judge(verdict: Verdict, kind: str, rungs: Sequence[Rung], wanted: int, cpu_ms: float) -> None:
    held = [rung for rung in rungs if rung.is_held]
    most = held[-1] if held else None
    verdict.at_least(f"{kind} sessions held", wanted, most.sessions if most else 0)
    verdict.below(
        f"lateness p99, {kind}",
        LATENESS_LIMIT_MS,
        most.lateness.p99_ms if most else rungs[0].lateness.p99_ms,
    )
    verdict.below(f"server CPU, a frame, {kind}", cpu_ms, (most or rungs[0]).cpu_ms_per_frame)


async def measure(server: Server, options: argparse.Namespace) -> Verdict:
    verdict = Verdict("load")
    spoken = speech()
    verdict.notes.append(
        f"{options.seconds:g} s a rung after {WARM_UP_S:g} s, one client process, {spoken.source}"
    )
    if options.kind in ("speaking", "both"):
        counts = options.counts or SPEAKING_LADDER
        rungs = await ladder(server, options.user_id, counts, spoken, options.seconds)
        judge(verdict, "speaking", rungs, SPEAKING_WANTED, SPEAKING_CPU_MS)
    if options.kind in ("idle", "both"):
        counts = options.counts or IDLE_LADDER
        rungs = await ladder(server, options.user_id, counts, None, options.seconds)
        judge(verdict, "idle", rungs, IDLE_WANTED, IDLE_CPU_MS)
    return verdict


def main() -> int:
    parser = argparse.ArgumentParser(description="How many sessions does a server hold?")
    parser.add_argument("--kind", choices=("speaking", "idle", "both"), default="both")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each rung")
    parser.add_argument(
        "--counts", type=int, nargs="+", help="the rungs, instead of the built-in ladder"
    )
    add_server_arguments(parser)
    options = parser.parse_args()
    with server_under_test(options) as server:
        verdict = asyncio.run(measure(server, options))
    return verdict.conclude(options.json)


if __name__ == "__main__":
    sys.exit(main())
