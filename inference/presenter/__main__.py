"""Draw the presenters' asset folders: ``python -m inference.presenter --output DIR``."""

import argparse
import sys
import time
from pathlib import Path

import cv2

from inference.presenter.build import build
from inference.presenter.looks import LOOKS
from inference.presenter.sheet import contact_sheet

_SHIPPED = Path(__file__).parents[2] / "avatars_app"


def main() -> None:
    parser = argparse.ArgumentParser(prog="inference.presenter", description=__doc__)
    parser.add_argument(
        "--output", type=Path, default=_SHIPPED, help="where a folder for each is made: %(default)s"
    )
    parser.add_argument("--only", choices=sorted(LOOKS), help="draw this one alone")
    parser.add_argument("--sheet", type=Path, help="also write a contact sheet of all (PNG) there")
    parser.add_argument("--processes", type=int, default=2, help="default: %(default)s")
    options = parser.parse_args()
    begun_s = time.monotonic()

    def report(line: str) -> None:
        sys.stdout.write(f"{time.monotonic() - begun_s:6.1f} s  {line}\n")
        sys.stdout.flush()

    for look in LOOKS.values():
        if options.only in (None, look.name):
            build(look, options.output / look.name, report, processes=options.processes)
    if options.sheet:
        drawn = [options.output / name for name in LOOKS]
        folders = [folder for folder in drawn if folder.is_dir()]  # not those left out by --only
        sheet = cv2.cvtColor(contact_sheet(folders), cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(options.sheet), sheet)
    report(f"done: {options.output}")


if __name__ == "__main__":
    main()
