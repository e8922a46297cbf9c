"""How well one curve of mouths follows another: the numbers of the report.

They are the same for the net's output and for the opening measured in a decoded video, so both
can be compared.
"""

import numpy as np
from numpy.typing import NDArray

from inference.engines.viseme.shape import MouthShape
from inference.engines.viseme.training.phonetics import VISEMES, Truth
from inference.timing import FRAME_MS

Curve = NDArray[np.float32]

CLOSED_BELOW = 0.15
OPEN_ABOVE = 0.5
_MOST_LAG = 6
_PP = VISEMES.index("PP")
_WIDE, _ROUND, _TUCK = (MouthShape._fields.index(name) for name in ("wide", "round", "tuck"))


def correlation(opening: Curve, truth: Curve) -> float:
    """Pearson's r; 0 where one of the curves does not move."""
    if opening.std() < 1e-6 or truth.std() < 1e-6:
        return 0.0
    return float(np.corrcoef(opening, truth)[0, 1])


def best_lag(opening: Curve, truth: Curve) -> tuple[int, float]:
    """Return the delay in frames of the best correlation (late: positive), and r there."""
    scored = []
    for lag in range(-_MOST_LAG, _MOST_LAG + 1):
        scored.append((_correlation_at(opening, truth, lag), lag))
    best, lag = max(scored)
    return lag, best


def lag_ms(opening: Curve, truth: Curve) -> float:
    """The delay of the opening, finer than a frame: the top of a parabola through r at three lags.

    Positive: the mouth is late, so the sound is early, as EBU R 37 and ITU-R BT.1359 count it.
    """
    lag, _ = best_lag(opening, truth)
    before, at, after = (_correlation_at(opening, truth, lag + step) for step in (-1, 0, 1))
    bend = before - 2 * at + after
    return FRAME_MS * (lag + (0.5 * (before - after) / bend if bend < 0 else 0.0))


def _correlation_at(opening: Curve, truth: Curve, lag: int) -> float:
    late = opening[max(lag, 0) : len(opening) + min(lag, 0)]
    early = truth[max(-lag, 0) : len(truth) + min(-lag, 0)]
    return correlation(late, early)


def separation(opening: Curve, truth: Truth) -> float:
    """AUC: how often a wide open vowel is more open than a bilabial, one frame either way free."""
    around = np.lib.stride_tricks.sliding_window_view(np.pad(opening, 1, "edge"), 3).min(1)
    return _auc(opening[truth.shapes[:, 0] > OPEN_ABOVE], around[truth.visemes == _PP])


def contact(shapes: NDArray[np.float32], truth: Truth) -> float:
    """AUC: how often the lip is more tucked at [f v], a frame either way, than elsewhere."""
    tuck = shapes[:, _TUCK]
    around = np.lib.stride_tricks.sliding_window_view(np.pad(tuck, 1, "edge"), 3).max(1)
    is_contact = truth.shapes[:, _TUCK] > 0.9
    near = np.convolve(truth.shapes[:, _TUCK] > 0.1, np.ones(3), "same") > 0
    return _auc(around[is_contact], tuck[(truth.speaking > 0) & ~near])


def rounding(shapes: NDArray[np.float32], truth: Truth) -> float:
    """AUC: how often the lips are rounder at [w u o] than at spread [i e]."""
    wanted = truth.shapes
    return _auc(shapes[wanted[:, _ROUND] > 0.5, _ROUND], shapes[wanted[:, _WIDE] > 0.4, _ROUND])


def _auc(greater: Curve, smaller: Curve) -> float:
    if not len(greater) or not len(smaller):
        return float("nan")
    above = greater[:, None] > smaller
    equal = greater[:, None] == smaller
    return float((above + 0.5 * equal).mean())


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
