"""The UNet at its one timestep.

It is Stable Diffusion 1's with 8 input channels (masked and reference latents) and the tokens of
the sound as context. MuseTalk calls it once per picture and always with t = 0, so the time
embedding is a constant vector, its projection in each ResNet block a constant bias, and
`fold_checkpoint` adds that to the bias of the convolution before it. The projections of queries,
keys and values are stacked, so that each attention starts with one matrix product (two where the
context differs).
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

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

PUBLISHED_NAMES = (
    ("mid_block.attentions.0.", "mid_attention."),
    (".transformer_blocks.0.", ".block."),
    (".to_out.0.", ".to_out."),
    (".ff.net.0.proj.", ".ff_in."),
    (".ff.net.2.", ".ff_out."),
)
"""Parts of tensors' names in the published file, and ours."""


@dataclass(frozen=True, slots=True)
class UNetShape:
    """The numbers of a UNet config that differ between the published net and small ones."""

    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    context: int = 384
    groups: int = 32
    heads: int = 8
    channels_in: int = 8
    channels_out: int = 4
    layers: int = 2

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "UNetShape":
        """Read a config; ValueError, naming the entry, for one that this net cannot be."""
        fixed = {
            "act_fn": "silu",
            "center_input_sample": False,
            "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
            "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
            "downsample_padding": 1,
            "flip_sin_to_cos": True,
            "freq_shift": 0,
            "mid_block_scale_factor": 1,
            "norm_eps": 1e-5,
            "attention_head_dim": 8,
            "in_channels": 8,
            "out_channels": 4,
            "layers_per_block": 2,
        }
        check_config("UNet", config, fixed)
        return cls(
            channels=tuple(config["block_out_channels"]),
            context=config["cross_attention_dim"],
            groups=config["norm_num_groups"],
        )


class SelfAttention(Fusable):
    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.to_out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.to_out(attend(self.to_qkv(x).chunk(3, -1), self.heads, self.operations))


