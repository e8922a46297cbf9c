"""``python -m benchmarks.soak [--minutes 60] [--processes 2] [--at-once 6]``

Sessions come and go, some speaking, some only watching, some leaving without a word. The memory of
all processes is read every few seconds; after a warm-up a line is laid through it, and its slope is
what the server loses in an hour. In the end all sessions leave, those that vanished are given up,
and what each process still holds is compared with what it held before the first session: tasks,
descriptors, sockets.
"""

import argparse
import asyncio
import contextlib
import random
import sys
import time
from collections import Counter
from typing import NamedTuple

import numpy as np

from benchmarks.leftovers import Held, held_by
from benchmarks.server import Server, add_server_arguments, judge_server
from benchmarks.speech import Speech, speech
from benchmarks.verdict import Verdict
from talking_avatar import (
    AvatarClient,
    AvatarError,
    Frame,
    ServerError,
    SessionRefused,
    SpeechRefused,
)

MIB = 1024 * 1024
FIRST_SESSIONS = 8
FIRST_SETTLE_S = 10.0
SAMPLE_EVERY_S = 5.0
SETTLE_S = 45.0
"""So long after the last session all is given back: `RESUME_S`, and a while."""
SHORTEST_S, LONGEST_S = 1.0, 20.0
MOST_MIB_AN_HOUR = 5.0
BLOCKS = 10
"""Parts of the time, of five minutes where it is an hour."""
LEAST_MINUTES = 1.5
"""With a third of it for the warm-up, each part has a sample."""


async def live(server: Server, user_id: str, spoken: Speech, seen: Counter[str]) -> None:
    """One session from its beginning to one of its ends."""
    length_s = random.uniform(SHORTEST_S, LONGEST_S)
    manner = random.choice(("watches", "speaks", "acts", "vanishes"))
    with contextlib.suppress(TimeoutError):
        async with AvatarClient(server.address, user_id, reconnects=False) as client:
            seen["sessions"] += 1
            async with asyncio.timeout(length_s):
                if manner == "speaks":
                    await client.speak(spoken.part(random.randrange(spoken.frames), 250))
                elif manner == "acts":
                    await client.start_action(1)
                    await client.change_state("speaking")
                elif manner == "vanishes":
                    await client.speak(spoken.part(0, 100))
                async for event in client.events():
                    seen["frames"] += isinstance(event, Frame)
                    # One that vanished keeps its speaking place as long as it could be resumed.
                    if isinstance(event, ServerError):
                        seen[kind_of(event)] += 1
                    if manner == "vanishes" and random.random() < 0.02:
                        client.abort()
                        return


def kind_of(error: ServerError) -> str:
    """What a machine that is busy with other work says counts apart from faults."""
    reason = error.details.get("reason")
    if reason in ("speech_capacity", "capacity", "no_worker", "engine_late"):
        return "refused"
    print(f"{error.code}: {error.message}", flush=True)
    return "errors"


async def come_and_go(server: Server, user_id: str, spoken: Speech, seen: Counter[str]) -> None:
    while True:
        try:
            await live(server, user_id, spoken, seen)
        except SpeechRefused:
            seen["refused"] += 1
        except SessionRefused as refused:
            seen["refused" if refused.code == "RATE_LIMIT_EXCEEDED" else "failures"] += 1
            await asyncio.sleep(1.0)
        except AvatarError as error:
            seen["failures"] += 1
            print(error)
            await asyncio.sleep(1.0)


class Sample(NamedTuple):
    """The memory of all processes at a moment."""

    at_s: float
    mib: float


def growth_mib_an_hour(samples: list[Sample]) -> tuple[float, float]:
    """Return the slope of the line of least squares, and its standard error.

    Memory goes up and down by tens of megabytes with what the sessions of the moment do, for a
    minute or so. So the line is laid through means of some minutes, which know little of each
    other.
    """
    parts = np.array_split(np.array(samples), BLOCKS)
    at_h, mib = (np.array([part[:, k].mean() for part in parts]) for k in (0, 1))
    at_h /= 3_600
    (slope, _), covariance = np.polyfit(at_h, mib, 1, cov=True)
    return float(slope), float(np.sqrt(covariance[0, 0]))


