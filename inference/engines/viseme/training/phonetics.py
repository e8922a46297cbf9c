"""From timed phonemes to the mouth they are spoken with: the truth that the net learns.

Each phoneme has a target for the seven values of the mouth shape and a weight, how much it
insists on them: [s] insists on nearly closed teeth, [h] and [k] take the mouth of their
neighbors. The curve of each value is the weighted mean of the targets around, under a Gaussian,
which is the dominance model of co-articulation (Cohen and Massaro 1993) with one common width.
Labials do not compromise: a [p] really closes the lips whatever comes before and after, so their
closures are put back into the smooth curve, in at least one frame each.
"""

import unicodedata
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.engines.viseme.training.speech import Phoneme, Speech
from inference.timing import FRAME_S

VISEMES = (
    *("sil", "PP", "FF", "TH", "DD", "kk", "CH", "SS", "nn", "RR"),
    *("aa", "E", "I", "O", "U"),
)
"""The classes of the visible sounds, in the customary fifteen."""

_STEPS_PER_FRAME = 8
_STEP_S = FRAME_S / _STEPS_PER_FRAME
_SMOOTH_S = 0.032
_CLOSURE_SMOOTH_S = 0.012


@dataclass(frozen=True, slots=True)
class Target:
    """Where a sound wants the mouth; the values of `MouthShape`, ``weight`` how strongly."""

    viseme: str
    open: float
    wide: float = 0.0
    round: float = 0.0
    press: float = 0.0
    tuck: float = 0.0
    teeth: float = 0.0
    tongue: float = 0.0
    weight: float = 1.0

    def values(self) -> tuple[float, ...]:
        return (self.open, self.wide, self.round, self.press, self.tuck, self.teeth, self.tongue)


_SILENCE = Target("sil", 0.0, weight=0.8)
_TARGETS: dict[str, Target] = {}


def _define(symbols: str, target: Target) -> None:
    _TARGETS.update(dict.fromkeys(symbols, target))


_define("a", Target("aa", 1.0, 0.15, teeth=0.3))
_define("ɑ", Target("aa", 1.0, 0.0, teeth=0.15))
_define("æ", Target("aa", 0.9, 0.4, teeth=0.5))
_define("ɐʌ", Target("aa", 0.75, 0.1, teeth=0.3))
_define("ɛ", Target("E", 0.65, 0.45, teeth=0.5))
_define("e", Target("E", 0.5, 0.55, teeth=0.5))
_define("əɘɜ", Target("E", 0.45, 0.1, teeth=0.3, weight=0.8))
_define("iɪɨᵻ", Target("I", 0.3, 0.8, teeth=0.6))
_define("j", Target("I", 0.25, 0.6, teeth=0.5, weight=0.7))
_define("ɒɔ", Target("O", 0.75, -0.3, 0.6))
_define("o", Target("O", 0.55, -0.5, 0.8))
_define("œ", Target("O", 0.55, -0.3, 0.7))
_define("øɵɤ", Target("O", 0.42, -0.5, 0.85))
_define("uʊʉ", Target("U", 0.28, -0.8, 1.0))
_define("yʏɥ", Target("U", 0.24, -0.7, 1.0))
_define("ɯ", Target("I", 0.28, 0.2, 0.2, teeth=0.4))
_define("wʍ", Target("U", 0.14, -0.9, 1.0, weight=1.2))
_define("pbm", Target("PP", 0.0, press=1.0, weight=1.2))
_define("fvɱʋ", Target("FF", 0.06, 0.1, tuck=1.0, teeth=0.6, weight=1.3))
_define("ɸβ", Target("FF", 0.1, -0.2, 0.3, weight=1.1))
_define("θð", Target("TH", 0.16, 0.1, teeth=0.6, tongue=1.0, weight=1.1))
_define("tdʈɖɗ", Target("DD", 0.13, 0.15, teeth=0.6, tongue=0.8))
_define("szɬ", Target("SS", 0.09, 0.4, teeth=1.0, tongue=0.2, weight=1.3))
_define("ʃʒɕʑʂʐ", Target("CH", 0.15, -0.3, 0.7, teeth=0.9, weight=1.3))
_define("nlɫɲʎɭɳ", Target("nn", 0.17, 0.1, teeth=0.4, tongue=0.9, weight=0.9))
_define("ɾɽ", Target("DD", 0.2, 0.1, teeth=0.4, tongue=0.7, weight=0.7))
_define("rɹɻ", Target("RR", 0.22, -0.2, 0.4, teeth=0.4, tongue=0.3, weight=0.9))
_define("ɚɝ", Target("RR", 0.32, -0.15, 0.35, teeth=0.4, weight=0.9))
_define("ʁʀ", Target("RR", 0.25, teeth=0.3, weight=0.5))
_define("kgɡŋxɣqχcɟçɴ", Target("kk", 0.2, 0.1, teeth=0.3, weight=0.8))
_define("hɦħʔʕ", Target("kk", 0.35, 0.05, teeth=0.3, weight=0.5))

