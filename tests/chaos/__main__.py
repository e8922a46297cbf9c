"""``python -m tests.chaos [--quick] [--only NAME ...]``: attacks and failures, as one table.

The full scale takes a quarter of an hour on two cores, the quick one two minutes. The status is 1
if a row fails.
"""

import argparse
import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.server import ServerProcess
from inference.cores import available_cores
from tests.chaos import floods, frame_fuzz, parser_fuzz, session_fuzz
from tests.chaos.result import Result
from tests.processes import ROOT

OUTAGES = {
    "Redis frozen, silent, gone": "tests/e2e/test_redis_away.py",
    "PostgreSQL frozen, locked, gone": "tests/e2e/test_postgresql.py",
    "workers killed and ended": "tests/e2e/test_workers_apart.py",
    "app processes killed": "tests/e2e/test_processes.py",
    "connections lost and resumed": "tests/e2e/test_resume.py",
    "preparations killed, hung, too large": "tests/e2e/test_prepare.py",
    "a loop that hangs": "tests/musetalk_site/test_watchdog.py",
}
"""Kills and cuts that are tests already."""
OUTAGE_WITHIN_S = 400


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything."""

    inputs: int
    steps: int
    uploads: int
    random_frames: int
    flood_s: float
    honest: int
    speakers: int


FULL = Scale(10_000_000, 1_000_000, 1_000, 300, 8.0, 10, 24)
QUICK = Scale(100_000, 20_000, 12, 20, 3.0, 3, 0)


def _uploads(count: int) -> Result:
    """In a process of its own: it forks, and must have one thread."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.chaos.upload_fuzz", str(count)],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "musetalk_site.settings",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
    )
    measured, _, escapes = run.stdout.partition("\n")
    lines = escapes.splitlines() if run.returncode == 0 else [run.stderr[-1_500:]]
    return Result(
        "uploads: damaged and spliced files", "prepared or refused in its limits", measured, lines
    )


def _outage(name: str, path: str) -> Result:
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=OUTAGE_WITHIN_S,
    )
    said = re.findall(r"^(?:pictures|told) .*$", run.stdout, re.MULTILINE)
    last = run.stdout.strip().splitlines()[-1].strip("= ")
    failed = re.findall(r"^(?:FAILED|ERROR) .*$", run.stdout, re.MULTILINE)
    measured = "; ".join([last, *said])
    return Result(name, f"its tests pass: {path.rpartition('/')[2]}", measured, failed)


def _against_servers(scale: Scale) -> Iterator[tuple[str, Callable[[], Result]]]:
    def with_server(attack: Callable[[ServerProcess], Result], **settings: str) -> Result:
        with ServerProcess(PROCESSES="1", **settings) as server:
            return attack(server)

    yield (
        "frames",
        lambda: with_server(
            lambda server: asyncio.run(
                frame_fuzz.attack(
                    server.address, server.port, server.log, random_frames=scale.random_frames
                )
            )
        ),
    )
    for name in floods.FLOODS:
        yield (
            "floods",
            lambda name=name: with_server(  # type: ignore[misc]
                lambda server: asyncio.run(floods.flood(server, name, seconds=scale.flood_s))
            ),
        )
    yield (
        "resets",
        lambda: with_server(
            lambda server: asyncio.run(floods.resets(server, honest=scale.honest)),
            SPEAKING_PLACES="4",
            SPEECH_SHARE="1",
        ),
    )
    for is_admitted in (False, True) if scale.speakers else ():
        yield (
            "overload",
            lambda is_admitted=is_admitted: with_server(  # type: ignore[misc]
                lambda server: asyncio.run(
                    floods.overload(
                        server,
                        speakers=scale.speakers,
                        stay=4,
                        seconds=14,
                        is_admitted=is_admitted,
                    )
                ),
                **({"SPEAKING_PLACES": str(scale.speakers)} if is_admitted else {}),
            ),
        )


def parts(scale: Scale, *, has_outages: bool) -> Iterator[tuple[str, Callable[[], Result]]]:
    """All of it: the name of a group, and what makes its row."""
    cores = available_cores()
    yield "parser", lambda: parser_fuzz.run(scale.inputs, processes=cores)
    yield "session", lambda: session_fuzz.run(scale.steps, processes=cores)
    yield "uploads", lambda: _uploads(scale.uploads)
    yield from _against_servers(scale)
    if has_outages:
        for name, path in OUTAGES.items():
            yield "outages", lambda name=name, path=path: _outage(name, path)  # type: ignore[misc]


def main() -> int:
    parser = argparse.ArgumentParser(description="Does it hold, whatever one party does?")
    parser.add_argument("--quick", action="store_true", help="a small part of everything")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these groups")
    options = parser.parse_args()
    scale = QUICK if options.quick else FULL
    failed: list[Result] = []
    began_s = time.monotonic()
    for group, part in parts(scale, has_outages=not options.quick):
        if options.only and group not in options.only:
            continue
        try:
            result = part()
        except Exception as error:  # noqa: BLE001 - one part must not end the others
            result = Result(group, "it can be measured", "not measured", [repr(error)])
        print(result, flush=True)
        if not result.holds:
            failed.append(result)
    for result in failed:
        print(f"\n{result.name}:", *result.escapes, sep="\n  ")
    print(f"\n{len(failed)} rows fail; {time.monotonic() - began_s:.0f} s")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