async def measure(server: Server, options: argparse.Namespace) -> Verdict:
    assert server.tree is not None
    spoken, seen = speech(), Counter[str]()
    await first_sessions(server, options, spoken)
    before = await asyncio.to_thread(held_by, server)
    visitors = [
        asyncio.create_task(come_and_go(server, options.user_id, spoken, seen))
        for _ in range(options.at_once)
    ]
    samples = await sample_memory(server, options.minutes * 60, seen)
    for visitor in visitors:
        visitor.cancel()
    await asyncio.gather(*visitors, return_exceptions=True)
    await asyncio.sleep(SETTLE_S)
    after = await asyncio.to_thread(held_by, server)
    print("after all sessions have gone", *after, sep="\n    ", flush=True)
    verdict = Verdict("soak")
    warm_s = min(options.warm_up_minutes, options.minutes / 3) * 60
    verdict.notes.append(
        f"{options.minutes:g} minutes, the first {warm_s / 60:.1f} not counted, {options.at_once} "
        f"sessions at a time, {spoken.source}"
    )
    judge(verdict, [sample for sample in samples if sample.at_s >= warm_s], before, after, seen)
    return verdict


async def sample_memory(server: Server, seconds: float, seen: Counter[str]) -> list[Sample]:
    """Read the memory of all processes now and then, and print some of it."""
    began_s, samples = time.monotonic(), list[Sample]()
    while (now_s := time.monotonic() - began_s) < seconds:
        held = await asyncio.to_thread(held_by, server, asks_for_tasks=False)
        samples.append(Sample(now_s, sum(one.memory_bytes for one in held) / MIB))
        if len(samples) % 12 == 1:
            print(f"{now_s / 60:5.1f} min  {samples[-1].mib:7.1f} MiB  {dict(seen)}", flush=True)
        if len(samples) % 60 == 1:
            print("", *held, sep="\n    ", flush=True)
        await asyncio.sleep(SAMPLE_EVERY_S)
    return samples


def judge(
    verdict: Verdict,
    samples: list[Sample],
    before: list[Held],
    after: list[Held],
    seen: Counter[str],
) -> None:
    slope, error = growth_mib_an_hour(samples)
    verdict.told("memory an hour", slope, "MiB")
    verdict.told("give or take", 2 * error, "MiB")
    verdict.at_most("memory an hour, at least", MOST_MIB_AN_HOUR, slope - 2 * error, "MiB")
    for what in ("tasks", "descriptors", "sockets"):
        verdict.at_most(f"{what} left", 0, left(what, before, after))
    # Pools begin a thread when all they have are busy, and keep it.
    verdict.told("threads more", left("threads", before, after))
    verdict.told("memory when warm", samples[0].mib, "MiB")
    verdict.told("memory at the end", samples[-1].mib, "MiB")
    verdict.at_least("sessions", 2, seen["sessions"])
    verdict.told("frames", seen["frames"])
    verdict.none_of("ERROR messages", seen["errors"])
    verdict.told("refused for capacity", seen["refused"])
    verdict.none_of("sessions that failed", seen["failures"])


async def first_sessions(server: Server, options: argparse.Namespace, spoken: Speech) -> None:
    """What is made once, by the first sessions of each process, is there from then on."""
    for _ in range(FIRST_SESSIONS):
        async with AvatarClient(server.address, options.user_id) as client:
            await (await client.speak(spoken.part(0, 50)))
    await asyncio.sleep(FIRST_SETTLE_S)


def left(what: str, before: list[Held], after: list[Held]) -> int:
    """How many more of something there are than before, in all processes that still run."""
    had = {held.pid: getattr(held, what) for held in before}
    return sum(max(getattr(held, what) - had[held.pid], 0) for held in after if held.pid in had)


def main() -> int:
    parser = argparse.ArgumentParser(description="Does the server's memory grow?")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--warm-up-minutes", type=float, default=10.0, help="at most a third")
    parser.add_argument("--at-once", type=int, default=6, help="sessions; default: %(default)s")
    add_server_arguments(parser)
    options = parser.parse_args()
    if options.minutes < LEAST_MINUTES:
        parser.error(f"--minutes must be {LEAST_MINUTES:g} or more: fewer samples have no slope")
    if options.server and not options.pid:
        parser.error("with --server the memory can only be read if --pid names the process")
    return judge_server(measure, options)


if __name__ == "__main__":
    sys.exit(main())
