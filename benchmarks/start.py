"""``python -m benchmarks.start [--trials 5] [--processes 1 2]``

How long until a started server answers, until all its processes can speak, and until it has ended
when told to. The database is migrated and the engine measured before, as at every start but the
first.
"""

import argparse
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from benchmarks.folders import ROOT
from benchmarks.server import add_json_argument, free_port, get_json, own_settings
from benchmarks.verdict import Verdict

ANSWER_LIMIT_S = 3.0
READY_LIMIT_S = 5.0
GIVE_UP_S = 60.0
POLL_S = 0.005


class Trial(NamedTuple):
    """One start and end, in seconds."""

    answered_s: float
    """From the start to the first answer of /health."""
    ready_s: float
    """From the start to all processes ready to speak."""
    ended_s: float
    """From SIGTERM to the end."""


def main() -> int:
    parser = argparse.ArgumentParser(description="How long does a start take?")
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument(
        "--processes", type=int, nargs="+", default=[1, 2], help="numbers of processes to try"
    )
    add_json_argument(parser)
    options = parser.parse_args()
    verdict = Verdict("start")
    with tempfile.TemporaryDirectory() as folder:
        environment = own_settings(
            DATABASE_URL=f"sqlite:///{folder}/db.sqlite3", AVATARS_DIR=f"{folder}/avatars"
        )
        manage = [sys.executable, "manage.py"]
        subprocess.run([*manage, "migrate", "-v", "0"], cwd=ROOT, env=environment, check=True)
        for count in options.processes:
            _trial(count, environment, Path(folder) / "log")  # measures the engine
            trials = [
                _trial(count, environment, Path(folder) / "log") for _ in range(options.trials)
            ]
            _judge(verdict, count, trials)
    return verdict.conclude(options.json)


def _judge(verdict: Verdict, count: int, trials: Sequence[Trial]) -> None:
    answered_s, ready_s, ended_s = zip(*trials, strict=True)
    name = f"{count} process{'es' if count > 1 else ''}"
    verdict.below(f"{name}: first /health, slowest", ANSWER_LIMIT_S, max(answered_s), "s")
    verdict.told(f"{name}: first /health, median", statistics.median(answered_s), "s")
    verdict.below(f"{name}: ready to speak, slowest", READY_LIMIT_S, max(ready_s), "s")
    verdict.told(f"{name}: ready to speak, median", statistics.median(ready_s), "s")
    verdict.told(f"{name}: SIGTERM to the end, median", statistics.median(ended_s), "s")


def _trial(count: int, environment: dict[str, str], log: Path) -> Trial:
    port = free_port()
    ready = "takes sessions" if count == 1 else f"{count} processes are ready"
    serve = [sys.executable, "manage.py", "serve", "--host", "127.0.0.1", "--port", str(port)]
    began_s = time.monotonic()
    with (
        log.open("w") as output,
        subprocess.Popen(
            [*serve, "--processes", str(count)],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
        ) as process,
    ):
        answered_s: float | None = None
        while answered_s is None or ready not in log.read_text():
            if process.poll() is not None or time.monotonic() - began_s > GIVE_UP_S:
                process.kill()
                raise SystemExit(f"the server did not start:\n{log.read_text()[-2_000:]}")
            if answered_s is None:
                with suppress(OSError):
                    get_json(f"ws://127.0.0.1:{port}", "/health")
                    answered_s = time.monotonic() - began_s
            time.sleep(POLL_S)  # noqa: TID251  nothing tells when the port opens
        ready_s = time.monotonic() - began_s
        ending_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        if process.wait(20) != 0:
            raise SystemExit(f"the server ended with {process.returncode}")
        return Trial(answered_s, ready_s, time.monotonic() - ending_s)


if __name__ == "__main__":
    sys.exit(main())
