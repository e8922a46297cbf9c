"""How well lips go with speech: what is seen in a video against what is known of its sound.

Only one thing is taken from the pictures, the gap between the inner lips in units of the distance
of the eyes. It is compared with the opening that the phonemes ask for:

- correlation: Pearson's r at the lag where it is largest, and that lag, in frames; a positive lag
  means that the picture comes late.
- separation: the probability that a picture of an open vowel is more open than one of [p b m]
  (the area under the ROC curve): free of thresholds and of scale. A closure may be shorter than a
  frame and fall between two, so a bilabial counts with the least open picture of its neighborhood.
- the same correlation with the truth of other speech: what moving lips alone would earn.

The mesh that finds the lips errs, by a different amount for each place of the face in its crop. A
reading is its first look, as anybody's scorer would take it; `steady_gap` is the mean of nine
looks, which takes most of that error away: the lips as they are, not as one look saw them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.faces.mesh import Crop, Face, FaceMesh
from inference.faces.tflite import RgbPicture

LAG_REACH = 6
OPEN_VOWEL = 0.5
"""Opening from which on a frame of the truth counts as an open vowel."""

_LOOKS = (
    Crop(),
    *(Crop(0.02 * x, 0.02 * y, 1 + 0.05 * x * y, 0.02 * x) for x in (-1, 1) for y in (-1, 1)),
    *(Crop(right=0.03 * x, turn=-0.03 * x) for x in (-1, 1)),
    *(Crop(down=0.03 * y, zoom=1 - 0.08 * y) for y in (-1, 1)),
)

_INNER_LIPS = ((82, 87), (13, 14), (312, 317))

Curve = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class LipTruth:
    """Of each frame: ``opening`` 0..1 (float64 ``[frames]``), whether it is a bilabial's (bool)."""

    opening: Curve
    is_bilabial: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.opening)


@dataclass(frozen=True, slots=True)
class Score:
    """See the module. ``missed``: share of the pictures without a face."""

    frames: int
    missed: float
    correlation: float
    lag: int
    separation: float
    wrong: float


def lip_gap(face: Face | None) -> float:
    """Gap of the inner lips over the distance of the eyes; NaN without a face."""
    if face is None:
        return float("nan")
    upper, lower = np.transpose(_INNER_LIPS)
    gaps = np.linalg.norm(face.landmarks[upper, :2] - face.landmarks[lower, :2], axis=1)
    return float(gaps.mean()) / face.interocular


def steady_gap(mesh: FaceMesh, picture: RgbPicture, face: Face | None) -> float:
    """Return the mean `lip_gap` of several looks at a face that ``mesh`` found in ``picture``."""
    if face is None:
        return float("nan")
    looks = (mesh.find_again(picture, face, crop) for crop in _LOOKS)
    gaps = [lip_gap(look) for look in looks if look is not None]
    return float(np.mean(gaps)) if gaps else float("nan")


def filled(gaps: Sequence[float]) -> Curve:
    """``gaps`` with NaN bridged linearly; ValueError if there is nothing else."""
    curve = np.asarray(gaps, np.float64)
    known = np.isfinite(curve)
    if not known.any():
        raise ValueError("no picture shows a face")
    places = np.arange(len(curve))
    return np.interp(places, places[known], curve[known])


def correlation(seen: Curve, truth: Curve, *, reach: int = LAG_REACH) -> tuple[float, int]:
    """Pearson's r at the best lag within ``reach`` frames, and that lag; 0.0 of a still curve."""
    count = min(len(seen), len(truth))
    best = (-1.0, 0)
    for lag in sorted(range(-reach, reach + 1), key=abs):
        late = seen[max(lag, 0) : count + min(lag, 0)]
        due = truth[max(-lag, 0) : count + min(-lag, 0)]
        if len(late) < 2:
            continue
        best = max(best, (_pearson(late, due), lag), key=lambda found: found[0])
    return best


def separation(seen: Curve, truth: LipTruth) -> float:
    """See the module; NaN if the speech has no open vowel or no bilabial."""
    count = min(len(seen), len(truth))
    seen = seen[:count]
    around = np.pad(seen, 1, mode="edge")
    least = np.minimum(np.minimum(around[:-2], around[2:]), seen)
    closed = np.sort(least[truth.is_bilabial[:count]])
    is_vowel = (truth.opening[:count] > OPEN_VOWEL) & ~truth.is_bilabial[:count]
    vowels = seen[is_vowel]
    if not len(closed) or not len(vowels):
        return float("nan")
    below = np.searchsorted(closed, vowels, "left") + np.searchsorted(closed, vowels, "right")
    return float(below.mean()) / 2 / len(closed)


def score(gaps: Sequence[float], truth: LipTruth, others: Sequence[LipTruth]) -> Score:
    """Score a video against the truth of its own speech and of ``others``."""
    seen = filled(gaps)
    found, lag = correlation(seen, truth.opening)
    wrong = [correlation(seen, other.opening)[0] for other in others]
    return Score(
        frames=min(len(seen), len(truth)),
        missed=float(np.isnan(gaps).mean()),
        correlation=found,
        lag=lag,
        separation=separation(seen, truth),
        wrong=float(np.mean(wrong)) if wrong else float("nan"),
    )


def _pearson(a: Curve, b: Curve) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt(np.square(a).sum() * np.square(b).sum()))
    return float((a * b).sum()) / scale if scale > 1e-12 else 0.0
