"""Two outputs that are fitted after all others, which they leave as they are.

- *rounded*: whether lips are rounded rather than spread, by logistic regression over the frames in
  which they are one or the other. The value of the shape hedges where a voice says [u] far to the
  front; this is a decision.
- *jaw*: how far the jaw is open, by least squares. Lips close for [p b m] and [f v] by themselves
  while the jaw moves to the next vowel: its truth is the opening of the sounds around.

Both see what the last layer sees, so they cost the net two columns.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.engines.viseme import net
from inference.engines.viseme.shape import MouthShape
from inference.engines.viseme.training import head
from inference.engines.viseme.training.corpus import Corpus

_OPEN, _WIDE, _ROUND, _PRESS, _TUCK = (
    MouthShape._fields.index(name) for name in ("open", "wide", "round", "press", "tuck")
)
_ROUNDED, _SPREAD = 0.5, 0.4
"""From which values on lips are one or the other."""
_SIGMA = 1.6
"""Frames: how slow a jaw is."""
_LEAST = 0.02
"""What a frame in which the lips move by themselves counts for the jaw."""
_BY_THEMSELVES = 1.3
"""How much sooner than wholly pressed or tucked lips do that."""


def add(path: Path, corpora: list[Corpus]) -> None:
    """Fit both outputs to ``corpora`` and write them into the weights at ``path``."""
    trained = net.Net(path)
    hidden, shapes, speaking = head.seen(trained, corpora)
    scaled, scale = head.evened(hidden)
    is_rounded = shapes[:, _ROUND] > _ROUNDED
    is_either = is_rounded | (shapes[:, _WIDE] > _SPREAD)
    counts = np.where(speaking > 0, 1.0, head.UNSPOKEN_WEIGHT)
    fitted = [
        head.logistic(scaled[is_either], np.zeros(is_either.sum()), is_rounded[is_either], 1.0),
        head.least_squares(scaled, jaw(shapes), counts),
    ]
    weights = np.column_stack(fitted) / scale[:, None]
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    for name, added in zip(net.ADDED, (weights[:-1], weights[-1]), strict=True):
        arrays[name] = added.astype(np.float16)
    np.savez_compressed(path, allow_pickle=False, **arrays)


def jaw(shapes: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return how far the jaw is open in each frame, ``[frames]``, of mouth shapes ``[frames, 7]``.

    It follows the opening of the lips, slowly, where they do not move by themselves.
    """
    alone = np.maximum(shapes[:, _PRESS], shapes[:, _TUCK])
    counts = np.clip(1 - _BY_THEMSELVES * alone, _LEAST, 1).astype(np.float64)
    reach = round(4 * _SIGMA)
    bell = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / _SIGMA))
    bell /= bell.sum()
    opening, around = (
        np.convolve(curve, bell, "same") for curve in (counts * shapes[:, _OPEN], counts)
    )
    return np.asarray(opening / around)
