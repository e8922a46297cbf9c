"""What else moves in a face that speaks: brows, a nod, a blink, after the melody of the speech.

A stressed syllable is louder and higher than those around it. The brows go up with it, and the head
dips a little; at the end of a phrase the eyes blink. All three follow from the sound of the last
second and a half, so a frame's answer is the same in whatever session it is asked for.

How far a syllable stands out is measured against the window's own loudness and pitch: it depends
neither on the voice nor on the level. The level itself says how far the mouth opens: a whisper
moves it less, a shout more, and ordinary speech as much as it is. What follows is smooth: each
answer is a sum of short bells over what was prominent, and a bell lasts longer than a syllable.
"""

from functools import cache
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


class Emphasis(NamedTuple):
    """What accompanies speech, each 0 (nothing) to 1 (as much as there is)."""

    brows: float = 0.0
    """Raised."""
    nod: float = 0.0
    """The head dipped."""
    blink: float = 0.0
    """Eyes shut."""


NONE = Emphasis()


def emphasis(samples: Floats, after: int) -> tuple[Floats, Floats]:
    """Return what accompanies the last frame of each window, and the effort of its voice.

    Args:
        samples: float32 ``[windows, n]``, 16 kHz, at least `HEARD` frames and the look-ahead.
        after: Samples of look-ahead at its end.

    Returns:
        float32 ``[windows, 3]``, as `Emphasis`; and float32 ``[windows]``, by how much the mouth
        opens more than usual.
    """
    end = samples.shape[1] - after
    sound = samples[:, end - HEARD * SAMPLES_PER_FRAME : end]
    loudness_db, soundness, level_db = _loudness(sound)
    pitch, voicing = _pitch(sound)
    curves = _prominence(loudness_db, soundness, pitch, voicing * soundness) @ _bells()
    blink = np.array([_blink(row) for row in (soundness > 0.5).tolist()], np.float32)
    effort = np.interp(level_db, *_EFFORT)
    accents = np.column_stack([np.tanh(curves), blink])
    return np.asarray(accents, np.float32), np.asarray(effort, np.float32)


def _loudness(sound: Floats) -> tuple[Floats, Floats, Floats]:
    """Return each frame's decibels, how surely it is no pause (0..1), and the window's decibels."""
    frames = sound.reshape(len(sound), HEARD, SAMPLES_PER_FRAME)
    power = np.einsum("wfs,wfs->wf", frames, frames) / np.float32(SAMPLES_PER_FRAME)
    # Never below what is audible: the level of a window that is nearly silent is no measure.
    level_db = 10 * np.log10((power @ _taper())[:, None] / _taper().sum() + AUDIBLE**2)
    loudness_db = 10 * np.log10(power + np.float32(1e-9))
    pause_db, sound_db = _SOUND_DB
    soundness = np.clip((loudness_db - level_db + pause_db) / (pause_db - sound_db), 0, 1)
    return (
        np.asarray(loudness_db, np.float32),
        np.asarray(soundness, np.float32),
        np.asarray(level_db[:, 0], np.float32),
    )


def _pitch(sound: Floats) -> tuple[Floats, Floats]:
    """Return semitones over `_LOWEST_HZ`, ``[windows, HEARD]``, and how certain there is one, 0..1.

    By the autocorrelation of the sound at 2 kHz, from its power spectrum.
    """
    windows = len(sound)
    low = np.zeros((windows, _SPAN - _HOP + HEARD * _HOP), np.float32)
    low[:, _SPAN - _HOP :] = sound.reshape(windows, -1, _DECIMATE) @ _ones()
    # Every other frame: a measure spans a frame and a half, and a syllable lasts five.
    count = HEARD // 2
    framed = np.zeros((windows * count, _TRANSFORM), np.float32)
    spans = strided(low, (count, _SPAN), (2 * _HOP, 1), first=_HOP)
    spans = spans.reshape(windows * count, _SPAN)
    np.multiply(spans, _hann(), out=framed[:, :_SPAN])
    powers = cv2.dft(framed, flags=cv2.DFT_ROWS)
    repeats = np.square(powers, out=powers) @ _repetition()
    strength, repeats = repeats[:, 0], repeats[:, 1:]
    best = repeats.argmax(1)
    unvoiced, voiced = _VOICED
    share = repeats[np.arange(len(best)), best] / (strength + np.float32(1e-6))
    voicing = np.clip((share - unvoiced) / (voiced - unvoiced), 0, 1)
    semitones = _semitones()[best].reshape(windows, count)
    return semitones.repeat(2, 1), voicing.reshape(windows, count).repeat(2, 1)


def _prominence(loudness_db: Floats, soundness: Floats, pitch: Floats, voicing: Floats) -> Floats:
    """Return how far each frame stands out of its window, 0..1, ``[windows, HEARD]``."""
    louder = (loudness_db - _mean(loudness_db, soundness)) / _LOUDER_DB
    higher = np.clip((pitch - _mean(pitch, voicing)) / _HIGHER, -1, 2)
    # Loudness decides whether, pitch how much: an octave error alone moves nothing.
    stands_out = np.clip(louder, 0, 1.5) * (0.6 + 0.4 * higher) * voicing
    return np.asarray(np.clip(stands_out - _STANDS_OUT, 0, 1), np.float32)


def _mean(values: Floats, weights: Floats) -> Floats:
    weights = weights * _taper()
    total = np.maximum(weights.sum(1, keepdims=True), 1e-3)
    return np.asarray((values * weights).sum(1, keepdims=True) / total, np.float32)


def _blink(is_sound: list[bool]) -> float:
    """Return how far a blink at the end of the last phrase has come, from ``HEARD`` frames."""
    for since, shut in enumerate(BLINK):
        end = HEARD - since - _PAUSE + 1
        phrase, pause = is_sound[end - _PHRASE : end], is_sound[end : end + _PAUSE]
        if is_sound[end - 1] and not any(pause) and sum(phrase) >= _OF_PHRASE:
            return shut
    return 0.0


@cache
def _taper() -> Floats:
    """Weigh frames: those about to leave the window count less, so that no mean jumps."""
    return np.clip(np.arange(1, HEARD + 1) / 12, 0, 1).astype(np.float32)


@cache
def _ones() -> Floats:
    return np.ones(_DECIMATE, np.float32)


@cache
def _bells() -> Floats:
    """Return how a prominent frame moves brows and head, ``[HEARD, 2]``; the newest is last."""
    since = np.arange(HEARD - 1, -1, -1, dtype=np.float32)

    def bell(peak: float) -> Floats:
        at = since / peak
        return np.asarray(at**2 * np.exp(2 - 2 * at), np.float32)

    return np.stack([0.34 * bell(6.0), 0.38 * bell(4.5)], 1)


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
