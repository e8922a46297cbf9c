"""The front end: sound to log-mel features at 10 ms.

Everything a frame needs is in its window, so nothing is kept between calls. Loudness is taken
out by dividing by the loudest 30 ms of the second before: a whisper close to the microphone and a
shout across the room look the same, down to a floor below which there is only noise. What is longer
ago than a syllable counts less and less, so that after a bang, or when the microphone is turned
down, speech is heard again at once.
"""

from functools import cache

import cv2
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
_LEVEL_HOLD_S, _LEVEL_FALL_DB_S = 0.5, 80.0
"""Loudness so long ago counts in full, and then falls; measured in docs/lips.md."""
_LEVEL_SMOOTH = 3
_LEVEL_FLOOR = 1e-7
"""Mean square, emphasised, below which nothing is amplified: speech at some -60 dBFS."""
_DYNAMIC_FLOOR = 1e-6

AUDIBLE = 1e-3
"""Samples smaller than this, -60 dBFS, are silence."""

LEAD = (_LEVEL_STEPS + _LEVEL_SMOOTH) * HOP
"""Samples that must come before the first step, for its level and its span."""


TAIL = STEPS_PER_FRAME * HOP + _SPAN - HOP + 1
"""Samples that the steps of one frame see, and the one before them."""


def log_mels(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features of windows of equal length.

    Args:
        samples: float32 ``[windows, LEAD + n * HOP]``.

    Returns:
        float32 ``[windows, n, MELS]``; step i sees sound up to sample ``LEAD + (i + 1) * HOP``.
    """
    return log_mels_and_energies(samples)[0]


def log_mels_and_energies(
    samples: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return `log_mels`, and what those of a frame that follows need: the energy of each hop."""
    steps = (samples.shape[1] - LEAD) // HOP
    emphasised = np.zeros(samples.shape, np.float32)
    cv2.scaleAdd(samples[:, :-1], -_PRE_EMPHASIS, samples[:, 1:], emphasised[:, 1:])
    energies = _energies(emphasised)
    return _log_mels(emphasised, energies, steps), energies


def next_log_mels(
    samples: NDArray[np.float32], energies: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the same of the frame after a window, as if of a window that is a frame later.

    Args:
        samples: float32 ``[windows, TAIL]``, up to the end of the frame.
        energies: Those of the window before.
    """
    emphasised = np.empty((len(samples), TAIL - 1), np.float32)
    cv2.scaleAdd(samples[:, :-1], -_PRE_EMPHASIS, samples[:, 1:], emphasised)
    latest = _energies(emphasised[:, -STEPS_PER_FRAME * HOP :])
    energies = np.concatenate([energies[:, STEPS_PER_FRAME:], latest], 1)
    return _log_mels(emphasised, energies, STEPS_PER_FRAME), energies


def _log_mels(
    emphasised: NDArray[np.float32], energies: NDArray[np.float32], steps: int
) -> NDArray[np.float32]:
    """Features of the last ``steps`` steps."""
    windows = len(emphasised)
    first = emphasised.shape[1] - (steps - 1) * HOP - _SPAN
    spans = strided(emphasised, (steps, _SPAN), (HOP, 1), first=first)
    framed = np.zeros((windows, steps, _TRANSFORM), np.float32)
    np.multiply(spans, _hann(), out=framed[..., :_SPAN])
    # A quarter of the time of numpy's.
    spectra = cv2.dft(framed.reshape(windows * steps, _TRANSFORM), flags=cv2.DFT_ROWS)
    powers = np.square(spectra, out=spectra) @ _mel_bank()
    mels = powers.reshape(windows, steps, MELS) / _levels(energies, steps)[..., None]
    mels += np.float32(_DYNAMIC_FLOOR)
    return np.asarray(np.log(mels, out=mels), np.float32)


def strided(
    rows: NDArray[np.float32], shape: tuple[int, ...], steps: tuple[int, ...], *, first: int = 0
) -> NDArray[np.float32]:
    """Return a view of each row as an array whose elements may overlap.

    numpy's sliding windows do the same for ten times the price of the call.

    Args:
        rows: float32 ``[n, ...]``, contiguous.
        shape: Of the view of one row.
        steps: Elements of the row from one place of each axis to the next.
        first: Element of the row that the view begins with.
    """
    size = rows.itemsize
    return np.ndarray(
        (len(rows), *shape),
        rows.dtype,
        rows.data,
        first * size,
        (rows.strides[0], *(step * size for step in steps)),
    )


def _energies(emphasised: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum of the squares of each hop, ``[windows, hops]``."""
    hops = emphasised.reshape(len(emphasised), -1, HOP)
    return np.asarray(np.vecdot(hops, hops), np.float32)


def _levels(energies: NDArray[np.float32], steps: int) -> NDArray[np.float32]:
    """Mean square of the loudest 30 ms of the last second, for each of the last ``steps`` steps."""
    count = steps + _LEVEL_STEPS - 1
    last = energies.shape[1]
    smooth = np.zeros((len(energies), count), np.float32)
    for later in range(_LEVEL_SMOOTH):
        end = last - later
        smooth += energies[:, end - count : end]
    smooth /= np.float32(HOP * _LEVEL_SMOOTH)
    loudest = (strided(smooth, (steps, _LEVEL_STEPS), (1, 1)) * _weights()).max(2)
    return np.asarray(np.maximum(loudest, _LEVEL_FLOOR), np.float32)


@cache
def _weights() -> NDArray[np.float32]:
    """How much the mean squares of the last second count, float32 ``[_LEVEL_STEPS]``."""
    ages_s = np.arange(_LEVEL_STEPS - 1, -1, -1) * HOP / SAMPLE_RATE_HZ
    fallen_db = _LEVEL_FALL_DB_S * np.maximum(ages_s - _LEVEL_HOLD_S, 0)
    return np.asarray(10 ** (-fallen_db / 10), np.float32)


@cache
def _hann() -> NDArray[np.float32]:
    # Scaled so that the power in the bands is of the order of the mean square of the sound.
    window = np.hanning(_SPAN)
    scaled = window / np.sqrt(np.square(window).sum() * _TRANSFORM / 2)
    return np.asarray(scaled, np.float32)


@cache
def _mel_bank() -> NDArray[np.float32]:
    """Triangular bands equally spaced in mel (O'Shaughnessy 1987), ``[512, MELS]``.

    One row for each number of a packed spectrum, squared: the real part of bin 0, then the real and
    the imaginary part of each bin, and last the real part of the middle one.
    """
    lowest, highest = (2595 * np.log10(1 + f / 700) for f in (_LOWEST_HZ, _HIGHEST_HZ))
    corners_hz = 700 * (10 ** (np.linspace(lowest, highest, MELS + 2) / 2595) - 1)
    bins = np.arange(_TRANSFORM // 2 + 1)
    left, middle, right = (corners_hz[i : i + MELS] * _TRANSFORM / SAMPLE_RATE_HZ for i in range(3))
    rising = (bins[:, None] - left) / (middle - left)
    falling = (right - bins[:, None]) / (right - middle)
    bands = np.clip(np.minimum(rising, falling), 0, None)
    return np.asarray(np.repeat(bands, 2, axis=0)[1:-1], np.float32)