class CrossAttention(Fusable):
    def __init__(self, channels: int, context: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_kv = nn.Linear(context, 2 * channels, bias=False)
        self.to_out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        key, value = self.to_kv(context).chunk(2, -1)
        return self.to_out(attend((self.to_q(x), key, value), self.heads, self.operations))


class TransformerBlock(Fusable):
    """Self-attention, attention to the sound, GEGLU; each with a norm before and a residual."""

    def __init__(self, channels: int, context: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn1 = SelfAttention(channels, heads)
        self.norm2 = nn.LayerNorm(channels)
        self.attn2 = CrossAttention(channels, context, heads)
        self.norm3 = nn.LayerNorm(channels)
        self.ff_in = nn.Linear(channels, 8 * channels)
        self.ff_out = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        operations = self.operations or PLAIN
        hidden = self.attn1(operations.layer_norm(x, self.norm1))
        x, hidden = operations.add_and_norm(x, hidden, self.norm2)
        x, hidden = operations.add_and_norm(x, self.attn2(hidden, context), self.norm3)
        return x + self.ff_out(operations.geglu(self.ff_in(hidden)))


class SpatialTransformer(Fusable):
    """A transformer block over the pixels, between two 1x1 convolutions, here as linear layers."""

    def __init__(self, channels: int, shape: UNetShape) -> None:
        super().__init__()
        self.norm = GroupNorm(shape.groups, channels, 1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.block = TransformerBlock(channels, shape.context, shape.heads)
        self.proj_out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        hidden = self.block(self.proj_in(tokens_of(self.norm(x))), context)
        if self.operations is None:
            return x + picture_of(self.proj_out(hidden), height, width)
        # The sum finds the moments that the next block's norm needs.
        projected = picture_of(functional.linear(hidden, self.proj_out.weight), height, width)
        return self.operations.add(x, projected, self.proj_out.bias)


class Stage(nn.Module):
    """One resolution on the way down or up: ResNet blocks, perhaps each with a transformer."""

    def __init__(self, channels: list[tuple[int, int]], shape: UNetShape, attends: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            ResnetBlock(before, after, shape.groups, 1e-5) for before, after in channels
        )
        self.attentions = nn.ModuleList(
            SpatialTransformer(after, shape) for _, after in channels if attends
        )

    def step(self, index: int, x: Tensor, context: Tensor) -> Tensor:
        x = self.resnets[index](x)
        return self.attentions[index](x, context) if len(self.attentions) else x


class UNet(Fusable):
    """``latents [B, 8, 32, 32]``, ``context [B, 50, 384]`` → the face's, ``[B, 4, 32, 32]``."""

    def __init__(self, shape: UNetShape) -> None:
        super().__init__()
        widths, last = shape.channels, len(shape.channels) - 1
        self.conv_in = nn.Conv2d(shape.channels_in, widths[0], 3, padding=1)
        skips = [widths[0]]
        self.down_blocks = nn.ModuleList()
        self.downsamplers = nn.ModuleList()
        for index, width in enumerate(widths):
            before = widths[max(index - 1, 0)]
            pairs = [(before, width)] + [(width, width)] * (shape.layers - 1)
            self.down_blocks.append(Stage(pairs, shape, attends=index < last))
            skips += [width] * shape.layers
            if index < last:
                self.downsamplers.append(nn.Conv2d(width, width, 3, stride=2, padding=1))
                skips.append(width)
        self.mid_block = Stage([(widths[-1], widths[-1])] * 2, shape, attends=False)
        self.mid_attention = SpatialTransformer(widths[-1], shape)
        self.up_blocks = nn.ModuleList()
        self.upsamplers = nn.ModuleList()
        before = widths[-1]
        for index, width in enumerate(reversed(widths)):
            pairs = []
            for _ in range(shape.layers + 1):
                pairs.append((before + skips.pop(), width))
                before = width
            self.up_blocks.append(Stage(pairs, shape, attends=index > 0))
            if index < last:
                self.upsamplers.append(Upsampler(width))
        self.conv_norm_out = GroupNorm(shape.groups, widths[0], 1e-5)
        self.conv_out = nn.Conv2d(widths[0], shape.channels_out, 3, padding=1)

    def forward(self, latents: Tensor, context: Tensor) -> Tensor:
        operations = self.operations or PLAIN
        x = self.conv_in(latents)
        skips = [x]
        for index, stage in enumerate(self.down_blocks):
            for layer in range(len(stage.resnets)):
                x = stage.step(layer, x, context)
                skips.append(x)
            if index < len(self.downsamplers):
                x = self.downsamplers[index](x)
                skips.append(x)
        x = self.mid_block.step(0, x, context)
        x = self.mid_attention(x, context)
        x = self.mid_block.step(1, x, context)
        for index, stage in enumerate(self.up_blocks):
            for layer in range(len(stage.resnets)):
                x = stage.step(layer, operations.concatenate(x, skips.pop()), context)
            if index < len(self.upsamplers):
                x = self.upsamplers[index](x)
        return self.conv_out(self.conv_norm_out(x, is_silu=True))


def time_embedding(checkpoint: dict[str, Tensor], channels: int, timestep: int) -> Tensor:
    """SiLU of the embedded timestep, float32 ``[4 * channels]``: what every block projects."""
    half = channels // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, dtype=torch.float32) / half)
    angles = timestep * frequencies
    x = torch.cat((angles.cos(), angles.sin()))
    for name in ("linear_1", "linear_2"):
        weight = checkpoint[f"time_embedding.{name}.weight"].float()
        x = functional.silu(
            functional.linear(x, weight, checkpoint[f"time_embedding.{name}.bias"].float())
        )
    return x


def fold_checkpoint(checkpoint: dict[str, Tensor], timestep: int = 0) -> dict[str, Tensor]:
    """Convert the published state dict (686 tensors), with ``timestep`` folded in.

    Raises KeyError for a tensor that is missing.
    """
    embedded = time_embedding(checkpoint, checkpoint["conv_in.weight"].shape[0], timestep)
    folded: dict[str, Tensor] = {}
    for key, value in checkpoint.items():
        if "time_emb" in key or key.endswith(("to_k.weight", "to_v.weight", "attn1.to_q.weight")):
            continue
        if ".proj_" in key and value.ndim == 4:
            value = value.flatten(1)
        elif ".upsamplers." in key and value.ndim == 4:
            value = fold(value)
        folded[_renamed(key)] = value
    for key in checkpoint:
        if key.endswith("time_emb_proj.weight"):
            block = key.removesuffix("time_emb_proj.weight")
            bias = functional.linear(
                embedded, checkpoint[key].float(), checkpoint[f"{block}time_emb_proj.bias"].float()
            )
            name = _renamed(f"{block}conv1.bias")
            folded[name] = (folded[name].float() + bias).to(folded[name].dtype)
        elif key.endswith("attn1.to_q.weight"):
            stacked = [checkpoint[key.replace("to_q", name)] for name in ("to_q", "to_k", "to_v")]
            folded[_renamed(key.replace("to_q", "to_qkv"))] = torch.cat(stacked)
        elif key.endswith("attn2.to_k.weight"):
            stacked = [checkpoint[key], checkpoint[key.replace("to_k", "to_v")]]
            folded[_renamed(key.replace("to_k", "to_kv"))] = torch.cat(stacked)
    return folded


def _renamed(key: str) -> str:
    for published, ours in PUBLISHED_NAMES:
        key = key.replace(published, ours)
    parts = key.split(".")
    if len(parts) > 2 and parts[2] == "downsamplers":
        return f"downsamplers.{parts[1]}.{parts[-1]}"
    if len(parts) > 2 and parts[2] == "upsamplers":
        return f"upsamplers.{parts[1]}." + ("bias" if parts[-1] == "bias" else "conv.weight")
    return key
