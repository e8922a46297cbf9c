"""What else moves in a face that speaks: brows, a nod, a blink, after the melody of the speech.

A stressed syllable is louder and higher than those around it. The brows go up with it, and the head
dips a little; at the end of a phrase the eyes blink. All three follow from the sound of the last
second and a half, so a frame's answer is the same in whatever session it is asked for.

How far a syllable stands out is measured against the window's own loudness and pitch: it depends
neither on the voice nor on the level. The level itself says how far the mouth opens: a whisper
moves it less, a shout more, and ordinary speech as much as it is. What follows is smooth: each
answer is a sum of short bells over what was prominent, and a bell lasts longer than a syllable.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from math import exp, log10, tanh
from operator import mul
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.engines.viseme.features import AUDIBLE, strided
from inference.timing import SAMPLES_PER_FRAME

HEARD = 34
"""Frames before and with the one asked for that are listened to."""

Floats = NDArray[np.float32]

_DECIMATE = 8
_HOP = SAMPLES_PER_FRAME // _DECIMATE
_RATE_HZ = 2_000
_SPAN = 128
"""Samples at 2 kHz under one measure of pitch: 64 ms."""
_LEAD = (_SPAN - _HOP) * _DECIMATE
TAIL = _LEAD + SAMPLES_PER_FRAME
"""Samples that the measures of one frame see."""
_TRANSFORM = 256
_LOWEST_HZ, _HIGHEST_HZ = 70, 400
_VOICED = (0.35, 0.6)
"""Of its strength, how well a sound repeats itself that has no pitch, and one that has one."""
_SOUND_DB = (24.0, 12.0)
"""So far below the level of the window is a pause, and sound."""
_LOUDER_DB, _HIGHER = 5.0, 3.0
"""Above the mean of the sound by this much, in decibels and semitones: prominent."""
_EFFORT = ((-44.0, -30.0, -18.0, -9.0), (0.8, 1.0, 1.0, 1.15))
"""Levels of the window in dBFS, and how far the mouth opens at them: whisper to shout."""
_STANDS_OUT = 0.45
"""Prominence below which nothing moves."""

BLINK = (0.35, 0.85, 1.0, 0.9, 0.6, 0.3, 0.1)
"""How far the eyes are shut, frame by frame."""
_PHRASE, _OF_PHRASE, _PAUSE = 15, 11, 4
"""Frames before a pause, how many of them sound in a phrase, and frames of the pause."""


_TAPER = [min((place + 1) / 12, 1.0) for place in range(HEARD)]
"""Weights of frames: those about to leave the window count less, so that no mean jumps."""


def _bell(peak: float, height: float) -> list[float]:
    """Return how a prominent frame moves what follows it; the newest is last."""
    ages = (since / peak for since in range(HEARD - 1, -1, -1))
    return [height * age**2 * exp(2 - 2 * age) for age in ages]


_BROW_BELL, _NOD_BELL = _bell(6.0, 0.34), _bell(4.5, 0.38)


class Emphasis(NamedTuple):
    """What accompanies speech, each 0 (nothing) to 1 (as much as there is)."""

    brows: float = 0.0
    """Raised."""
    nod: float = 0.0
    """The head dipped."""
    blink: float = 0.0
    """Eyes shut."""


NONE = Emphasis()


class Melody(NamedTuple):
    """What was measured of the last `HEARD` frames of a window, float32 ``[HEARD]`` each.

    ``energy``: sum of the squares; ``pitch``: semitones over `_LOWEST_HZ`; ``voicing``: how
    certain there is a pitch, 0..1.
    """

    energy: Floats
    pitch: Floats
    voicing: Floats


def melody(samples: Floats, after: int) -> Melody:
    """Measure a window.

    Args:
        samples: float32 ``[n]``, 16 kHz, at least `HEARD` frames and the look-ahead.
        after: Samples of look-ahead at its end.
    """
    end = len(samples) - after
    start = end - HEARD * SAMPLES_PER_FRAME
    lead = min(start, _LEAD)
    return _measured(np.pad(samples[start - lead : end], (_LEAD - lead, 0)))


def next_melody(samples: Floats, after: int, before: Melody) -> Melody:
    """Measure the frame after a window.

    Args:
        samples: float32 ``[n]``, at least `TAIL` and the look-ahead.
        after: Samples of look-ahead at its end.
        before: Of the window before; left as it is.
    """
    end = len(samples) - after
    latest = _measured(samples[end - TAIL : end])
    return Melody(*(np.append(old[1:], new) for old, new in zip(before, latest, strict=True)))


def emphasis(heard: Melody) -> tuple[Emphasis, float]:
    """Return what accompanies the last frame of a window, and the effort of its voice.

    The effort is by how much the mouth opens more than usual. A few dozen numbers: plain Python
    takes a third of the time of numpy's calls.
    """
    power = [energy / SAMPLES_PER_FRAME for energy in heard.energy.tolist()]
    # Never below what is audible: the level of a window that is nearly silent is no measure.
    level_db = 10 * log10(_sumprod(power, _TAPER) / sum(_TAPER) + AUDIBLE**2)
    loudness_db = [10 * log10(one + 1e-9) for one in power]
    pause_db, sound_db = _SOUND_DB
    soundness = [_between(one, level_db - pause_db, level_db - sound_db) for one in loudness_db]
    brows = nod = 0.0
    for place, prominence in _prominent(loudness_db, soundness, heard):
        brows += prominence * _BROW_BELL[place]
        nod += prominence * _NOD_BELL[place]
    blink = _blink([one > 0.5 for one in soundness])
    return Emphasis(tanh(brows), tanh(nod), blink), float(np.interp(level_db, *_EFFORT))


def _measured(sound: Floats) -> Melody:
    """Measure frames; ``sound`` begins `_LEAD` samples before them.

    The pitch by the autocorrelation of the sound at 2 kHz, from its power spectrum.
    """
    spoken = sound[_LEAD:].reshape(-1, SAMPLES_PER_FRAME)
    low = sound.reshape(-1, _DECIMATE) @ _ones()
    framed = np.zeros((len(spoken), _TRANSFORM), np.float32)
    spans = strided(low[None], (len(spoken), _SPAN), (_HOP, 1))[0]
    np.multiply(spans, _hann(), out=framed[:, :_SPAN])
    powers = cv2.dft(framed, flags=cv2.DFT_ROWS)
    repeats = np.square(powers, out=powers) @ _repetition()
    strength, repeats = repeats[:, 0], repeats[:, 1:]
    unvoiced, voiced = _VOICED
    share = repeats.max(1) / (strength + np.float32(1e-6))
    voicing = np.clip((share - unvoiced) / (voiced - unvoiced), 0, 1)
    return Melody(np.vecdot(spoken, spoken), _semitones()[repeats.argmax(1)], voicing)


def _prominent(
    loudness_db: list[float], soundness: list[float], heard: Melody
) -> Iterator[tuple[int, float]]:
    """Yield the frames that stand out of the window, and how far, 0..1."""
    # Of every other frame: a measure spans a frame and a half, and a syllable lasts five.
    pitch, voicing = (measure[1::2].repeat(2).tolist() for measure in heard[1:])
    sound = list(map(mul, soundness, _TAPER))
    voiced = list(map(mul, sound, voicing))
    mean_db = _sumprod(loudness_db, sound) / max(sum(sound), 1e-3)
    mean_pitch = _sumprod(pitch, voiced) / max(sum(voiced), 1e-3)
    for place, louder_db in enumerate(loudness_db):
        if louder_db <= mean_db or not voicing[place]:
            continue
        louder = min((louder_db - mean_db) / _LOUDER_DB, 1.5)
        higher = min(max((pitch[place] - mean_pitch) / _HIGHER, -1.0), 2.0)
        # Loudness decides whether, pitch how much: an octave error alone moves nothing.
        stands_out = louder * (0.6 + 0.4 * higher) * voicing[place] * soundness[place]
        if stands_out > _STANDS_OUT:
            yield place, min(stands_out - _STANDS_OUT, 1.0)


def _between(value: float, zero: float, one: float) -> float:
    """Return 0 up to ``zero``, 1 from ``one`` on, and evenly between."""
    return min(max((value - zero) / (one - zero), 0.0), 1.0)


def _sumprod(values: Sequence[float], weights: Sequence[float]) -> float:
    return float(sum(map(mul, values, weights)))


def _blink(is_sound: list[bool]) -> float:
    """Return how far a blink at the end of the last phrase has come, from ``HEARD`` frames."""
    for since, shut in enumerate(BLINK):
        end = HEARD - since - _PAUSE
        phrase, pause = is_sound[end - _PHRASE : end], is_sound[end : end + _PAUSE]
        if is_sound[end - 1] and not any(pause) and sum(phrase) >= _OF_PHRASE:
            return shut
    return 0.0


@cache
def _ones() -> Floats:
    return np.ones(_DECIMATE, np.float32)


@cache
def _hann() -> Floats:
    return np.hanning(_SPAN).astype(np.float32)


def _lags() -> NDArray[np.float64]:
    """Return candidates half a semitone apart, in samples at 2 kHz."""
    count = round(24 * np.log2(_HIGHEST_HZ / _LOWEST_HZ)) + 1
    return np.asarray(_RATE_HZ / np.geomspace(_LOWEST_HZ, _HIGHEST_HZ, count))


@cache
def _semitones() -> Floats:
    return (12 * np.log2(_RATE_HZ / _lags() / _LOWEST_HZ)).astype(np.float32)


@cache
def _repetition() -> Floats:
    """Make autocorrelations, at lag 0 and the others, of packed power spectra: ``[256, n]``."""
    bins = np.repeat(np.arange(_TRANSFORM // 2 + 1), 2)[1:-1]
    weight = np.where((bins == 0) | (bins == _TRANSFORM // 2), 1.0, 2.0)
    lags = np.concatenate([[0.0], _lags()])
    waves = weight[:, None] * np.cos(2 * np.pi * bins[:, None] * lags / _TRANSFORM)
    window = np.hanning(_SPAN)
    overlap = np.interp(lags, np.arange(_SPAN), np.correlate(window, window, "full")[_SPAN - 1 :])
    # A short window repeats less the longer the lag; and of two octaves the higher is likelier.
    falls = overlap[0] / overlap * (1 - 0.08 * np.log2(np.maximum(lags, lags[-1]) / lags[-1]))
    return np.asarray(waves * falls, np.float32)
