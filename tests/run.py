"""``python tests/run.py [--lasting]``: the tests, in groups side by side.

Those marked ``lasting`` take over five seconds each, or test the arithmetic of MuseTalk's networks;
``--lasting`` runs them, and nothing else does.

The end-to-end tests mostly wait for servers and watch clocks: beside them, types are checked and
what only computes gives way. A group's report is printed when it ends, with the tests that took
over five seconds.

A test that fails beside the others is run once more at the very end, alone: what only a crowded
machine breaks is listed by name, and does not fail the run. What fails again, does.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTEST = (sys.executable, "-m", "pytest")
GIVES_WAY_BY = 10
TELL_EVERY_S = 30.0
AT_ONCE = 2
"""On two cores, four groups at once take longer than two and two."""
MOST_RETRIED = 10
"""More failures than this are no accident."""

COMPUTING = ("tests/benchmarks", "tests/inference")
SITE = ("tests/avatars_app", "tests/musetalk_site")
"""Groups of their own, so that no long one is left alone at the end."""
IN_BROWSERS = (
    "test_content_security.py",
    "test_cross_origin.py",
    "test_javascript_client.py",
    "test_other_browsers.py",
    "test_studio.py",
    "test_studio_rules.py",
)
"""Of the end-to-end tests, about half."""


@dataclass(slots=True)
class Group:
    """A command that says how many tests passed, or nothing if it checks something else."""

    name: str
    command: Sequence[str]
    gives_way_by: int = 0
    is_beside: bool = False
    """Whether it runs beside `AT_ONCE` others."""
    log: Path = field(default_factory=lambda: Path(tempfile.mkstemp(suffix=".log")[1]))
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Begin, without waiting."""
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: os.nice(self.gives_way_by),
            )

    @property
    def status(self) -> int | None:
        """The exit status; None while it runs."""
        return None if self.process is None else self.process.poll()

    @property
    def said(self) -> str:
        """The report so far."""
        return self.log.read_text(errors="replace")

    @property
    def progress(self) -> str:
        """How far it is, in words."""
        percents = re.findall(r"\[ *(\d+)%\]$", self.said, re.M)
        return f"{self.name} {percents[-1] if percents else 0} %"

    def stop(self) -> None:
        """End it if it still runs, and forget its report."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
        self.log.unlink(missing_ok=True)


def counts(output: str) -> Counter[str]:
    """What runs of pytest said in their last lines, added up."""
    summaries = re.findall(r"^(?:=+ )?(\d+ (?:passed|failed|error|skipped).*?) in \d", output, re.M)
    found = re.findall(r"(\d+) (passed|failed|skipped|errors?)", " ".join(summaries))
    total: Counter[str] = Counter()
    for number, word in found:
        total["error" if word == "errors" else word] += int(number)
    return total


def failures(output: str) -> list[str]:
    """The ids of the tests that failed."""
    return re.findall(r"^(?:FAILED|ERROR) (\S+::.+?)(?: - .*)?$", output, re.M)


def count(running: Sequence[Group]) -> int:
    """Return how many of `AT_ONCE` run."""
    return sum(not group.is_beside for group in running)


def pytest_group(
    name: str, *arguments: str, gives_way_by: int = 0, is_beside: bool = False
) -> Group:
    """Return a group that is a run of pytest."""
    command = (*PYTEST, "-rfE", "--durations=10", "--durations-min=5", *arguments)
    return Group(name, command, gives_way_by, is_beside)


def run(groups: Sequence[Group]) -> tuple[str, bool]:
    """Run groups side by side, `AT_ONCE` at most and those that may run beside them.

    Returns:
        All that they said, and whether one of them broke off.
    """
    said: list[str] = []
    waiting, running = list(groups), list[Group]()
    is_broken = False
    next_told_s = time.monotonic()
    try:
        while waiting or running:
            while waiting and (waiting[0].is_beside or count(running) < AT_ONCE):
                running.append(waiting.pop(0))
                running[-1].start()
            time.sleep(0.2)
            for group in [group for group in running if group.status is not None]:
                running.remove(group)
                is_broken |= group.status not in {0, 1}  # 1: tests failed
                said.append(group.said)
                print(f"===== {group.name} =====\n{said[-1]}", flush=True)
            if running and time.monotonic() >= next_told_s:
                print(", ".join(group.progress for group in running), flush=True)
                next_told_s = time.monotonic() + TELL_EVERY_S
    finally:
        for group in groups:
            group.stop()
    return "\n".join(said), is_broken


def groups_of(*, is_lasting: bool) -> list[Group]:
    """Return the groups that run side by side."""
    chosen = ("-m", "lasting" if is_lasting else "not lasting")
    files = sorted(path.name for path in (ROOT / "tests" / "e2e").glob("test_*.py"))
    in_browsers = [f"tests/e2e/{name}" for name in files if name in IN_BROWSERS]
    without = [f"tests/e2e/{name}" for name in files if name not in IN_BROWSERS]
    browsers = pytest_group("end to end, in browsers", *chosen, *in_browsers)
    end_to_end = pytest_group("end to end", *chosen, *without)
    others = (*chosen, "tests", "--ignore=tests/e2e")
    if is_lasting:
        all_others = pytest_group("the others", *others, gives_way_by=GIVES_WAY_BY)
        return [end_to_end, all_others, browsers]
    types = ("make", "--no-print-directory", "types")
    return [
        Group("types", types, GIVES_WAY_BY, is_beside=True),
        pytest_group("inference", *chosen, *COMPUTING, gives_way_by=GIVES_WAY_BY, is_beside=True),
        browsers,
        end_to_end,
        pytest_group("the site", *chosen, *SITE),
        pytest_group("the others", *others, *(f"--ignore={one}" for one in (*COMPUTING, *SITE))),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lasting", action="store_true", help="those that take long, alone")
    began_s = time.monotonic()
    groups = groups_of(is_lasting=parser.parse_args().lasting)
    said, is_broken = run(groups)
    total, failed = counts(said), failures(said)
    is_broken |= len(failed) != total["failed"] + total["error"]  # some could not even begin
    alone = sorted(set(failed))
    if alone and not is_broken and len(alone) <= MOST_RETRIED:
        said, is_broken = run([pytest_group("once more, alone", *alone)])
        again = counts(said)
        total["failed"], total["error"] = again["failed"], again["error"]
        total["passed"] += again["passed"]
        print(*(f"failed beside the others: {test}" for test in alone), sep="\n")
    parts = [
        f"{total[word]} {word}" for word in ("failed", "passed", "skipped", "error") if total[word]
    ]
    if alone:
        parts.append(f"{len(alone)} failed beside the others")
    print(f"===== {', '.join(parts)} in {time.monotonic() - began_s:.0f}s =====")
    return int(is_broken or total["failed"] + total["error"] > 0)


if __name__ == "__main__":
    sys.exit(main())
