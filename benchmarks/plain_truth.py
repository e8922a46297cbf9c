"""A second opinion on the opening of the mouth: one number for each class of sounds, smoothed.

`phonetics.truth` is what the net was trained with: sounds insist on their mouths with different
strength, and an [e] is opener than a schwa. A score by the same rules favors the net. This curve
has no weights and knows only fifteen classes; a Gaussian of 45 ms does the rest, and [p b m] close.
Scores by both say how much of a number is the truth's own taste.
"""

import numpy as np

from benchmarks.score import Curve, LipTruth
from inference.engines.viseme.training.phonetics import targets_of
from inference.engines.viseme.training.speech import Speech
from inference.timing import FRAME_S

_OPENINGS = {
    **{"sil": 0.0, "PP": 0.0, "FF": 0.1, "TH": 0.22, "DD": 0.22, "kk": 0.28, "CH": 0.22},
    **{"SS": 0.13, "nn": 0.2, "RR": 0.25, "aa": 0.95, "E": 0.55, "I": 0.3, "O": 0.6, "U": 0.28},
}
_STEPS = 8
_SMOOTH_S, _CLOSURE_SMOOTH_S = 0.045, 0.022
_CLOSING = 1.6


def plain_truth(speech: Speech, frames: int) -> LipTruth:
    """Return the opening in the first ``frames`` frames of an utterance, and where [p b m] are."""
    step_s = FRAME_S / _STEPS
    opening = np.zeros(frames * _STEPS)
    bilabial = np.zeros(frames * _STEPS)
    for phoneme in speech.phonemes:
        if not phoneme.symbol:
            continue
        targets = targets_of(phoneme.symbol, arpabet=speech.alphabet == "arpabet")
        start_s = phoneme.start_s
        for share, target in targets:
            end_s = start_s + share * (phoneme.end_s - phoneme.start_s)
            here = slice(round(start_s / step_s), round(end_s / step_s))
            opening[here] = _OPENINGS[target.viseme]
            bilabial[here] = target.viseme == "PP"
            start_s = end_s
    smooth = _smoothed(opening, _SMOOTH_S / step_s)
    smooth *= 1 - np.clip(_CLOSING * _smoothed(bilabial, _CLOSURE_SMOOTH_S / step_s), 0, 1)
    middle = _STEPS // 2
    by_frame = smooth.reshape(frames, _STEPS)
    return LipTruth(
        by_frame[:, middle - 1 : middle + 1].mean(1),
        bilabial.reshape(frames, _STEPS)[:, middle] > 0,
    )


def _smoothed(values: Curve, width: float) -> Curve:
    reach = round(4 * width)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    return np.convolve(np.pad(values, reach, mode="edge"), kernel / kernel.sum(), "valid")
