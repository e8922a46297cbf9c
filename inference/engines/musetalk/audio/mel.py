"""Whisper's log-mel spectrogram, for a batch of windows, on whatever device the sound is on."""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.engines.musetalk.constants import (
    MEL_BINS,
    MEL_FFT,
    MEL_FLOOR,
    MEL_HOP,
    MEL_RANGE_LOG10,
    SAMPLE_RATE_HZ,
)

_LINEAR_HZ_PER_MEL = 200 / 3
_LOG_FROM_HZ = 1_000.0
_LOG_STEP = np.log(6.4) / 27


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slaney's scale: linear to 1 kHz, logarithmic above."""
    knee = _LOG_FROM_HZ / _LINEAR_HZ_PER_MEL
    return np.where(
        mel < knee, mel * _LINEAR_HZ_PER_MEL, _LOG_FROM_HZ * np.exp(_LOG_STEP * (mel - knee))
    )


@lru_cache(maxsize=1)
def filter_bank() -> NDArray[np.float32]:
    """Triangles of equal area (Slaney), 0 to 8 kHz, float32 ``[80, 201]``."""
    top_hz = SAMPLE_RATE_HZ / 2
    top_mel = _LOG_FROM_HZ / _LINEAR_HZ_PER_MEL + np.log(top_hz / _LOG_FROM_HZ) / _LOG_STEP
    edges_hz = _mel_to_hz(np.linspace(0.0, top_mel, MEL_BINS + 2))
    bins_hz = np.linspace(0.0, top_hz, MEL_FFT // 2 + 1)
    lower, center, upper = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    triangles = np.minimum(
        (bins_hz - lower) / (center - lower), (upper - bins_hz) / (upper - center)
    )
    bank: NDArray[np.float32] = (np.maximum(triangles, 0) * 2 / (upper - lower)).astype(np.float32)
    return bank


@lru_cache
def _bank_on(device: torch.device) -> Tensor:
    return torch.from_numpy(filter_bank()).to(device)


def log_mel(samples: Tensor, maximum: Tensor | None = None) -> Tensor:
    """float32 ``[B, n]`` in -1..1 → float32 ``[B, 80, n // 160]``.

    Each window is raised to its own maximum minus 8 (log10), or to ``maximum`` ``[B]`` minus 8.
    """
    window = torch.hann_window(MEL_FFT, periodic=True, device=samples.device)
    spectrum = torch.stft(
        samples.float(), MEL_FFT, MEL_HOP, window=window, center=True, return_complex=True
    )[..., : samples.shape[-1] // MEL_HOP]
    power = spectrum.real.square() + spectrum.imag.square()
    log = (_bank_on(samples.device) @ power).clamp(min=MEL_FLOOR).log10()
    if maximum is None:
        maximum = log.amax((1, 2))
    log = torch.maximum(log, maximum[:, None, None] - MEL_RANGE_LOG10)
    return (log + 4.0) / 4.0
