"""``python -m benchmarks.visemes [--weights FILE]``

How well the viseme net hears, on voices, a language and sentences that it was not trained on: the
tables of docs/visemes.md, measured again. Needs espeak-ng and flite.
"""

import argparse
from pathlib import Path

from benchmarks.machine import machine
from inference import process_settings
from inference.engines.viseme.engine import VisemeEngine
from inference.engines.viseme.net import WEIGHTS_PATH
from inference.engines.viseme.training import report


def main() -> None:
    process_settings.for_streams()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS_PATH)
    engine = VisemeEngine(parser.parse_args().weights)
    engine.load()
    print(report.written(engine, machine()))


if __name__ == "__main__":
    main()
