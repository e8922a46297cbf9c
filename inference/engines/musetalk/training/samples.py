"""Latents to train and to judge decoders with: those of prepared avatars.

Two kinds: a face as it was filmed (the reference half of what a clip keeps), and a face as the UNet
makes it speak, which is what a decoder gets in the stream. The pictures that belong to them are the
real decoder's, made when they are needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.engines.musetalk.audio.recording import read_pcm, to_speech
from inference.engines.musetalk.audio.speech import (
    encode_recording,
    frame_count,
    positional_table,
    recording_tokens,
)
from inference.engines.musetalk.constants import LATENT_CHANNELS
from inference.engines.musetalk.prepare.avatar import FaceClip, prepared_clips
from inference.errors import AvatarInvalid

HELD_OUT_EVERY = 8
"""One clip of so many is for judging only; of a single clip, its last part of so many."""

GAP_FRAMES = 10
"""Left out between the two parts of a single clip: neighbors look alike."""

SPOKEN_SHARE = 0.75
"""Of a batch, where there is speech: the rest are faces as they were filmed."""


@dataclass(frozen=True, slots=True)
class FaceLatents:
    """What is kept of the pictures of one clip that show a face."""

    name: str
    latents: NDArray[np.float16]
    """``[frames, 8, 32, 32]``, mapped; those without a face are not in ``frames``."""
    frames: NDArray[np.intp]


def find_faces(storage: Path) -> list[FaceLatents]:
    """All clips that were prepared under ``storage``, by name.

    Raises:
        AvatarInvalid: There is none, or one is damaged.
    """
    found = [_with_face(name, clip) for name, clip in prepared_clips(storage)]
    found = [clip for clip in found if len(clip.frames)]
    if not found:
        raise AvatarInvalid(
            f"{storage} holds no clip that is prepared for MuseTalk: run "
            "`.venv/bin/python manage.py prepare_musetalk` first"
        )
    return sorted(found, key=lambda clip: clip.name)


def _with_face(name: str, clip: FaceClip) -> FaceLatents:
    return FaceLatents(name, clip.latents, np.flatnonzero(clip.places[:, 6] > 0))


def split(clips: Sequence[FaceLatents]) -> tuple[list[FaceLatents], list[FaceLatents]]:
    """Clips to train with, and clips to judge with."""
    if len(clips) > 1:
        held_out = list(clips[::HELD_OUT_EVERY])
        return [clip for clip in clips if clip not in held_out], held_out
    [clip] = clips
    cut = len(clip.frames) - max(1, len(clip.frames) // HELD_OUT_EVERY)
    first, last = clip.frames[: max(1, cut - GAP_FRAMES)], clip.frames[cut:]
    return (
        [FaceLatents(clip.name, clip.latents, first)],
        [FaceLatents(clip.name, clip.latents, last)],
    )


def speech_context(whisper: Any, recordings: Sequence[Path], device: torch.device) -> Tensor | None:
    """Return what the UNet attends to for each frame of sound files, ``[frames, 50, width]``.

    None if there are no files.
    """
    pieces = []
    for path in recordings:
        samples = torch.from_numpy(to_speech(*read_pcm(path))).to(device)
        features = encode_recording(whisper, samples)
        pieces.append(recording_tokens(features, frame_count(len(samples))))
    if not pieces:
        return None
    tokens = torch.cat(pieces)
    return tokens + positional_table(tokens.shape[-1]).to(device)


class Sampler:
    """Draws latents as a decoder is given them, float32 ``[B, 4, 32, 32]``, on one device."""

    def __init__(
        self,
        clips: Sequence[FaceLatents],
        *,
        unet: Any,
        context: Tensor | None,
        device: torch.device,
        seed: int,
    ) -> None:
        """Prepare to draw.

        Args:
            clips: Where faces are drawn from, each frame as often as any other.
            unet: Makes them speak.
            context: What they say; None: they are shown as they were filmed.
            device: Of the UNet and of what is drawn.
            seed: The same draws the same.
        """
        self._clips = clips
        self._unet = unet
        self._context = context
        self._device = device
        self._random = np.random.default_rng(seed)
        counts = np.array([len(clip.frames) for clip in clips], np.float64)
        self._shares = counts / counts.sum()

    def draw(self, count: int) -> Tensor:
        """Return the latents of ``count`` faces."""
        numbers = self._random.choice(len(self._clips), count, p=self._shares)
        rows = [self._row(self._clips[number]) for number in numbers]
        kept = torch.from_numpy(np.stack(rows)).float().to(self._device)
        latents = kept[:, LATENT_CHANNELS:].clone()
        spoken = 0 if self._context is None else round(SPOKEN_SHARE * count)
        if self._context is not None and spoken:
            said = self._random.integers(0, len(self._context), spoken)
            with torch.no_grad():
                latents[:spoken] = self._unet(kept[:spoken], self._context[said])
        return latents

    def _row(self, clip: FaceLatents) -> NDArray[np.float16]:
        row: NDArray[np.float16] = clip.latents[self._random.choice(clip.frames)]
        return row
