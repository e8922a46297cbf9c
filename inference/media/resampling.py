"""Streaming sample-rate conversion to 16 kHz, for speech that arrives in chunks of any size.

A polyphase FIR filter (a Kaiser-windowed sinc), evaluated only where an output sample falls. Output
sample k is at input time k · rate / 16000; it needs `HALF_S` of input on both sides, which is the
latency. Samples before the first and after the last are zeros. How the input is cut into chunks
does not change the output.

soxr's streaming mode holds back 36 to 115 ms and emits in bursts, which is too much for live
speech; the tests use it as the reference for quality.

The outputs are computed in groups: a group's inputs, one row of a matrix, times a matrix of the
filter's taps, shifted for each output. That is one product of two matrices for a chunk, at half
again as many operations as needed and a fraction of the time.

Formulas: A. V. Oppenheim and R. W. Schafer, Discrete-Time Signal Processing, 3rd edition, §7.5
(Kaiser window) and §4.6 (polyphase structures).
"""

from functools import lru_cache
from math import gcd

import numpy as np
from numpy.typing import NDArray

from inference.timing import SAMPLE_RATE_HZ

HALF_S = 0.0045
"""Half the length of the filter: the added latency, in seconds."""

_BETA = 8.0
"""Kaiser window: 80 dB of attenuation in the stop band."""

_BLOCK = 6400
"""Output samples computed at once, about: bounds the memory of a long chunk."""
_MIN_GROUP = 48
"""Outputs of a group, at least."""


class Resampler:
    """Converts one utterance of one rate to 16 kHz. Not thread-safe."""

    def __init__(self, rate: int) -> None:
        """Start at the first sample of an utterance.

        Args:
            rate: Sample rate of the input, in Hz.
        """
        divisor = gcd(rate, SAMPLE_RATE_HZ)
        self._up, self._down = SAMPLE_RATE_HZ // divisor, rate // divisor
        self._is_identity = self._up == self._down
        self._half = round(HALF_S * rate)
        self._matrix = _matrix(rate)
        # Input samples from index `_start` on; `_half` zeros stand before the first.
        self._input = np.zeros(self._half, np.float32)
        self._start = -self._half
        self._received = 0
        self._emitted = 0

    def push(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """Convert the next samples.

        Args:
            samples: int16 ``[n]``, mono.

        Returns:
            int16 ``[m]``: all output samples whose input is complete.
        """
        self._received += len(samples)
        if self._is_identity:
            self._emitted += len(samples)
            return samples
        self._input = np.concatenate([self._input, samples.astype(np.float32)])
        # Output k needs input up to floor(k · down / up) + half.
        last_center = self._received - 1 - self._half
        ready = (last_center * self._up + self._up - 1) // self._down + 1 if last_center >= 0 else 0
        return self._emit(ready)

    def flush(self) -> NDArray[np.int16]:
        """Convert what is left, with zeros for the input that has not come.

        More input may follow: then what comes out continues where this ended.

        Returns:
            int16 ``[m]``; with it, n input samples have become ceil(n · 16000 / rate).
        """
        if self._is_identity:
            return np.zeros(0, np.int16)
        received = self._input
        self._input = np.concatenate([received, np.zeros(self._half + 1, np.float32)])
        tail = self._emit(-(-self._received * self._up // self._down))
        self._input = self._input[: self._received - self._start]
        return tail

    def _emit(self, end: int) -> NDArray[np.int16]:
        """Compute the output samples from `_emitted` up to ``end``."""
        blocks: list[NDArray[np.int16]] = []
        while self._emitted < end:
            blocks.append(self._block(min(end, self._emitted + _BLOCK)))
        return np.concatenate(blocks) if blocks else np.zeros(0, np.int16)

    def _block(self, end: int) -> NDArray[np.int16]:
        first = self._emitted
        length, group = self._matrix.shape
        step = group * self._down // self._up
        # Whole groups around the outputs that are wanted; the inputs of others count for nothing.
        group_from, group_to = first // group, -(-end // group)
        begin = group_from * step - self._half - self._start
        span = (group_to - group_from - 1) * step + length
        inputs = self._input[max(begin, 0) : begin + span]
        before = max(-begin, 0)
        inputs = np.pad(inputs, (before, span - before - len(inputs)))
        rows = np.lib.stride_tricks.sliding_window_view(inputs, length)[::step]
        out = (np.ascontiguousarray(rows) @ self._matrix).ravel()
        out = out[first - group_from * group : end - group_from * group]
        self._emitted = end
        keep_from = end * self._down // self._up - self._half
        self._input = self._input[keep_from - self._start :]
        self._start = keep_from
        samples: NDArray[np.int16] = np.clip(np.rint(out), -32768, 32767).astype(np.int16)
        return samples


@lru_cache
def _matrix(rate: int) -> NDArray[np.float32]:
    """Return a group of outputs' taps: float32 ``[inputs, outputs]``, zero beside the band."""
    divisor = gcd(rate, SAMPLE_RATE_HZ)
    up, down = SAMPLE_RATE_HZ // divisor, rate // divisor
    taps = _design(rate)
    group = up * -(-_MIN_GROUP // up)
    matrix = np.zeros(((group - 1) * down // up + taps.shape[1], group), np.float32)
    for output in range(group):
        center, phase = divmod(output * down, up)
        matrix[center : center + taps.shape[1], output] = taps[phase]
    return matrix


@lru_cache
def _design(rate: int) -> NDArray[np.float32]:
    """Return the taps by phase: float32 ``[up, 2 * half + 1]``, unit gain in each phase."""
    up = SAMPLE_RATE_HZ // gcd(rate, SAMPLE_RATE_HZ)
    half = round(HALF_S * rate)
    # The stop band begins at half the lower rate; the transition is below it.
    nyquist = min(rate, SAMPLE_RATE_HZ) / 2
    cutoff = nyquist - (80 - 7.95) / (14.36 * 2 * HALF_S) / 2
    phases = np.arange(up)[:, None] / up
    distance = np.arange(-half, half + 1)[None, :] - phases
    window = np.i0(_BETA * np.sqrt(np.clip(1 - (distance / (half + 1)) ** 2, 0, 1))) / np.i0(_BETA)
    taps = 2 * cutoff / rate * np.sinc(2 * cutoff / rate * distance) * window
    normalized: NDArray[np.float32] = (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)
    return normalized


def mix_down(pcm: bytes, channels: int) -> NDArray[np.int16]:
    """Mono samples of interleaved s16le PCM.

    Args:
        pcm: s16le, whole samples of all channels.
        channels: 1 or 2.

    Returns:
        int16 ``[n]``: the mean of the channels.
    """
    samples = np.frombuffer(pcm, "<i2")
    if channels == 1:
        return samples
    total = samples.reshape(-1, channels).astype(np.int32).sum(axis=1)
    mean: NDArray[np.int16] = (total // channels).astype(np.int16)
    return mean
