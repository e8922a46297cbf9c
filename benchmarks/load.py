"""``python -m benchmarks.load [--kind speaking|idle|mixed|both] [--seconds 20] [--processes N]``

How many sessions a server holds: n that all speak without a pause, n of which ``--share`` do
(``mixed``), or n that only watch, n growing until frames come late.
``--topologies single processes engine workers`` climbs in each of these shapes of a server (see
`topologies`) and compares them in a table and, with ``--plot``, in an SVG.

Held is a number of sessions of which none misses a frame or is sent an ERROR, whose frames leave in
time, and of which those that speak are seen to: their sound is shown, and soon. A server that
refuses speech, or shows it seconds later, does not hold the sessions that it sends pictures to.

The clients live in processes of their own (``--clients``), and share the machine's cores with the
server. A rung at which one of them took over 80 % of a core says nothing, and counts as not held.
What the server costs is read from its whole process tree. The own limit on speaking sessions of a
server that is started here is lifted, since this is what it is derived from.
"""

import argparse
import asyncio
import multiprocessing
import os
import random
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.plot import write_plot
from benchmarks.server import Server, ServerFailed, add_server_arguments, server_under_test
from benchmarks.speech import Speech, speech
from benchmarks.topologies import TOPOLOGIES, topology
from benchmarks.verdict import Verdict
from inference import process_settings
from inference.cores import available_cores
from inference.timing import FRAME_S
from talking_avatar import (
    AvatarClient,
    AvatarError,
    ConnectionLost,
    Frame,
    ServerError,
    as_spoken,
)
from talking_avatar.measurement import Measurement, Spread, StreamReport

SPEAKING_LADDER = (1, 2, 4, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64)
IDLE_LADDER = (25, 50, 100, 150, 200, 300, 400)
SPEAKING_WANTED, IDLE_WANTED = 8, 100
SPEAKING_CPU_MS, IDLE_CPU_MS = 8.0, 0.5
LATENESS_LIMIT_MS = 20.0
SPOKEN_SHARE = 0.9
"""Of the frames of a session that speaks without a pause: less, and its speech was not shown."""
SOUND_LIMIT_MS = 300.0
"""How old sound may be when its frame comes, p95 of the worst session."""
CLIENT_LIMIT = 0.8
"""Cores that a client process may take: beyond it the client itself is late."""
WARM_UP_S = 3.0
SESSIONS_A_SECOND = 20
CLIENT_START_S = 1.5
"""A client process takes about so long to start."""


@dataclass(frozen=True, slots=True)
class Rung:
    """What one number of sessions did."""

    sessions: int
    frames: int
    spoken_share: float | None
    """Of the frames due in sessions that speak, those that show speech; None if none speaks."""
    slowest_per_s: float
    lateness: Spread
    latency_p95_ms: float | None
    missing: int
    errors: int
    cpu_ms_per_frame: float | None
    server_cores: float | None
    client_cores: float
    """Of the busiest client process."""

    @property
    def is_held(self) -> bool:
        is_clean = not self.missing and not self.errors and self.client_cores < CLIENT_LIMIT
        return is_clean and self.lateness.p99_ms < LATENESS_LIMIT_MS and self._is_spoken

    @property
    def _is_spoken(self) -> bool:
        """Whether those that speak are seen to, and soon."""
        if self.spoken_share is None:
            return True
        is_soon = self.latency_p95_ms is not None and self.latency_p95_ms < SOUND_LIMIT_MS
        return self.spoken_share >= SPOKEN_SHARE and is_soon


class Viewer:
    """One session: watches, and speaks if it has something to say."""

    def __init__(self, client: AvatarClient) -> None:
        self.client = client
        self.measurement = Measurement()
        self.is_counting = False

    async def watch(self) -> None:
        async for event in self.client.events():
            if not self.is_counting:
                continue
            if isinstance(event, Frame):
                self.measurement.add_frame(event)
            elif isinstance(event, ServerError):
                self.measurement.add_error(event.code)

    async def speak(self, spoken: Speech, delay_s: float) -> None:
        """One endless utterance, from a place in the speech that is this viewer's own."""
        await asyncio.sleep(delay_s)
        place = random.randrange(spoken.frames)
        try:
            while True:
                await self.client.speak(as_spoken(spoken.part(place, spoken.frames)))
        except ConnectionLost:
            return

    def report(self) -> StreamReport:
        return self.measurement.report(self.client.init_sent_s)


