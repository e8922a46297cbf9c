"""From sound to the tokens that the UNet attends to: the published way, and the streaming way.

Published: the recording in pieces of 30 s, the last padded with zeros, each encoded alone; the
features of all pieces joined and cut; for video frame i at 25 fps the ten features
2i-4 … 2i+5. Streaming: a window of a few seconds that ends as little after the frame as the
features' receptive field allows. The encoder attends to all of its window, so the two cannot be
equal; `docs/performance.md` tells by how much they differ.

A frame's tokens are ``[50, width]``, time-major: token ``5 * feature + hidden state``. The UNet's
attention does not know order; the sinusoid table that is added last tells it.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.engines.musetalk.audio.mel import log_mel
from inference.engines.musetalk.constants import (
    FEATURE_RATE_HZ,
    FEATURES_BEFORE,
    FEATURES_PER_FRAME,
    SAMPLE_RATE_HZ,
    SAMPLES_PER_FEATURE,
    SEGMENT_SAMPLES,
    TOKENS,
)
from inference.engines.musetalk.nets.whisper import WhisperEncoder
from inference.timing import SAMPLES_PER_FRAME

FEATURES_PER_TICK = SAMPLES_PER_FRAME // SAMPLES_PER_FEATURE

EXACT_LOOK_AHEAD_SAMPLES = 1_480
"""92.5 ms: what a frame's features reach beyond its own samples, through convolutions and STFT."""


def frame_count(samples: int, frames_per_second: int = 25) -> int:
    """Video frames of a recording, by the reference's floating-point rule.

    The division loses a frame at some exact multiples of 640 samples (18,560 give 28, not 29).
    """
    return math.floor((samples / SAMPLE_RATE_HZ) * frames_per_second)


def feature_count(samples: int) -> int:
    """Features kept of a recording, by the same rule."""
    return math.floor((samples / SAMPLE_RATE_HZ) * FEATURE_RATE_HZ)


def encode_recording(encoder: WhisperEncoder, samples: Tensor) -> Tensor:
    """float32 ``[n]`` → ``[feature_count(n), 5, width]``."""
    pieces = []
    for piece in samples.split(SEGMENT_SAMPLES):
        padded = torch.nn.functional.pad(piece, (0, SEGMENT_SAMPLES - len(piece)))
        mel = log_mel(padded[None]).to(encoder.conv1.weight.dtype)
        pieces.append(encoder(mel)[0])
    return torch.cat(pieces)[: feature_count(len(samples))]


def recording_tokens(features: Tensor, frames: int, frames_per_second: int = 25) -> Tensor:
    """``[T, 5, width]`` → ``[frames, 50, width]``; silence (zeros) beyond both ends."""
    around = 2 * math.ceil(FEATURE_RATE_HZ / frames_per_second)
    padded = torch.cat(
        (
            features.new_zeros(around, *features.shape[1:]),
            features,
            features.new_zeros(3 * around, *features.shape[1:]),
        )
    )
    starts = [math.floor(i * FEATURE_RATE_HZ / frames_per_second) for i in range(frames)]
    picked = torch.stack([padded[start : start + FEATURES_PER_FRAME] for start in starts])
    return picked.flatten(1, 2)


def positional_table(width: int) -> Tensor:
    """float32 ``[50, width]``: sine in even places, cosine in odd ones, base 10,000."""
    position = torch.arange(TOKENS, dtype=torch.float32)[:, None]
    # The exponent in single precision, its power in double: the reference's rounding, without the
    # last bit in which processors' single-precision exp differ.
    exponents = torch.arange(0, width, 2).float() * (-math.log(10_000.0) / width)
    rates = exponents.double().exp().float()
    table = torch.zeros(TOKENS, width)
    table[:, 0::2] = torch.sin(position * rates)
    table[:, 1::2] = torch.cos(position * rates)
    return table


@dataclass(frozen=True, slots=True)
class StreamingWindow:
    """How a frame is heard while speech arrives.

    ``before``, ``after``: samples kept around the frames asked for; ``before`` is a multiple of 320
    so that the window's features fall on the recording's. ``first_position``: where in its 30 s
    the encoder is to believe the window. ``mel_maximum``: the least value (log10) that the mel's
    maximum is taken to be: it keeps a window of silence from being blown up to full range.
    """

    before: int = 32_000
    after: int = EXACT_LOOK_AHEAD_SAMPLES
    first_position: int = 0
    mel_maximum: float | None = None

    def __post_init__(self) -> None:
        if self.before % SAMPLES_PER_FEATURE or self.before < FEATURES_BEFORE * SAMPLES_PER_FEATURE:
            raise ValueError(f"before must be a multiple of {SAMPLES_PER_FEATURE}, at least 1280")

    def tokens(self, encoder: WhisperEncoder, samples: Tensor, frames: int) -> Tensor:
        """``[B, before + 640 * frames + after]`` → ``[B, frames, 50, width]``.

        Where ``after`` is less than the exact look-ahead the last features hear zeros instead.
        """
        short = EXACT_LOOK_AHEAD_SAMPLES - self.after
        if short > 0:
            samples = torch.nn.functional.pad(samples, (0, short))
        maximum = None
        if self.mel_maximum is not None:
            maximum = self._maximum(samples)
        mel = log_mel(samples, maximum).to(encoder.conv1.weight.dtype)
        features = encoder(mel, self.first_position).flatten(2)
        first = self.before // SAMPLES_PER_FEATURE - FEATURES_BEFORE
        span = FEATURES_PER_TICK * (frames - 1) + FEATURES_PER_FRAME
        windows = features[:, first : first + span].unfold(1, FEATURES_PER_FRAME, FEATURES_PER_TICK)
        tokens = windows.permute(0, 1, 3, 2)
        return tokens.reshape(len(samples), frames, TOKENS, -1)

    def _maximum(self, samples: Tensor) -> Tensor:
        free = log_mel(samples, samples.new_full((len(samples),), -2.0))
        return (free * 4 - 4).amax((1, 2)).clamp(min=self.mel_maximum)
