"""GroupNorm with what stands around it, for channels-last tensors on CUDA: three short passes.

torch's own GroupNorm on CUDA wants the channels first. Between two channels-last convolutions that
means: a copy into the other layout, the statistics, the norm, SiLU, and the copy back that the
convolution makes, nine times the tensor over the memory bus. The bias of a convolution is one more
pass there (cuDNN is called without it). Here the tensor is read for the statistics, and read and
written once more; the bias of the convolution before is taken into both, at no cost, and the bias
of the second convolution into the residual sum.

Statistics are exact in single precision: mean and squared deviations of each tile of positions,
joined as Chan, Golub and LeVeque do ("Updating formulae and a pairwise algorithm for computing
sample variances", 1979), so that a mean far from zero takes no digits away.

Triton comes with torch's CUDA builds and needs a C compiler when it is first used. `find` tries
all of it and gives None where something is missing or wrong: the nets then run as torch has them.
"""

import logging
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

kernels: Any
try:
    from inference.engines.musetalk.nets import kernels
except ImportError:  # a CPU build of torch brings no Triton
    kernels = None

log = logging.getLogger(__name__)

_TILE = 64
"""Positions and channels of a tile at most."""

_MOST_JOINED = 32_768
"""Moments that one program joins at most: a group's channels times its tiles."""


def _tile_of(count: int) -> int:
    """The largest power of two up to `_TILE` that divides ``count``."""
    return min(count & -count, _TILE)


def _power_from(count: int) -> int:
    """The smallest power of two from ``count`` on."""
    return 1 << (count - 1).bit_length()


def group_norm(
    x: Tensor,
    groups: int,
    weight: Tensor,
    beta: Tensor,
    eps: float,
    *,
    bias: Tensor | None = None,
    is_silu: bool = False,
) -> Tensor:
    """GroupNorm of ``x + bias`` ``[B, C, H, W]``, then SiLU; channels-last, in x's precision."""
    x = x.contiguous(memory_format=torch.channels_last)
    batch, channels, height, width = x.shape
    positions, columns = _tile_of(height * width), _tile_of(channels)
    tiles, group = height * width // positions, channels // groups
    joined = _power_from(tiles), _power_from(group)
    if joined[0] * joined[1] > _MOST_JOINED:
        shifted = x if bias is None else x + bias[:, None, None]
        normed = functional.group_norm(shifted, groups, weight, beta, eps)
        return functional.silu(normed) if is_silu else normed

    def empty(rows: int) -> Tensor:
        return torch.empty(rows, channels, device=x.device, dtype=torch.float32)

    means, squares = empty(batch * tiles), empty(batch * tiles)
    scale, shift = empty(batch), empty(batch)
    out = torch.empty_like(x)
    grid = (batch * tiles, channels // columns)
    known: dict[str, Any] = {"POSITIONS": positions}
    kernels.tile_moments[grid](
        x, bias, means, squares, channels, HAS_BIAS=bias is not None, CHANNELS=columns, **known
    )
    kernels.scale_and_shift[(batch, groups)](
        means,
        squares,
        weight,
        beta,
        bias,
        scale,
        shift,
        tiles,
        channels,
        group,
        eps,
        HAS_BIAS=bias is not None,
        TILES=joined[0],
        GROUP=joined[1],
        **known,
    )
    kernels.scaled_and_shifted[grid](
        x, scale, shift, out, tiles, channels, IS_SILU=is_silu, CHANNELS=columns, **known
    )
    return out


def add(x: Tensor, y: Tensor, bias: Tensor) -> Tensor:
    """``x + y + bias``, ``[B, C, H, W]`` channels-last, ``bias [C]``."""
    x = x.contiguous(memory_format=torch.channels_last)
    y = y.contiguous(memory_format=torch.channels_last)
    batch, channels, height, width = x.shape
    positions, columns = _tile_of(batch * height * width), _tile_of(channels)
    out = torch.empty_like(x)
    kernels.sum_with_bias[(batch * height * width // positions, channels // columns)](
        x, y, bias, out, channels, POSITIONS=positions, CHANNELS=columns
    )
    return out


def find(device: torch.device, dtype: torch.dtype) -> ModuleType | None:
    """This module, if its kernels run on ``device`` and give the right numbers."""
    if device.type != "cuda" or kernels is None:
        return None
    import sys

    try:
        off = largest_error(device, dtype)
    except Exception as error:  # noqa: BLE001 -- compilers, drivers: no common parent
        log.warning("norms are not fused: %s", str(error).partition("\n")[0])
        return None
    allowed = max(1e-4, 32 * torch.finfo(dtype).eps)
    if not off < allowed:
        log.warning("norms are not fused: they are off by %.3g", off)
        return None
    return sys.modules[__name__]


def largest_error(device: torch.device, dtype: torch.dtype) -> float:
    """Against torch's own in single precision, on noise that is not centred."""
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device, dtype)

    x, weight, beta, bias = noise(2, 320, 16, 16) + 3, noise(320), noise(320), noise(320)
    wanted = functional.silu(
        functional.group_norm(
            (x.float() + bias.float()[:, None, None]), 32, weight.float(), beta.float(), 1e-5
        )
    )
    normed = group_norm(x, 32, weight, beta, 1e-5, bias=bias, is_silu=True)
    summed = add(x, normed, bias)
    off = (normed.float() - wanted).abs().max()
    total = x.float() + normed.float() + bias.float()[:, None, None]
    return float(torch.maximum(off, (summed.float() - total).abs().max()))