@dataclass(frozen=True, slots=True)
class ClientWork:
    """What one client process does."""

    address: str
    user_id: str
    token: str | None
    """Where the server asks for one."""
    first: int
    """Number of its first session among all."""
    count: int
    of: int
    """Sessions of all client processes."""
    share: float
    """Of them that speaks."""
    seconds: float

    @property
    def addresses(self) -> list[str]:
        """Of gateways; sessions are spread over them."""
        return self.address.split(",")

    @property
    def numbers(self) -> range:
        """Of its sessions among all."""
        return range(self.first, self.first + self.count)

    @property
    def speaking(self) -> int:
        """How many of its sessions speak."""
        return sum(map(self.speaks, self.numbers))

    def client(self, number: int) -> AvatarClient:
        """Of the session with this number among all."""
        return AvatarClient(
            self.addresses[number % len(self.addresses)],
            self.user_id,
            token=self.token,
            is_binary=False,
            reconnects=False,
            open_within_s=30,
        )

    def speaks(self, number: int) -> bool:
        """Whether the session with this number among all speaks: evenly spread."""
        return int((number + 1) * self.share) > int(number * self.share)


@dataclass(frozen=True, slots=True)
class ClientResult:
    """What one client process saw."""

    reports: list[StreamReport]
    lateness_s: list[float]
    took_s: float
    cores: float


def run_clients(work: ClientWork) -> ClientResult:
    """Run sessions for ``seconds`` after a warm-up, in a process of its own."""
    process_settings.when_loaded()  # what is measured is the server's lateness
    return asyncio.run(_run_clients(work))


async def _run_clients(work: ClientWork) -> ClientResult:
    loop = asyncio.get_running_loop()
    spoken = speech()
    opened_s = loop.time() + (work.of - work.count) / SESSIONS_A_SECOND
    async with AsyncExitStack() as connections:
        viewers = []
        for number in work.numbers:
            client = await connections.enter_async_context(work.client(number))
            viewers.append(Viewer(client))
            await asyncio.sleep(work.of / work.count / SESSIONS_A_SECOND)
        tasks = [asyncio.create_task(viewer.watch()) for viewer in viewers]
        # As with people, nobody's chunk falls together with everybody else's.
        tasks += [
            asyncio.create_task(viewer.speak(spoken, FRAME_S * number / work.of))
            for number, viewer in zip(work.numbers, viewers, strict=True)
            if work.speaks(number)
        ]
        await asyncio.sleep(max(WARM_UP_S, opened_s + WARM_UP_S - loop.time()))
        for viewer in viewers:
            viewer.is_counting = True
        began_s, cpu_s = loop.time(), sum(os.times()[:2])
        await asyncio.sleep(work.seconds)
        took_s, cpu_s = loop.time() - began_s, sum(os.times()[:2]) - cpu_s
        for viewer in viewers:
            viewer.is_counting = False
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return ClientResult(
        reports=[viewer.report() for viewer in viewers],
        lateness_s=[late for viewer in viewers for late in viewer.measurement.lateness_s],
        took_s=took_s,
        cores=cpu_s / took_s,
    )


