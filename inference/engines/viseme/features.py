"""The front end: sound to log-mel features at 10 ms, in numpy alone.

Everything a frame needs is in its window, so nothing is kept between calls. Loudness is taken
out by dividing by the loudest 30 ms of the second before: a whisper close to the microphone and a
shout across the room look the same, down to a floor below which there is only noise.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from inference.timing import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

MELS = 40
HOP = SAMPLE_RATE_HZ // 100
STEPS_PER_FRAME = SAMPLES_PER_FRAME // HOP

_SPAN = 400
"""Samples under one spectrum: 25 ms."""
_TRANSFORM = 512
_LOWEST_HZ, _HIGHEST_HZ = 60.0, 7_600.0
_PRE_EMPHASIS = 0.9
_LEVEL_STEPS = 100
"""The level is the loudest within one second."""
_LEVEL_SMOOTH = 3
_LEVEL_FLOOR = 1e-7
"""Mean square, emphasised, below which nothing is amplified: speech at some -60 dBFS."""
_DYNAMIC_FLOOR = 1e-6

AUDIBLE = 1e-3
"""Samples smaller than this, -60 dBFS, are silence."""

LEAD = (_LEVEL_STEPS + _LEVEL_SMOOTH) * HOP
"""Samples that must come before the first step, for its level and its span."""


def log_mels(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features of windows of equal length.

    Args:
        samples: float32 ``[windows, LEAD + n * HOP]``.

    Returns:
        float32 ``[windows, n, MELS]``; step i sees sound up to sample ``LEAD + (i + 1) * HOP``.
    """
    emphasised = np.zeros_like(samples)
    np.multiply(samples[:, :-1], np.float32(-_PRE_EMPHASIS), out=emphasised[:, 1:])
    emphasised[:, 1:] += samples[:, 1:]
    steps = (samples.shape[1] - LEAD) // HOP
    spans = np.lib.stride_tricks.sliding_window_view(emphasised, _SPAN, 1)
    first = LEAD + HOP - _SPAN
    framed = spans[:, first : first + steps * HOP : HOP] * _hann()
    # Window by window: one call for all is four times as slow with numpy 2.4.
    spectra = np.stack([np.fft.rfft(window, _TRANSFORM) for window in framed])
    powers = (np.square(spectra.real) + np.square(spectra.imag)).astype(np.float32) @ _mel_bank()
    levels = _levels(emphasised)[:, -steps:, None]
    return np.asarray(np.log(powers / levels + np.float32(_DYNAMIC_FLOOR)), np.float32)


def _levels(emphasised: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean square of the loudest 30 ms of the last second, ``[windows, steps]``."""
    windows = emphasised.shape[0]
    hops = emphasised.reshape(windows, -1, HOP)
    blocks = np.einsum("whs,whs->wh", hops, hops) / np.float32(HOP)
    view = np.lib.stride_tricks.sliding_window_view
    smooth = view(blocks, _LEVEL_SMOOTH, 1).mean(2)
    loudest = view(smooth, _LEVEL_STEPS, 1).max(2)
    return np.asarray(np.maximum(loudest, _LEVEL_FLOOR), np.float32)


@cache
def _hann() -> NDArray[np.float32]:
    # Scaled so that the power in the bands is of the order of the mean square of the sound.
    window = np.hanning(_SPAN)
    scaled = window / np.sqrt(np.square(window).sum() * _TRANSFORM / 2)
    return np.asarray(scaled, np.float32)


@cache
def _mel_bank() -> NDArray[np.float32]:
    """Triangular bands equally spaced in mel (O'Shaughnessy 1987), ``[257, MELS]``."""
    lowest, highest = (2595 * np.log10(1 + f / 700) for f in (_LOWEST_HZ, _HIGHEST_HZ))
    corners_hz = 700 * (10 ** (np.linspace(lowest, highest, MELS + 2) / 2595) - 1)
    bins = np.arange(_TRANSFORM // 2 + 1)
    left, middle, right = (corners_hz[i : i + MELS] * _TRANSFORM / SAMPLE_RATE_HZ for i in range(3))
    rising = (bins[:, None] - left) / (middle - left)
    falling = (right - bins[:, None]) / (right - middle)
    return np.asarray(np.clip(np.minimum(rising, falling), 0, None), np.float32)
