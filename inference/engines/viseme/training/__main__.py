"""Make the viseme net: ``python -m inference.engines.viseme.training``.

Speaks the corpus, fits the net on one core, writes ``weights.npz``, scores it on the voices held
out and writes the report ``docs/visemes.md``. ``--evaluate`` only scores the weights that are
there.
"""

import argparse
import logging
import os
import platform
import re
from multiprocessing import get_context
from pathlib import Path

from inference import process_settings
from inference.engines.viseme import net
from inference.engines.viseme.engine import LOOK_AHEAD, VisemeEngine
from inference.engines.viseme.training import report
from inference.engines.viseme.training.recipe import start_log, train
from inference.timing import SAMPLES_PER_MS

_UTTERANCES = 2_400
_EPOCHS = 14
_SEED = 1
_REPORT = Path("docs/visemes.md")

_log = logging.getLogger("viseme training")


def main() -> None:
    """Parse the command line and do it."""
    parser = argparse.ArgumentParser(prog="viseme training", description=__doc__)
    parser.add_argument("--utterances", type=int, default=_UTTERANCES)
    parser.add_argument("--epochs", type=int, default=_EPOCHS)
    parser.add_argument("--seed", type=int, default=_SEED)
    parser.add_argument("--look-ahead-ms", type=int, default=LOOK_AHEAD // SAMPLES_PER_MS)
    parser.add_argument("--weights", type=Path, default=net.WEIGHTS_PATH)
    parser.add_argument("--report", type=Path, default=_REPORT)
    parser.add_argument(
        "--evaluate", action="store_true", help="score the weights that are there, train nothing"
    )
    chosen = parser.parse_args()
    look_ahead = chosen.look_ahead_ms * SAMPLES_PER_MS
    if not chosen.evaluate:
        # In a process of its own: espeak-ng carries its flutter over from what it said before, so
        # only a process that has said nothing yet repeats itself.
        settings = (chosen.utterances, chosen.epochs, chosen.seed, look_ahead, chosen.weights)
        with get_context("spawn").Pool(1) as pool:
            pool.apply(train, settings)
    start_log()
    _log.info("scoring voices, a language and sounds that were held out")
    process_settings.for_streams()  # the report says what a frame takes
    engine = VisemeEngine(chosen.weights, look_ahead)
    engine.load()
    chosen.report.parent.mkdir(parents=True, exist_ok=True)
    chosen.report.write_text(report.written(engine, _machine()), encoding="utf-8")
    _log.info("wrote %s", chosen.report)


def _machine() -> str:
    processors = Path("/proc/cpuinfo")
    names = (
        re.findall(r"model name\s*: (.+)", processors.read_text()) if processors.exists() else []
    )
    processor = names[0] if names else platform.machine()
    return f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
