"""What the blocks are made of beside products, each done by a kernel or by plain torch.

`Operations` is what a block calls. `PLAIN` does all of it in plain torch, in the same arithmetic;
`fused` has a kernel for most; `choice` keeps of those what is right and faster on a device.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional


class GroupNormOperation(Protocol):
    """GroupNorm of ``x + bias``, ``[B, C, H, W]``, then SiLU if wanted."""

    def __call__(
        self, x: Tensor, norm: nn.GroupNorm, *, bias: Tensor | None = None, is_silu: bool = False
    ) -> Tensor:
        """Channels-last, in x's precision."""


Interleave = Callable[[Tensor, Tensor | None], Tensor]


@dataclass(frozen=True, slots=True)
class Operations:
    """One function for each operation; all shapes are as torch writes them."""

    group_norm: GroupNormOperation
    add: Callable[[Tensor, Tensor, Tensor], Tensor]
    """``x + y + bias``: ``[B, C, H, W]`` twice and ``[C]``."""
    interleave: Interleave
    """Four phases ``[B, 4 C, H + 1, W + 1]`` and a bias ``[C]`` → ``[B, C, 2 H, 2 W]``."""
    upsample: Callable[[Tensor, Tensor, Tensor | None, Interleave], Tensor]
    """Nearest neighbor to twice the size and a 3x3 convolution; see `upsampling.by_phases`."""
    concatenate: Callable[[Tensor, Tensor], Tensor]
    """Along the channels."""
    geglu: Callable[[Tensor], Tensor]
    """``[..., 2 C]`` → the first half times the exact GELU of the second, ``[..., C]``."""
    layer_norm: Callable[[Tensor, nn.LayerNorm], Tensor]
    """LayerNorm of ``[..., C]``."""
    add_and_norm: Callable[[Tensor, Tensor, nn.LayerNorm], tuple[Tensor, Tensor]]
    """``x + y``, and LayerNorm of it."""
    pixels: Callable[[Tensor, nn.GroupNorm, nn.Conv2d], tuple[Tensor, Tensor]]
    """Norm, SiLU, convolution to RGB → uint8 ``[B, 3, H, W]``, and per picture whether all was
    finite."""
    attend: Callable[[Tensor, Tensor, Tensor], Tensor]
    """Attention of query, key and value ``[B, heads, T, C / heads]``; no kernel of ours, see
    `attention`."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the operations, in order."""
        return tuple(field.name for field in fields(cls))


def to_pixels(decoded: Tensor) -> Tensor:
    """Convert a decoder's -1..1 ``[B, 3, H, W]`` to uint8 (RGB), rounded half to even."""
    return ((decoded.float() / 2 + 0.5).clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)


def all_finite(decoded: Tensor) -> Tensor:
    """Bool ``[B]``: half precision can overflow, and a black mouth must not be shown."""
    return decoded.isfinite().flatten(1).all(1)


def _group_norm(
    x: Tensor, norm: nn.GroupNorm, *, bias: Tensor | None = None, is_silu: bool = False
) -> Tensor:
    shifted = x if bias is None else x + bias[:, None, None]
    normed = functional.group_norm(shifted, norm.num_groups, norm.weight, norm.bias, norm.eps)
    return functional.silu(normed) if is_silu else normed


def _add(x: Tensor, y: Tensor, bias: Tensor) -> Tensor:
    return x + y + bias[:, None, None]


def _interleave(phases: Tensor, bias: Tensor | None) -> Tensor:
    batch, channels = phases.shape[0], phases.shape[1] // 4
    height, width = phases.shape[2] - 1, phases.shape[3] - 1
    layout = torch.channels_last
    if not phases.is_contiguous(memory_format=layout):
        layout = torch.contiguous_format
    out = torch.empty(
        (batch, channels, 2 * height, 2 * width),
        dtype=phases.dtype,
        device=phases.device,
        memory_format=layout,
    )
    for number, part in enumerate(phases.split(channels, 1)):
        row, column = divmod(number, 2)
        here = part[:, :, row : row + height, column : column + width]
        to = out[:, :, row::2, column::2]
        if bias is None:
            to.copy_(here)
        else:
            torch.add(here, bias[:, None, None], out=to)
    return out


def by_phases(x: Tensor, weight: Tensor, bias: Tensor | None, interleave: Interleave) -> Tensor:
    """Doubling and a 3x3 convolution as four 2x2 convolutions before it.

    Args:
        x: ``[B, C, H, W]``.
        weight: ``[4 * C, C, 2, 2]``, see `upsampling.fold`.
        bias: ``[C]``.
        interleave: Puts the four results into one picture.

    Returns:
        ``[B, C, 2 H, 2 W]``.
    """
    # Row and column r of the phases lie between r - 1 and r of the small picture.
    return interleave(functional.conv2d(x, weight, padding=1), bias)


def _geglu(x: Tensor) -> Tensor:
    value, gate = x.chunk(2, -1)
    return value * functional.gelu(gate)


def _layer_norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    return functional.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def _add_and_norm(x: Tensor, y: Tensor, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    total = x + y
    return total, _layer_norm(total, norm)


def _pixels(x: Tensor, norm: nn.GroupNorm, convolution: nn.Conv2d) -> tuple[Tensor, Tensor]:
    normed = _group_norm(x, norm, is_silu=True)
    decoded = functional.conv2d(
        normed, convolution.weight, convolution.bias, padding=convolution.padding
    )
    return to_pixels(decoded), all_finite(decoded)


PLAIN = Operations(
    group_norm=_group_norm,
    add=_add,
    interleave=_interleave,
    upsample=by_phases,
    concatenate=lambda x, y: torch.cat((x, y), 1),
    geglu=_geglu,
    layer_norm=_layer_norm,
    add_and_norm=_add_and_norm,
    pixels=_pixels,
    attend=functional.scaled_dot_product_attention,
)