def shares(sessions: int, clients: int) -> list[int]:
    """Sessions of each client process, as equal as can be; none is empty."""
    clients = min(sessions, clients)
    return [sessions // clients + (number < sessions % clients) for number in range(clients)]


def climb(
    server: Server,
    user_id: str,
    sessions: int,
    *,
    share: float,
    seconds: float,
    clients: int,
    token: str | None = None,
) -> Rung:
    """Let ``sessions`` run for ``seconds``, from ``clients`` processes."""
    counts = shares(sessions, clients)
    works = [
        ClientWork(server.address, user_id, token, sum(counts[:n]), count, sessions, share, seconds)
        for n, count in enumerate(counts)
    ]
    server_cpu_s: float | None = None
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(works), mp_context=context) as pool:
        futures = [pool.submit(run_clients, work) for work in works]
        # In the middle of the measured time, when all sessions are there and none has ended.
        time_to_open_s = sessions / SESSIONS_A_SECOND + WARM_UP_S + CLIENT_START_S
        pause = threading.Event()
        pause.wait(time_to_open_s)
        began_s = time.monotonic()
        begin_cpu_s = server.tree.cpu_s() if server.tree else None
        pause.wait(seconds * 0.6)
        if begin_cpu_s is not None and server.tree:
            server_cpu_s = (server.tree.cpu_s() - begin_cpu_s) / (time.monotonic() - began_s)
        results = [future.result() for future in futures]
    return rung_of(results, server_cpu_s, speaking=sum(work.speaking for work in works))


def rung_of(results: Sequence[ClientResult], server_cores: float | None, *, speaking: int) -> Rung:
    """Put together what the client processes saw.

    Args:
        results: Of each.
        server_cores: What the server took; None: that could not be read.
        speaking: How many of the sessions spoke.
    """
    reports = [report for result in results for report in result.reports]
    took_s = min(result.took_s for result in results)
    late_s = [late for result in results for late in result.lateness_s]
    latencies = [report.latency.p95_ms for report in reports if report.latency]
    lateness = Spread.of(late_s) or Spread(0, *[float("inf")] * 4)
    frames = sum(report.frames for report in reports)
    due = max(1, int(took_s / FRAME_S))
    return Rung(
        sessions=len(reports),
        frames=frames,
        spoken_share=(
            sum(report.speech_frames for report in reports) / (speaking * due) if speaking else None
        ),
        slowest_per_s=min(report.frames / took_s for report in reports),
        lateness=lateness,
        latency_p95_ms=max(latencies) if latencies else None,
        # A session that ended has fewer frames and no gap.
        missing=sum(max(report.missing_frames, due - report.frames - 2, 0) for report in reports),
        errors=sum(sum(report.errors.values()) for report in reports),
        cpu_ms_per_frame=(
            server_cores * took_s / frames * 1_000 if server_cores and frames else None
        ),
        server_cores=server_cores,
        client_cores=max(result.cores for result in results),
    )


