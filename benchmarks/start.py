"""``python -m benchmarks.start [--trials 5]``

How long until a started server answers, until it can speak, and until it has ended when told to.
The database is migrated before, as it is at every start but the first.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.server import ROOT, get_json
from benchmarks.verdict import Verdict

ANSWER_LIMIT_S = 3.0
PORT = 18_642


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3"}
        manage = [sys.executable, "manage.py"]
        subprocess.run([*manage, "migrate", "-v", "0"], cwd=ROOT, env=environment, check=True)
        serve = [*manage, "serve", "--host", "127.0.0.1", "--port", str(PORT)]
        trials = [_trial(serve, environment) for _ in range(arguments.trials)]
    answered_s, ready_s, ended_s = (sorted(column) for column in zip(*trials, strict=True))
    verdict = Verdict("start")
    verdict.below("first /health, slowest", ANSWER_LIMIT_S, answered_s[-1], "s")
    verdict.told("first /health, median", statistics.median(answered_s), "s")
    verdict.told("ready to speak, median", statistics.median(ready_s), "s")
    verdict.told("SIGTERM to the end, median", statistics.median(ended_s), "s")
    return verdict.conclude(arguments.json)


def _trial(serve: list[str], environment: dict[str, str]) -> tuple[float, float, float]:
    """Seconds from start to answer, from start to ready, and from SIGTERM to the end."""
    began_s = time.monotonic()
    with subprocess.Popen(
        serve, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        answered_s = 0.0
        while True:
            try:
                status = get_json(f"ws://127.0.0.1:{PORT}", "/health")["status"]
            except OSError:
                if process.poll() is not None:
                    raise SystemExit("the server did not start") from None
                time.sleep(0.005)  # noqa: TID251  nothing tells when the port opens
                continue
            answered_s = answered_s or time.monotonic() - began_s
            if status == "ready":
                break
        ready_s = time.monotonic() - began_s
        told_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        if process.wait(20) != 0:
            raise SystemExit(f"the server ended with {process.returncode}")
        return answered_s, ready_s, time.monotonic() - told_s


if __name__ == "__main__":
    sys.exit(main())
