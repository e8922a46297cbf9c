"""The recipe: corpus, fit, weights. In a module of its own, so that a fresh process can run it."""

import logging
import time
from pathlib import Path

import torch

from inference.engines.viseme.training import corpus, fit

_log = logging.getLogger("viseme training")


def train(utterances: int, epochs: int, seed: int, look_ahead: int, weights: Path) -> None:
    """Make the weights; the same ones in every fresh process of one machine."""
    start_log()
    # One thread: the sums of several would come in another order each time.
    torch.set_num_threads(1)
    started_s = time.monotonic()
    _log.info("speaking %d utterances", utterances)
    spoken = corpus.build(utterances, seed, look_ahead)
    spoken_s = time.monotonic() - started_s
    _log.info("%d minutes of sound in %.0f s", len(spoken.visemes) // 1_500, spoken_s)
    trained = fit.fit(spoken, epochs=epochs, seed=seed)
    fit.export(trained, weights, look_ahead)
    _log.info("fitted and wrote %s after %.0f s", weights, time.monotonic() - started_s)


def start_log() -> None:
    """Log progress to the terminal."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