def print_rung(rung: Rung) -> None:
    def shown(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    print(
        f"{rung.sessions:8} {rung.slowest_per_s:9.2f} {rung.lateness.p50_ms:7.1f}"
        f" {rung.lateness.p99_ms:7.1f} {rung.lateness.max_ms:7.1f}"
        f" {shown(rung.latency_p95_ms, '.1f'):>8} {shown(rung.spoken_share, '.0%'):>6}"
        f" {rung.missing:8} {rung.errors:7}"
        f" {shown(rung.cpu_ms_per_frame, '.2f'):>10} {shown(rung.server_cores, '.2f'):>7}"
        f" {rung.client_cores:7.2f}  {'held' if rung.is_held else 'not held'}",
        flush=True,
    )


def ladder(
    server: Server,
    options: argparse.Namespace,
    counts: Sequence[int],
    *,
    share: float,
) -> list[Rung]:
    """Rung after rung, up to the first that is not held."""
    print(f"\nsessions of which {share:.0%} speak")
    print(
        f"{'sessions':>8} {'slowest/s':>9} {'p50 ms':>7} {'p99 ms':>7} {'max ms':>7}"
        f" {'sound ms':>8} {'spoken':>6} {'missing':>8} {'errors':>7} {'CPU ms/fr':>10}"
        f" {'server':>7} {'client':>7}"
    )
    rungs = []
    for count in counts:
        rungs.append(
            climb(
                server,
                options.user_id,
                count,
                share=share,
                seconds=options.seconds,
                clients=options.clients,
                token=options.token,
            )
        )
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
    took_ms = (most or rungs[0]).cpu_ms_per_frame
    if took_ms is None:  # of a server that runs elsewhere
        verdict.told(f"server CPU, a frame, {kind}", None, "ms")
    else:
        verdict.below(f"server CPU, a frame, {kind}", cpu_ms, took_ms)


def measure(server: Server, options: argparse.Namespace) -> Verdict:
    verdict = Verdict("load")
    verdict.notes.append(
        f"{options.seconds:g} s a rung after {WARM_UP_S:g} s, {options.clients} client processes, "
        f"server processes: {options.processes or 'auto'}, {speech().source}"
    )
    if options.kind in ("speaking", "both"):
        counts = options.counts or SPEAKING_LADDER
        rungs = ladder(server, options, counts, share=1.0)
        judge(verdict, "speaking", rungs, SPEAKING_WANTED, SPEAKING_CPU_MS)
    if options.kind in ("idle", "both"):
        counts = options.counts or IDLE_LADDER
        rungs = ladder(server, options, counts, share=0.0)
        judge(verdict, "idle", rungs, IDLE_WANTED, IDLE_CPU_MS)
    if options.kind == "mixed":
        rungs = ladder(server, options, options.counts or SPEAKING_LADDER, share=options.share)
        verdict.told("sessions held", most_held(rungs))
    return verdict


def most_held(rungs: Sequence[Rung]) -> int:
    """The sessions of the highest rung that was held; 0 if none was."""
    return max((rung.sessions for rung in rungs if rung.is_held), default=0)


def compare(options: argparse.Namespace) -> Verdict:
    """Climb in each topology."""
    share = {"speaking": 1.0, "idle": 0.0}.get(options.kind, options.share)
    counts = options.counts or (SPEAKING_LADDER if share else IDLE_LADDER)
    climbed: dict[str, list[Rung]] = {}
    for name in options.topologies:
        print(f"\n{name}", flush=True)
        with topology(name, SPEAKING_PLACES="10000") as server:
            climbed[name] = ladder(server, options, counts, share=share)
    verdict = Verdict("load by topology")
    verdict.notes.append(
        f"{options.seconds:g} s a rung, {share:.0%} speak, {options.clients} client processes"
    )
    for name, rungs in climbed.items():
        verdict.told(f"sessions held, {name}", most_held(rungs))
        held = [rung for rung in rungs if rung.is_held]
        verdict.told(f"  CPU a frame, {name}", (held or rungs)[-1].cpu_ms_per_frame, "ms")
        verdict.told(f"  lateness p99, {name}", (held or rungs)[-1].lateness.p99_ms, "ms")
    if options.plot is not None:
        lines = {
            name: [(rung.sessions, rung.lateness.p99_ms) for rung in rungs]
            for name, rungs in climbed.items()
        }
        write_plot(
            options.plot,
            lines,
            title=f"Lateness by sessions, of which {share:.0%} speak ({verdict.machine})",
            x_label="sessions",
            y_label="p99, ms",
            limit=LATENESS_LIMIT_MS,
        )
    return verdict


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark, which `manage.py load_test` has, too."""
    parser.add_argument("--kind", choices=("speaking", "idle", "mixed", "both"), default="both")
    parser.add_argument("--share", type=float, default=0.5, help="that speaks, of mixed sessions")
    parser.add_argument("--topologies", nargs="+", choices=TOPOLOGIES, help="shapes to compare")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write the comparison as an SVG")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each rung")
    parser.add_argument(
        "--counts", type=int, nargs="+", help="the rungs, instead of the built-in ladder"
    )
    parser.add_argument(
        "--clients",
        type=int,
        default=max(1, available_cores() // 4),
        help="client processes; default: one for four cores",
    )
    parser.add_argument("--token", help="an API key or a token, where --server asks for one")
    add_server_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Measure, and print a table; the exit status."""
    if options.topologies:
        if options.server or options.processes:
            sys.exit("--topologies starts servers of its own: leave --server and --processes out.")
        try:
            return compare(options).conclude(options.json)
        except (ServerFailed, AvatarError) as failure:
            sys.exit(f"{failure}")
        except ModuleNotFoundError as missing:
            sys.exit(f"This topology needs what `make setup` installs: {missing}.")
    with server_under_test(options, SPEAKING_PLACES="10000") as server:
        verdict = measure(server, options)
    return verdict.conclude(options.json)


def main() -> int:
    parser = argparse.ArgumentParser(description="How many sessions does a server hold?")
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
