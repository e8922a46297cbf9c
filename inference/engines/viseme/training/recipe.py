"""The recipe: corpus, fit, weights. In a module of its own, so that a fresh process can run it.

The corpus is made of parts, each by a process of its own: espeak-ng carries its flutter over from
what it said before, so only a process that has said nothing yet repeats itself. Parts and the state
of the fit are kept in a folder: training that was stopped continues where it was.
"""

import logging
import time
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch

from inference.engines.viseme.training import added, corpus, fit, head

_log = logging.getLogger("viseme training")
_CHECKPOINT = "fit.pt"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How weights are made.

    ``is_head_only``: only the last layer of ``start`` is fitted, see `head`.

    ``parts`` of the corpus of ``utterances`` each; ``steps`` of the fit; ``look_ahead`` in samples;
    ``start``: weights to begin with, None: random ones; ``kept`` convolutions of them are left as
    they are, and ``start_share`` of them is in the average that is written; ``folder``: what is
    kept between runs.
    """

    parts: int
    utterances: int
    steps: int
    seed: int
    look_ahead: int
    start: Path | None
    kept: int
    start_share: float
    is_head_only: bool
    folder: Path


def train(recipe: Recipe, weights: Path) -> None:
    """Make the weights; the same ones on the same machine."""
    start_log()
    recipe.folder.mkdir(parents=True, exist_ok=True)
    started_s = time.monotonic()
    for part in range(recipe.parts):
        path = _part_path(recipe, part)
        if not path.exists():
            with get_context("spawn").Pool(1) as pool:
                pool.apply(_speak, (recipe, part))
            _log.info("spoke part %d of %d", part + 1, recipe.parts)
    with get_context("spawn").Pool(1) as pool:
        pool.apply(_fit, (recipe, weights))
    _log.info("wrote %s after %.0f s", weights, time.monotonic() - started_s)


def _speak(recipe: Recipe, part: int) -> None:
    built = corpus.build(recipe.utterances, recipe.seed * 1_000 + part, recipe.look_ahead)
    corpus.save(built, _part_path(recipe, part))


def _fit(recipe: Recipe, weights: Path) -> None:
    start_log()
    # One thread: the sums of several would come in another order each time.
    torch.set_num_threads(1)
    parts = [corpus.load(_part_path(recipe, part)) for part in range(recipe.parts)]
    if recipe.is_head_only:
        if recipe.start is None:
            raise ValueError("the last layer alone is fitted to weights that are there: --start")
        head.refit(recipe.start, parts, weights)
        added.add(weights, parts)
        return
    whole = corpus.joined(parts)
    _log.info("fitting %d minutes of sound", len(whole.visemes) // 1_500)
    fitted = fit.fit(
        whole,
        steps=recipe.steps,
        seed=recipe.seed,
        start=recipe.start,
        kept=recipe.kept,
        checkpoint=recipe.folder / _CHECKPOINT,
    )
    fit.export(fitted, weights, recipe.look_ahead, recipe.start, recipe.start_share)
    added.add(weights, parts)


def _part_path(recipe: Recipe, part: int) -> Path:
    return recipe.folder / f"part_{recipe.seed}_{part:03}_{recipe.utterances}.npz"


def start_log() -> None:
    """Log progress to the terminal."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