_AFFRICATES = {pair: pair[1] for pair in ("tʃ", "dʒ", "tɕ", "dʑ", "ts", "dz", "tʂ", "dʐ")}
# fmt: off
_ARPABET = {
    "aa": "ɑ", "ae": "æ", "ah": "ʌ", "ao": "ɔ", "aw": "aʊ", "ax": "ə", "ay": "aɪ", "b": "b",
    "ch": "tʃ", "d": "d", "dh": "ð", "dx": "ɾ", "eh": "ɛ", "el": "əl", "en": "ən", "er": "ɚ",
    "ey": "eɪ", "f": "f", "g": "g", "hh": "h", "hv": "h", "ih": "ɪ", "ix": "ɪ", "iy": "i",
    "jh": "dʒ", "k": "k", "l": "l", "m": "m", "n": "n", "ng": "ŋ", "ow": "oʊ", "oy": "ɔɪ",
    "p": "p", "r": "ɹ", "s": "s", "sh": "ʃ", "t": "t", "th": "θ", "uh": "ʊ", "uw": "u", "v": "v",
    "w": "w", "y": "j", "z": "z", "zh": "ʒ",
}
# fmt: on


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """The mouth of an utterance, frame by frame.

    ``shapes`` float32 ``[frames, 7]``, columns as in `MouthShape`; ``visemes`` int64 ``[frames]``,
    index into `VISEMES`; ``closed`` float32 ``[frames]``, the share of the frame for which the
    lips are closed by a bilabial; ``speaking`` float32 ``[frames]``, 1 where there is speech.
    """

    shapes: NDArray[np.float32]
    visemes: NDArray[np.int64]
    closed: NDArray[np.float32]
    speaking: NDArray[np.float32]


def truth(speech: Speech, frames: int) -> Truth:
    """Return what the mouth does in the first ``frames`` frames of an utterance."""
    steps = frames * _STEPS_PER_FRAME
    values = np.zeros((steps, 7))
    weights = np.full(steps, _SILENCE.weight)
    labels = np.zeros(steps, np.int64)
    for start_s, end_s, target in _timed_targets(speech):
        here = slice(round(start_s / _STEP_S), round(end_s / _STEP_S))
        values[here] = target.values()
        weights[here] = target.weight
        labels[here] = VISEMES.index(target.viseme)
    smooth = _smoothed(values * weights[:, None], _SMOOTH_S)
    smooth /= _smoothed(weights[:, None], _SMOOTH_S)
    closed = (labels == VISEMES.index("PP")).astype(float)
    tucked = values[:, 4]
    by_frame = (frames, _STEPS_PER_FRAME)
    shapes = smooth.reshape(*by_frame, 7).mean(1)
    shapes[:, 3] = _held(closed, by_frame)
    shapes[:, 4] = _held(tucked, by_frame) * (1 - shapes[:, 3])
    shapes[:, 0] *= 1 - shapes[:, 3]
    shapes[:, 0] -= shapes[:, 4] * np.maximum(shapes[:, 0] - 0.08, 0)
    return Truth(
        shapes.astype(np.float32),
        labels.reshape(by_frame)[:, _STEPS_PER_FRAME // 2],
        closed.reshape(by_frame).mean(1).astype(np.float32),
        _speaking(labels).reshape(by_frame).max(1).astype(np.float32),
    )


def targets_of(symbol: str, *, arpabet: bool = False) -> list[tuple[float, Target]]:
    """Return the targets of a phoneme one after the other, each with its share of the duration."""
    if arpabet:
        symbol = _ARPABET.get(symbol.lower().rstrip("0123456789"), "")
    plain = "".join(
        letter
        for letter in unicodedata.normalize("NFD", symbol)
        if not unicodedata.combining(letter)
    )
    fricative = _AFFRICATES.get(plain[:2])
    if fricative:
        return [(1.0, _TARGETS[fricative])]
    found = [_TARGETS[letter] for letter in plain if letter in _TARGETS]
    return [(1 / len(found), target) for target in found]


def _timed_targets(speech: Speech) -> list[tuple[float, float, Target]]:
    timed: list[tuple[float, float, Target]] = []
    for phoneme in speech.phonemes:
        timed += _targets_in(phoneme, speech.alphabet == "arpabet")
    return timed


def _targets_in(phoneme: Phoneme, arpabet: bool) -> list[tuple[float, float, Target]]:
    targets = targets_of(phoneme.symbol, arpabet=arpabet) or [(1.0, _SILENCE)]
    timed = []
    start_s = phoneme.start_s
    for share, target in targets:
        end_s = start_s + share * (phoneme.end_s - phoneme.start_s)
        timed.append((start_s, end_s, target))
        start_s = end_s
    return timed


def _smoothed(curves: NDArray[np.float64], width_s: float) -> NDArray[np.float64]:
    """Each column of ``curves [steps, n]`` under a Gaussian of standard deviation ``width_s``."""
    reach = round(3 * width_s / _STEP_S)
    kernel = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) * _STEP_S / width_s))
    kernel /= kernel.sum()
    padded = np.pad(curves, ((reach, reach), (0, 0)), "edge")
    return np.stack([np.convolve(column, kernel, "valid") for column in padded.T], 1)


def _held(indicator: NDArray[np.float64], by_frame: tuple[int, int]) -> NDArray[np.float64]:
    """Return a closure in frames: its share of each, but all of the frame that has most of it."""
    curve = _smoothed(indicator[:, None], _CLOSURE_SMOOTH_S)[:, 0]
    frames = curve.reshape(by_frame).mean(1)
    edges = np.flatnonzero(np.diff(np.pad(indicator, 1)))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        first, last = start // _STEPS_PER_FRAME, (end - 1) // _STEPS_PER_FRAME
        frames[first + int(np.argmax(frames[first : last + 1]))] = 1.0
    return np.asarray(frames)


def _speaking(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """1 in sounds and in the pauses between them that are too short to rest in."""
    reach = round(0.06 / _STEP_S)
    sounding = (labels != 0).astype(float)
    near = np.convolve(sounding, np.ones(2 * reach + 1), "same") > 0
    return near.astype(float)
