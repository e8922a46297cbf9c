"""Make the viseme net: ``python -m inference.engines.viseme.training``.

Speaks the corpus, fits the net on one core, writes ``weights.npz``, scores it on the voices held
out and writes the report ``docs/visemes.md``. What was spoken and fitted is kept in ``--folder``:
training that was stopped continues there. ``--evaluate`` only scores the weights that are there.
"""

import argparse
import logging
import os
import platform
import re
from pathlib import Path

from inference import process_settings
from inference.engines.viseme import net
from inference.engines.viseme.engine import LOOK_AHEAD, VisemeEngine
from inference.engines.viseme.training import report
from inference.engines.viseme.training.recipe import Recipe, start_log, train
from inference.timing import SAMPLES_PER_MS

_PARTS, _UTTERANCES = 40, 60
_STEPS = 4_000
_SEED = 1
_FOLDER = Path("var/training")
_REPORT = Path("docs/visemes.md")

_log = logging.getLogger("viseme training")


def main() -> None:
    chosen = _parser().parse_args()
    look_ahead = chosen.look_ahead_ms * SAMPLES_PER_MS
    if not chosen.evaluate:
        recipe = Recipe(
            parts=chosen.parts,
            utterances=chosen.utterances,
            steps=chosen.steps,
            seed=chosen.seed,
            look_ahead=look_ahead,
            start=chosen.start,
            kept=chosen.kept,
            start_share=chosen.start_share,
            is_head_only=chosen.head_only,
            folder=chosen.folder,
        )
        train(recipe, chosen.weights)
    start_log()
    _log.info("scoring voices, a language and sounds that were held out")
    process_settings.for_streams()  # the report says what a frame takes
    engine = VisemeEngine(chosen.weights, look_ahead)
    engine.load()
    chosen.report.parent.mkdir(parents=True, exist_ok=True)
    chosen.report.write_text(report.written(engine, _machine()), encoding="utf-8")
    _log.info("wrote %s", chosen.report)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="viseme training", description=__doc__)
    parser.add_argument("--parts", type=int, default=_PARTS, help="of the corpus")
    parser.add_argument("--utterances", type=int, default=_UTTERANCES, help="of each part")
    parser.add_argument("--steps", type=int, default=_STEPS, help="of the fit")
    parser.add_argument("--seed", type=int, default=_SEED)
    parser.add_argument("--look-ahead-ms", type=int, default=LOOK_AHEAD // SAMPLES_PER_MS)
    parser.add_argument("--start", type=Path, help="weights to begin with")
    parser.add_argument(
        "--kept", type=int, default=0, help="convolutions of --start that are left as they are"
    )
    parser.add_argument(
        "--start-share", type=float, default=0.0, help="of --start in the weights that are written"
    )
    parser.add_argument(
        "--head-only", action="store_true", help="fit only the last layer of --start"
    )
    parser.add_argument("--folder", type=Path, default=_FOLDER, help="of what is kept between runs")
    parser.add_argument("--weights", type=Path, default=net.WEIGHTS_PATH)
    parser.add_argument("--report", type=Path, default=_REPORT)
    parser.add_argument(
        "--evaluate", action="store_true", help="score the weights that are there, train nothing"
    )
    return parser


def _machine() -> str:
    processors = Path("/proc/cpuinfo")
    names = (
        re.findall(r"model name\s*: (.+)", processors.read_text()) if processors.exists() else []
    )
    processor = names[0] if names else platform.machine()
    return f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
