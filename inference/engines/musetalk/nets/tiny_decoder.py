"""The decoder of TAESD: a twelfth of the SD VAE decoder's work, and not its pixels.

It takes latents as the UNet gives them, not divided by the VAE's scale, and squashes them softly
into ±3. Convolutions with ReLU only: no norm, no attention.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from inference.engines.musetalk.constants import LATENT_CHANNELS
from inference.engines.musetalk.nets.operations import all_finite, to_pixels
from inference.engines.musetalk.nets.upsampling import Upsampler, fold

_CHANNELS = 64
_BLOCKS = (3, 3, 3, 1)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.conv(x) + x)


class TinyDecoder(nn.Module):
    """Latents ``[B, 4, h, w]`` → pictures in about -1..1, RGB ``[B, 3, 8h, 8w]``."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(LATENT_CHANNELS, _CHANNELS, 3, padding=1),
            nn.ReLU(),
        ]
        for index, blocks in enumerate(_BLOCKS):
            layers += [Block() for _ in range(blocks)]
            if index < len(_BLOCKS) - 1:
                # The published net numbers the doubling too.
                layers += [nn.Identity(), Upsampler(_CHANNELS, has_bias=False)]
        layers.append(nn.Conv2d(_CHANNELS, 3, 3, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, latents: Tensor) -> Tensor:
        return self.layers(torch.tanh(latents / 3) * 3) * 2 - 1

    def to_bytes(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same as uint8, and per picture whether all was finite."""
        decoded = self(latents)
        return to_pixels(decoded), all_finite(decoded)


def decoder_checkpoint(checkpoint: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the decoder's part of the published state dict.

    The convolutions without bias upsample.
    """
    ours: dict[str, Tensor] = {}
    for key, value in checkpoint.items():
        if not key.startswith("decoder."):
            continue
        name = key.removeprefix("decoder.")
        if key.replace("weight", "bias") in checkpoint:
            ours[name] = value
        else:
            ours[name.replace("weight", "conv.weight")] = fold(value)
    return ours
