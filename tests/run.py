"""``python tests/run.py``: all tests, in two processes side by side.

The end-to-end tests mostly wait, and watch clocks; the others mostly compute, and give way to them.
What the others say is printed when they are done, and the sum of both at the very end.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter

GIVES_WAY_BY = 10
PYTEST = (sys.executable, "-m", "pytest")


def counts(output: str) -> Counter[str]:
    """What a run of pytest said in its last line."""
    summaries = re.findall(r"^(?:=+ )?(\d+ (?:passed|failed|error).*?) in \d", output, re.MULTILINE)
    found = re.findall(r"(\d+) (passed|failed|skipped|errors?)", summaries[-1] if summaries else "")
    return Counter({word.rstrip("s") if word == "errors" else word: int(n) for n, word in found})


def main() -> int:
    began_s = time.monotonic()
    with tempfile.TemporaryFile("w+") as log:
        others = subprocess.Popen(
            [*PYTEST, "tests", "--ignore", "tests/e2e"],
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: os.nice(GIVES_WAY_BY),
        )
        end_to_end = subprocess.Popen(
            [*PYTEST, "tests/e2e"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            said = ""
            assert end_to_end.stdout is not None
            for line in end_to_end.stdout:
                said += line
                sys.stdout.write(line)
                sys.stdout.flush()
            statuses = (end_to_end.wait(), others.wait())
        finally:
            for process in (end_to_end, others):
                if process.poll() is None:
                    process.terminate()
                    process.wait()
        log.seek(0)
        told = log.read()
        print(told, end="")
    total = counts(said) + counts(told)
    parts = [
        f"{total[word]} {word}" for word in ("failed", "passed", "skipped", "error") if total[word]
    ]
    print(f"===== {', '.join(parts)} in {time.monotonic() - began_s:.0f}s =====")
    return max(statuses)


if __name__ == "__main__":
    sys.exit(main())
