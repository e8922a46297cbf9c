"""The operations of `Operations` as Triton kernels, for channels-last tensors on CUDA.

Between the products of a net, time is traffic over the memory bus. torch's GroupNorm on CUDA wants
the channels first: between two channels-last convolutions that means a copy into the other layout,
the statistics, the norm, SiLU, and the copy back. cuDNN is called without a bias, which is one more
pass. Here a tensor is read once and written once for each operation, and who writes it also finds
the moments that the next norm needs (`moments`).

Statistics are exact in single precision: mean and squared deviations of each tile of positions,
joined as Chan, Golub and LeVeque do ("Updating formulae and a pairwise algorithm for computing
sample variances", 1979), so that a mean far from zero takes no digits away.

Triton comes with torch's CUDA builds and needs a C compiler when it is first used. Shapes that a
kernel cannot do are done by `PLAIN`.
"""

from typing import Any

import torch
from torch import Tensor, nn

from inference.engines.musetalk.nets.moments import Moments, joined, keep, moments_of
from inference.engines.musetalk.nets.operations import PLAIN, Operations

kernels: Any
try:
    from inference.engines.musetalk.nets import kernels
except ImportError:  # a CPU build of torch brings no Triton
    kernels = None

_TILE = 64
"""Positions and channels of a tile at most."""

_MOST_JOINED = 32_768
"""Moments that one program joins at most: a group's channels times its tiles."""

_GATED_WIDTH = 1_024
"""Values of a row that one program gates."""

_LEAST_PRODUCT = 16
"""The least sides of a product on tensor cores."""

_TAPS = 32
"""Nine taps of three colors, padded to a power of two."""

_PIXELS = 256
"""Pixels that one program writes."""

_MOST_CHANNELS_OF_PIXELS = 256
"""More do not fit into a program's registers."""


def _tile_of(count: int, most: int = _TILE) -> int:
    """The largest power of two up to ``most`` that divides ``count``."""
    return min(count & -count, most)


def _power_from(count: int) -> int:
    """Return the smallest power of two from ``count`` on."""
    return 1 << (count - 1).bit_length()


def _channels_last(x: Tensor) -> Tensor:
    """``x`` itself if it is channels-last already, so that its moments are found."""
    if x.is_contiguous(memory_format=torch.channels_last):
        return x
    return x.contiguous(memory_format=torch.channels_last)


def _room_for_moments(x: Tensor, positions: int) -> Moments:
    rows, channels = x.shape[0] * x.shape[2] * x.shape[3] // positions, x.shape[1]
    means, squares = (
        torch.empty(rows, channels, device=x.device, dtype=torch.float32) for _ in range(2)
    )
    return Moments(means, squares, positions)


def _grid(x: Tensor, positions: int) -> tuple[int, int]:
    batch, channels, height, width = x.shape
    return batch * height * width // positions, channels // _tile_of(channels)


def _moments(x: Tensor, bias: Tensor | None) -> Moments:
    """Those of ``x + bias``, kept or found now."""
    if bias is None and (known := moments_of(x)) is not None:
        return known
    moments = _room_for_moments(x, _tile_of(x.shape[2] * x.shape[3]))
    kernels.tile_moments[_grid(x, moments.positions)](
        x,
        bias,
        moments.means,
        moments.squares,
        x.shape[1],
        HAS_BIAS=bias is not None,
        POSITIONS=moments.positions,
        CHANNELS=_tile_of(x.shape[1]),
    )
    return moments


