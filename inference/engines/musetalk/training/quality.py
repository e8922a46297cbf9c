"""How near a decoder's pictures are to those of the SD VAE's decoder.

The distance of features is made as LPIPS is (Zhang et al., "The Unreasonable Effectiveness of Deep
Features as a Perceptual Metric", 2018): features of several depths, each position's scaled to unit
length, squared differences summed over channels and averaged over positions and depths. The network
is the VAE's own encoder, which is at hand and was itself trained with LPIPS; its numbers are not
those of the published metric.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from inference.engines.musetalk.constants import LATENT_CHANNELS, LATENT_SIZE
from inference.engines.musetalk.nets.operations import to_pixels

MOUTH = (slice(144, 232), slice(64, 192))
"""Rows and columns of a face of 256x256 where its mouth is: boxes are cut so that it is there."""

_EPS = 1e-10


@dataclass(frozen=True, slots=True)
class Quality:
    """One decoder against the real one. Levels are of 255."""

    decoder: str
    psnr_db: float
    mouth_psnr_db: float
    feature_distance: float
    mean: float
    most: int
    gflop: float
    """Operations of one picture."""


def mouth_of(pictures: Tensor) -> Tensor:
    """Return the part of ``[B, C, 256, 256]`` that shows the mouth."""
    return pictures[:, :, *MOUTH]


def depths(encoder: Any, pictures: Tensor) -> list[Tensor]:
    """Return the encoder's features of pictures in -1..1 after each of its stages."""
    x, found = encoder.conv_in(pictures), []
    for stage in encoder.down_blocks:
        for resnet in stage.resnets:
            x = resnet(x)
        found.append(x)
        x = stage.resize(x)
    return found


def feature_distance(encoder: Any, found: Tensor, wanted: Tensor) -> Tensor:
    """See the module; of pictures in -1..1, one number, which can be differentiated."""
    total = found.new_zeros(())
    pairs = list(zip(depths(encoder, found), depths(encoder, wanted), strict=True))
    for ours, theirs in pairs:
        total = total + (_unit(ours) - _unit(theirs)).square().sum(1).mean()
    return total / len(pairs)


def _unit(features: Tensor) -> Tensor:
    return features / (features.square().sum(1, keepdim=True) + _EPS).sqrt()


def psnr_db(square_error: float) -> float:
    """Return the peak signal-to-noise ratio for a mean square error in levels of 255."""
    return math.inf if square_error == 0 else 10 * math.log10(255**2 / square_error)


def gflop_of(decoder: Any, device: torch.device) -> float:
    """Operations of one picture, in units of 1e9; a multiplication and an addition are two."""
    latents = torch.zeros(1, LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE, device=device)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        decoder(latents)
    return float(counter.get_total_flops()) / 1e9


def compare(
    name: str,
    decoder: Any,
    teacher: Callable[[Tensor], Tensor],
    encoder: Any,
    batches: Sequence[Tensor],
) -> Quality:
    """Compare ``decoder`` with ``teacher`` on batches of latents, all on one device."""
    squares = mouth_squares = distance = mean = 0.0
    most = 0
    with torch.inference_mode():
        for latents in batches:
            decoded, real = decoder(latents).clamp(-1, 1), teacher(latents).clamp(-1, 1)
            off = to_pixels(decoded).float() - to_pixels(real).float()
            squares += float(off.square().mean())
            mouth_squares += float(mouth_of(off).square().mean())
            mean += float(off.abs().mean())
            most = max(most, int(off.abs().max()))
            distance += float(feature_distance(encoder, decoded, real))
    count = len(batches)
    return Quality(
        decoder=name,
        psnr_db=psnr_db(squares / count),
        mouth_psnr_db=psnr_db(mouth_squares / count),
        feature_distance=distance / count,
        mean=mean / count,
        most=most,
        gflop=gflop_of(decoder, batches[0].device),
    )
