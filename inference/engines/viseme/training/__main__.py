"""Make the viseme net: ``python -m inference.engines.viseme.training``.

Speaks the corpus, fits the net on one core, writes ``weights.npz``, scores it on the voices held
out and writes the report ``docs/visemes.md``. ``--evaluate`` only scores the weights that are
there.
"""

import argparse
import logging
import os
import platform
import time
from pathlib import Path

import torch

from inference.engines.viseme import net
from inference.engines.viseme.engine import LOOK_AHEAD, VisemeEngine
from inference.engines.viseme.training import corpus, fit, report

_UTTERANCES = 2_400
_EPOCHS = 20
_SEED = 1
_REPORT = Path("docs/visemes.md")

_log = logging.getLogger("viseme training")


def main() -> None:
    """Parse the command line and do it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utterances", type=int, default=_UTTERANCES)
    parser.add_argument("--epochs", type=int, default=_EPOCHS)
    parser.add_argument("--seed", type=int, default=_SEED)
    parser.add_argument("--weights", type=Path, default=net.WEIGHTS_PATH)
    parser.add_argument("--report", type=Path, default=_REPORT)
    parser.add_argument(
        "--evaluate", action="store_true", help="score the weights that are there, train nothing"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if not arguments.evaluate:
        _train(arguments.utterances, arguments.epochs, arguments.seed, arguments.weights)
    engine = VisemeEngine(arguments.weights)
    engine.load()
    _log.info("scoring voices, a language and sounds that were held out")
    text = report.written(engine, machine=f"{platform.machine()}, {os.cpu_count()} cores")
    arguments.report.parent.mkdir(parents=True, exist_ok=True)
    arguments.report.write_text(text, encoding="utf-8")
    _log.info("wrote %s", arguments.report)


def _train(utterances: int, epochs: int, seed: int, weights: Path) -> None:
    # One thread: the sums of several would come in another order each time.
    torch.set_num_threads(1)
    started_s = time.monotonic()
    _log.info("speaking %d utterances", utterances)
    spoken = corpus.build(utterances, seed, LOOK_AHEAD)
    _log.info("%d minutes of sound in %.0f s", len(spoken.visemes) // 1_500, _since(started_s))
    trained = fit.fit(spoken, epochs=epochs, seed=seed)
    fit.export(trained, weights, LOOK_AHEAD)
    _log.info("fitted and wrote %s after %.0f s", weights, _since(started_s))


def _since(started_s: float) -> float:
    return time.monotonic() - started_s


if __name__ == "__main__":
    main()