def _can_norm(x: Tensor, groups: int) -> bool:
    area, channels = x.shape[2] * x.shape[3], x.shape[1]
    joined_values = _power_from(area // _tile_of(area)) * _power_from(channels // groups)
    return joined_values <= _MOST_JOINED


def _can_make_pixels(x: Tensor, groups: int) -> bool:
    area, channels = x.shape[2] * x.shape[3], x.shape[1]
    return (
        _LEAST_PRODUCT <= channels <= _MOST_CHANNELS_OF_PIXELS
        and channels == _power_from(channels)
        and _tile_of(area) >= _LEAST_PRODUCT
        and _can_norm(x, groups)
    )


def _scale_and_shift(x: Tensor, norm: nn.GroupNorm, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Float32 ``[B, C]`` each: ``x * scale + shift`` is the norm of ``x + bias``."""
    batch, channels, height, width = x.shape
    moments = _moments(x, bias)
    tiles, group = height * width // moments.positions, channels // norm.num_groups
    scale, shift = (
        torch.empty(batch, channels, device=x.device, dtype=torch.float32) for _ in range(2)
    )
    kernels.scale_and_shift[(batch, norm.num_groups)](
        moments.means,
        moments.squares,
        norm.weight,
        norm.bias,
        bias,
        scale,
        shift,
        tiles,
        channels,
        group,
        norm.eps,
        HAS_BIAS=bias is not None,
        POSITIONS=moments.positions,
        TILES=_power_from(tiles),
        GROUP=_power_from(group),
    )
    return scale, shift


def group_norm(
    x: Tensor, norm: nn.GroupNorm, *, bias: Tensor | None = None, is_silu: bool = False
) -> Tensor:
    """GroupNorm of ``x + bias`` ``[B, C, H, W]``, then SiLU; channels-last, in x's precision."""
    x = _channels_last(x)
    if not _can_norm(x, norm.num_groups):
        return PLAIN.group_norm(x, norm, bias=bias, is_silu=is_silu)
    scale, shift = _scale_and_shift(x, norm, bias)
    out = torch.empty_like(x)
    positions = _tile_of(x.shape[2] * x.shape[3])
    kernels.scaled_and_shifted[_grid(x, positions)](
        x,
        scale,
        shift,
        out,
        x.shape[2] * x.shape[3] // positions,
        x.shape[1],
        IS_SILU=is_silu,
        POSITIONS=positions,
        CHANNELS=_tile_of(x.shape[1]),
    )
    return out


def add(x: Tensor, y: Tensor, bias: Tensor) -> Tensor:
    """``x + y + bias``, ``[B, C, H, W]`` channels-last, ``bias [C]``; its moments are kept."""
    x, y = _channels_last(x), _channels_last(y)
    out = torch.empty_like(x)
    moments = _room_for_moments(x, _tile_of(x.shape[2] * x.shape[3]))
    kernels.sum_with_bias[_grid(x, moments.positions)](
        x,
        y,
        bias,
        out,
        moments.means,
        moments.squares,
        x.shape[1],
        HAS_MOMENTS=True,
        POSITIONS=moments.positions,
        CHANNELS=_tile_of(x.shape[1]),
    )
    return keep(out, moments)


def interleave(phases: Tensor, bias: Tensor | None) -> Tensor:
    """See `Operations.interleave`; one pass, and the moments are kept."""
    phases = _channels_last(phases)
    batch, channels = phases.shape[0], phases.shape[1] // 4
    height, width = phases.shape[2] - 1, phases.shape[3] - 1
    out = torch.empty(
        (batch, channels, 2 * height, 2 * width),
        dtype=phases.dtype,
        device=phases.device,
        memory_format=torch.channels_last,
    )
    moments = _room_for_moments(out, _tile_of(4 * height * width))
    kernels.interleaved[_grid(out, moments.positions)](
        phases,
        bias,
        out,
        moments.means,
        moments.squares,
        height,
        width,
        channels,
        HAS_BIAS=bias is not None,
        HAS_MOMENTS=True,
        POSITIONS=moments.positions,
        CHANNELS=_tile_of(channels),
    )
    return keep(out, moments)


def concatenate(x: Tensor, y: Tensor) -> Tensor:
    """Along the channels; moments that are known of both are joined, which is little memory."""
    moments = joined(x, y)
    out = torch.cat((x, y), 1)
    return out if moments is None else keep(out, moments)


def geglu(x: Tensor) -> Tensor:
    """See `Operations.geglu`; one pass."""
    x = x.contiguous()
    count = x.shape[-1] // 2
    out = torch.empty((*x.shape[:-1], count), dtype=x.dtype, device=x.device)
    width = min(_power_from(count), _GATED_WIDTH)
    kernels.gated[(out.numel() // count, -(-count // width))](x, out, count, WIDTH=width)
    return out


def layer_norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    """LayerNorm of ``[..., C]``."""
    return _sum_and_norm(x, None, norm)[1]


def add_and_norm(x: Tensor, y: Tensor, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """``x + y``, and LayerNorm of it; one pass."""
    return _sum_and_norm(x, y, norm)


def _sum_and_norm(x: Tensor, y: Tensor | None, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    x = x.contiguous()
    y = None if y is None else y.contiguous()
    total, out = x if y is None else torch.empty_like(x), torch.empty_like(x)
    count = x.shape[-1]
    kernels.sum_and_norm[(x.numel() // count,)](
        x,
        y,
        norm.weight,
        norm.bias,
        total,
        out,
        count,
        norm.eps,
        HAS_SUM=y is not None,
        WIDTH=_power_from(count),
    )
    return total, out


def pixels(x: Tensor, norm: nn.GroupNorm, convolution: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """See `Operations.pixels`.

    The picture is read once, where its moments are known, and never written but as bytes: what lies
    between is nine products for each color, a quarter of it.
    """
    x = _channels_last(x)
    if not _can_make_pixels(x, norm.num_groups):
        return PLAIN.pixels(x, norm, convolution)
    batch, channels, height, width = x.shape
    area = height * width
    positions, pixels_each = _tile_of(area), _tile_of(area, _PIXELS)
    scale, shift = _scale_and_shift(x, norm, bias=None)
    weight = x.new_zeros(channels, _TAPS)
    weight[:, :27] = convolution.weight.permute(1, 2, 3, 0).flatten(1)
    products = torch.empty(batch * area, _TAPS, dtype=torch.float32, device=x.device)
    kernels.products_of_taps[(batch * area // positions,)](
        x,
        scale,
        shift,
        weight,
        products,
        area,
        PRECISION="ieee" if x.dtype == torch.float32 else "tf32",
        POSITIONS=positions,
        CHANNELS=channels,
        PADDED=_TAPS,
    )
    out = torch.empty((batch, height, width, 3), dtype=torch.uint8, device=x.device)
    tiles = area // pixels_each
    is_finite = torch.empty(batch, tiles, dtype=torch.int8, device=x.device)
    kernels.pixels_of[(batch * tiles,)](
        products,
        convolution.bias,
        out,
        is_finite,
        height,
        width,
        POSITIONS=pixels_each,
        COLORS=4,
        PADDED=_TAPS,
    )
    return out.permute(0, 3, 1, 2), is_finite.bool().all(1)


KERNELS = Operations(
    group_norm=group_norm,
    add=add,
    interleave=interleave,
    upsample=PLAIN.upsample,
    concatenate=concatenate,
    geglu=geglu,
    layer_norm=layer_norm,
    add_and_norm=add_and_norm,
    pixels=pixels,
    attend=PLAIN.attend,
)
