"""The image autoencoder: the decoder runs for every picture, the encoder at preparation only.

The published parameter names, but for the stacked attention (`fold_checkpoint`).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from inference.engines.musetalk.constants import LATENT_SCALE
from inference.engines.musetalk.nets.blocks import (
    Fusable,
    GroupNorm,
    ResnetBlock,
    attend,
    picture_of,
    tokens_of,
)
from inference.engines.musetalk.nets.configs import check_config
from inference.engines.musetalk.nets.operations import PLAIN
from inference.engines.musetalk.nets.upsampling import Upsampler, fold

_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class VaeShape:
    """The numbers of a VAE config that differ between the published net and small ones."""

    channels: tuple[int, ...] = (128, 256, 512, 512)
    groups: int = 32
    layers: int = 2

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "VaeShape":
        """Read a config; ValueError, naming the entry, for one that this net cannot be."""
        stages = len(config.get("block_out_channels", ()))
        fixed = {
            "act_fn": "silu",
            "down_block_types": ["DownEncoderBlock2D"] * stages,
            "up_block_types": ["UpDecoderBlock2D"] * stages,
            "in_channels": 3,
            "out_channels": 3,
            "latent_channels": 4,
            "layers_per_block": 2,
        }
        check_config("VAE", config, fixed)
        scale = config.get("scaling_factor", LATENT_SCALE)
        if scale != LATENT_SCALE:
            raise ValueError(f"VAE config: scaling_factor is {scale!r}, not {LATENT_SCALE}")
        return cls(channels=tuple(config["block_out_channels"]), groups=config["norm_num_groups"])

    @classmethod
    def from_narrow_config(cls, config: dict[str, Any]) -> "VaeShape":
        """Of a decoder that was trained here; ValueError for a config that it cannot have."""
        channels, groups = config.get("block_out_channels"), config.get("norm_num_groups")
        layers = config.get("layers_per_block")
        numbers = [*channels, groups, layers] if isinstance(channels, list) and channels else [0]
        if not all(type(number) is int and 0 < number <= 4_096 for number in numbers):
            raise ValueError(
                "block_out_channels (a list), norm_num_groups and layers_per_block must be whole "
                "numbers above 0"
            )
        shape = cls(tuple(numbers[:-2]), numbers[-2], numbers[-1])
        if len(shape.channels) > 8 or any(width % shape.groups for width in shape.channels):
            raise ValueError(f"norm_num_groups {groups} does not divide {channels}")
        return shape

    def narrowed(self) -> "VaeShape":
        """Half the channels in half the groups: a quarter of the work."""
        halves = tuple(width // 2 for width in self.channels)
        return VaeShape(halves, max(1, self.groups // 2), self.layers)


class PixelAttention(Fusable):
    """Single-head attention over all pixels."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.group_norm = GroupNorm(groups, channels, _EPS)
        self.to_qkv = nn.Linear(channels, 3 * channels)
        self.to_out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        projected = self.to_qkv(tokens_of(self.group_norm(x))).chunk(3, -1)
        mixed = attend(projected, 1, self.operations)
        if self.operations is None:
            return x + picture_of(self.to_out(mixed), height, width)
        # The sum finds the moments that the next block's norm needs.
        mixed = picture_of(functional.linear(mixed, self.to_out.weight), height, width)
        return self.operations.add(x, mixed, self.to_out.bias)


