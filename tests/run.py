"""``python tests/run.py [--lasting]``: the tests, in groups side by side.

Those marked ``lasting`` take over five seconds each, or test the arithmetic of MuseTalk's networks;
``--lasting`` runs them, and nothing else does.

The end-to-end tests mostly wait for servers and watch clocks: beside them, types are checked and
what only computes gives way. A group's report is printed when it ends, with the tests that took
over five seconds and the processor time of the group and all that it started.

All processes of a run share one folder for temporary files, which is removed with it: also what a
process left behind that was killed.

A test that fails beside the others is run once more at the very end, alone: what only a crowded
machine breaks is listed by name, and does not fail the run. What fails again, does.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTEST = (sys.executable, "-m", "pytest")
FOLDER_OF_RUN = "AVATAR_TEST_RUN"
"""The variable that names the folder in which processes find what another one has made."""
GIVES_WAY_BY = 10
TELL_EVERY_S = 30.0
ENDS_WITHIN_S = 30.0
AT_ONCE = {False: 2, True: 3}
"""So many groups of those that watch clocks, and so many of those that give way to them: all of
these, or the last one would be alone at the end, on one core."""
BYTE_CODE = Path(sys.prefix, "byte-code")
"""In the virtual environment, for the next run too: to compile it takes 20 seconds of a core."""
MOST_RETRIED = 10
"""More failures than this are no accident."""

COMPUTING = ("tests/benchmarks", "tests/inference")
PREPARING = "tests/inference/preparation"
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
    gives_way: bool = False
    """Whether it runs beside those that do not, with what they leave of the processor."""
    log: Path = field(default_factory=lambda: Path(tempfile.mkstemp(suffix=".log")[1]))
    process: "subprocess.Popen[bytes] | None" = None
    began_s: float = 0.0

    def start(self) -> None:
        """Begin, without waiting."""
        self.began_s = time.monotonic()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: os.nice(GIVES_WAY_BY * self.gives_way),
            )

    def has_ended(self) -> bool:
        """Say whether it has; if so, what it cost is added to its report."""
        if self.process is None:
            return False
        number, status, usage = os.wait4(self.process.pid, os.WNOHANG)
        if number == 0:
            return False
        self.process.returncode = os.waitstatus_to_exitcode(status)
        took_s, cpu_s = time.monotonic() - self.began_s, usage.ru_utime + usage.ru_stime
        with self.log.open("a") as log:
            log.write(f"{took_s:.0f} s, {cpu_s:.0f} s of processor time\n")
        return True

    @property
    def status(self) -> int | None:
        """The exit status; None while it runs."""
        return None if self.process is None else self.process.returncode

    @property
    def said(self) -> str:
        """The report so far."""
        return self.log.read_text(errors="replace")

    @property
    def has_collected(self) -> bool:
        """Whether all modules of its tests are imported."""
        return re.search(r"^collected \d", self.said, re.M) is not None

    @property
    def progress(self) -> str:
        """How far it is, in words."""
        percents = re.findall(r"\[ *(\d+)%\]$", self.said, re.M)
        return f"{self.name} {percents[-1] if percents else 0} %"

    def stop(self) -> None:
        """End it if it still runs, with all that it started, and forget its report."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # on which pytest ends what tests started
            try:
                self.process.wait(ENDS_WITHIN_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
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


def next_to_start(
    waiting: Sequence[Group], running: Sequence[Group], most: Mapping[bool, int]
) -> Group | None:
    """Return the first group of a kind of which less than ``most`` run, by whether it gives way."""
    at_once = Counter(group.gives_way for group in running)
    return next((one for one in waiting if at_once[one.gives_way] < most[one.gives_way]), None)


def pytest_group(name: str, *arguments: str, gives_way: bool = False) -> Group:
    """Return a group that is a run of pytest."""
    command = (*PYTEST, "-rfE", "--durations=10", "--durations-min=5", *arguments)
    return Group(name, command, gives_way)


def run(groups: Sequence[Group]) -> tuple[str, bool]:
    """Run groups side by side, `AT_ONCE` of either kind at most.

    Until a group has imported its tests, it is one of either kind: what it compiled is there for
    the others, which otherwise all compile the same.

    Returns:
        All that they said, and whether one of them broke off.
    """
    said: list[str] = []
    waiting, running = list(groups), list[Group]()
    is_broken, most = False, {False: 1, True: 1}
    next_told_s = time.monotonic()
    try:
        while waiting or running:
            if said or any(group.has_collected for group in running):
                most = AT_ONCE
            while group := next_to_start(waiting, running, most):
                waiting.remove(group)
                running.append(group)
                group.start()
            time.sleep(0.2)
            for group in [group for group in running if group.has_ended()]:
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
        all_others = pytest_group("the others", *others, gives_way=True)
        return [end_to_end, all_others, browsers]
    types = ("make", "--no-print-directory", "types", "javascript")
    computing = (*chosen, *COMPUTING, f"--ignore={PREPARING}")
    return [
        end_to_end,
        browsers,
        pytest_group("the site", *chosen, *SITE),
        pytest_group("the others", *others, *(f"--ignore={one}" for one in (*COMPUTING, *SITE))),
        Group("types", types, gives_way=True),
        pytest_group("inference", *computing, gives_way=True),
        pytest_group("preparation", *chosen, PREPARING, gives_way=True),
    ]


@contextmanager
def shared_folder() -> Iterator[None]:
    """Keep the temporary files of all processes in a folder that is removed at the end.

    Where the environment says that byte code is not to be written, it is kept in `BYTE_CODE`. The
    run starts hundreds of processes, which would compile the same modules for three seconds each.
    """
    with tempfile.TemporaryDirectory(prefix="avatar-tests-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)  # PostgreSQL's account has a folder in it
        tempfile.tempdir = os.environ["TMPDIR"] = os.environ[FOLDER_OF_RUN] = folder
        if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
            os.environ["PYTHONPYCACHEPREFIX"] = str(BYTE_CODE)
        try:
            yield
        finally:
            tempfile.tempdir = None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lasting", action="store_true", help="those that take long, alone")
    is_lasting = parser.parse_args().lasting
    # Ended from outside, it ends its groups and removes its folder too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with shared_folder():
        return run_all(groups_of(is_lasting=is_lasting))


def run_all(groups: Sequence[Group]) -> int:
    """Run groups, then what failed once more; return the exit status, after the sum is printed."""
    began_s = time.monotonic()
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
