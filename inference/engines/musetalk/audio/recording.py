"""Recordings from files, for parity and reports. The stream itself is 16 kHz PCM already."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.engines.musetalk.constants import SAMPLE_RATE_HZ


def read_pcm(path: Path) -> tuple[NDArray[np.int16], int]:
    """Any sound file FFmpeg knows → int16 ``[n, channels]`` and its rate in Hz."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="s16")
        pieces = [
            piece.to_ndarray().reshape(-1, piece.layout.nb_channels)
            for frame in container.decode(stream)
            for piece in resampler.resample(frame)
        ]
        rate_hz = stream.rate
    return np.concatenate(pieces).astype(np.int16), rate_hz


def to_speech(pcm: NDArray[np.int16], rate_hz: int) -> NDArray[np.float32]:
    """int16 ``[n]`` or ``[n, channels]`` → float32 mono 16 kHz.

    The mean of the channels first, then soxr's "high quality", as librosa does it.
    """
    samples: NDArray[np.float32] = pcm.astype(np.float32) / np.float32(32_768)
    if samples.ndim == 2:
        samples = samples.mean(1, dtype=np.float32)
    if rate_hz == SAMPLE_RATE_HZ:
        return samples
    import soxr

    resampled: NDArray[np.float32] = soxr.resample(samples, rate_hz, SAMPLE_RATE_HZ, quality="HQ")
    return resampled
