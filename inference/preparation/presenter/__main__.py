"""``python -m inference.preparation.presenter --output DIR``: draw the presenter's asset folder."""

import argparse
import sys
import time
from pathlib import Path

from inference.preparation.presenter.build import build

_SHIPPED = Path(__file__).parents[3] / "avatars_app" / "presenter"


def main() -> None:
    parser = argparse.ArgumentParser(prog="inference.preparation.presenter", description=__doc__)
    parser.add_argument("--output", type=Path, default=_SHIPPED, help="default: %(default)s")
    parser.add_argument("--processes", type=int, default=2, help="default: %(default)s")
    options = parser.parse_args()
    begun_s = time.monotonic()

    def report(line: str) -> None:
        sys.stdout.write(f"{time.monotonic() - begun_s:6.1f} s  {line}\n")
        sys.stdout.flush()

    build(options.output, report, processes=options.processes)
    report(f"done: {options.output}")


if __name__ == "__main__":
    main()