class Middle(nn.Module):
    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            ResnetBlock(channels, channels, groups, _EPS) for _ in range(2)
        )
        self.attentions = nn.ModuleList([PixelAttention(channels, groups)])

    def forward(self, x: Tensor) -> Tensor:
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class PaddedDownsampler(nn.Module):
    """Stride 2, padded by one pixel on the right and below only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(functional.pad(x, (0, 1, 0, 1)))


class Stage(nn.Module):
    def __init__(self, before: int, after: int, layers: int, groups: int, last: nn.Module) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            ResnetBlock(before if layer == 0 else after, after, groups, _EPS)
            for layer in range(layers)
        )
        self.resize = last

    def forward(self, x: Tensor) -> Tensor:
        for resnet in self.resnets:
            x = resnet(x)
        return self.resize(x)


class Decoder(Fusable):
    """Latents as the UNet gives them ``[B, 4, h, w]`` → RGB in -1..1 ``[B, 3, 8h, 8w]``."""

    def __init__(self, shape: VaeShape) -> None:
        super().__init__()
        widths, last = shape.channels[::-1], len(shape.channels) - 1
        self.post_quant_conv = nn.Conv2d(4, 4, 1)
        self.conv_in = nn.Conv2d(4, widths[0], 3, padding=1)
        self.mid_block = Middle(widths[0], shape.groups)
        self.up_blocks = nn.ModuleList(
            Stage(
                widths[max(index - 1, 0)],
                width,
                shape.layers + 1,
                shape.groups,
                Upsampler(width) if index < last else nn.Identity(),
            )
            for index, width in enumerate(widths)
        )
        self.conv_norm_out = GroupNorm(shape.groups, widths[-1], _EPS)
        self.conv_out = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def _before_the_norm(self, latents: Tensor) -> Tensor:
        x = self.mid_block(self.conv_in(self.post_quant_conv(latents)))
        for stage in self.up_blocks:
            x = stage(x)
        return x

    def forward(self, latents: Tensor) -> Tensor:
        return self.conv_out(self.conv_norm_out(self._before_the_norm(latents), is_silu=True))

    def to_bytes(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same as uint8, and per picture whether all was finite."""
        x = self._before_the_norm(latents)
        return (self.operations or PLAIN).pixels(x, self.conv_norm_out, self.conv_out)


class Encoder(nn.Module):
    """RGB in -1..1 ``[B, 3, 8h, 8w]`` → the posterior's mean and deviation ``[B, 4, h, w]``."""

    def __init__(self, shape: VaeShape) -> None:
        super().__init__()
        widths, last = shape.channels, len(shape.channels) - 1
        self.conv_in = nn.Conv2d(3, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(
            Stage(
                widths[max(index - 1, 0)],
                width,
                shape.layers,
                shape.groups,
                PaddedDownsampler(width) if index < last else nn.Identity(),
            )
            for index, width in enumerate(widths)
        )
        self.mid_block = Middle(widths[-1], shape.groups)
        self.conv_norm_out = GroupNorm(shape.groups, widths[-1], _EPS)
        self.conv_out = nn.Conv2d(widths[-1], 8, 3, padding=1)
        self.quant_conv = nn.Conv2d(8, 8, 1)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        x = self.conv_in(pictures)
        for stage in self.down_blocks:
            x = stage(x)
        x = self.conv_out(self.conv_norm_out(self.mid_block(x), is_silu=True))
        mean, log_variance = self.quant_conv(x).chunk(2, 1)
        return mean, (0.5 * log_variance.clamp(-30.0, 20.0)).exp()


def fold_checkpoint(checkpoint: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    """Convert the published state dict (248 tensors) to that of ``part``, "decoder" or "encoder".

    The latents' scale is folded into the decoder's first convolution.
    """
    around = "post_quant_conv" if part == "decoder" else "quant_conv"
    folded: dict[str, Tensor] = {}
    for key, value in checkpoint.items():
        if not key.startswith((f"{part}.", f"{around}.")) or ".to_k." in key or ".to_v." in key:
            continue
        name = key.removeprefix(f"{part}.").replace("to_out.0.", "to_out.")
        name = name.replace("downsamplers.0.", "resize.").replace("upsamplers.0.", "resize.")
        if ".upsamplers." in key:
            name = name.replace("conv.bias", "bias")
            value = fold(value) if value.ndim == 4 else value
        if ".to_q." in key:
            name = name.replace("to_q", "to_qkv")
            value = torch.cat(
                [value, *(checkpoint[key.replace("to_q", x)] for x in ("to_k", "to_v"))]
            )
        folded[name] = value
    if part == "decoder":
        weight = folded["post_quant_conv.weight"]
        folded["post_quant_conv.weight"] = (weight.double() / LATENT_SCALE).to(weight.dtype)
    return folded
