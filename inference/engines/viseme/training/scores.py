"""How well one curve of mouths follows another: the numbers of the report.

They are the same for the net's output and for the opening measured in a decoded video, so both
can be compared.
"""

import numpy as np
from numpy.typing import NDArray

from inference.engines.viseme.training.phonetics import VISEMES, Truth

Curve = NDArray[np.float32]

CLOSED_BELOW = 0.15
OPEN_ABOVE = 0.5
_MOST_LAG = 6
_PP = VISEMES.index("PP")


def correlation(opening: Curve, truth: Curve) -> float:
    """Pearson's r; 0 where one of the curves does not move."""
    if opening.std() < 1e-6 or truth.std() < 1e-6:
        return 0.0
    return float(np.corrcoef(opening, truth)[0, 1])


def best_lag(opening: Curve, truth: Curve) -> tuple[int, float]:
    """Return the delay in frames of the best correlation (late: positive), and r there."""
    scored = []
    for lag in range(-_MOST_LAG, _MOST_LAG + 1):
        late = opening[max(lag, 0) : len(opening) + min(lag, 0)]
        early = truth[max(-lag, 0) : len(truth) + min(-lag, 0)]
        scored.append((correlation(late, early), lag))
    best, lag = max(scored)
    return lag, best


def separation(opening: Curve, truth: Truth) -> float:
    """AUC: how often a wide open vowel is more open than a bilabial, one frame either way free."""
    around = np.lib.stride_tricks.sliding_window_view(np.pad(opening, 1, "edge"), 3).min(1)
    vowels = opening[truth.shapes[:, 0] > OPEN_ABOVE]
    bilabials = around[truth.visemes == _PP]
    if not len(vowels) or not len(bilabials):
        return float("nan")
    greater = vowels[:, None] > bilabials
    equal = vowels[:, None] == bilabials
    return float((greater + 0.5 * equal).mean())


def closures(opening: Curve, truth: Truth) -> tuple[int, int]:
    """How many [p b m] in speech close the mouth, a frame either way free, and of how many."""
    hits = total = 0
    edges = np.flatnonzero(np.diff(np.pad((truth.visemes == _PP).astype(int), 1)))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        around = truth.visemes[max(0, start - 4) : end + 4]
        if np.all((around == _PP) | (around == 0)):
            continue
        total += 1
        hits += bool(opening[max(0, start - 1) : end + 1].min() < CLOSED_BELOW)
    return hits, total


def wrongly_closed(opening: Curve, truth: Truth) -> float:
    """Share of wide open vowel frames at which the mouth is shut."""
    return float((opening[truth.shapes[:, 0] > OPEN_ABOVE] < CLOSED_BELOW).mean())


def restlessness(curve: Curve) -> float:
    """Mean change of the movement from frame to frame, against what the curve covers at all."""
    return float(np.abs(np.diff(curve, 2)).mean() / (curve.std() + 1e-6))
