"""The kernels of `fused`, in Triton: each program does one tile of positions and channels.

All tensors are ``[positions, channels]``, channels next to each other; tiles divide both, and the
positions of a picture.
"""
# ruff: noqa: ANN001, ANN201, N803
# mypy: disable-error-code="no-untyped-def, untyped-decorator, misc"

import triton
import triton.language as tl


@triton.jit
def tile_moments(
    x,
    bias,
    means,
    squares,
    channels,
    HAS_BIAS: tl.constexpr,
    POSITIONS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Of one tile, per channel: the mean of x + bias, and the sum of squared deviations."""
    tile = tl.program_id(0).to(tl.int64)
    rows = tile * POSITIONS + tl.arange(0, POSITIONS)
    columns = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    values = tl.load(x + rows[:, None] * channels + columns[None, :]).to(tl.float32)
    mean = tl.sum(values, 0) / POSITIONS
    off = values - mean[None, :]
    if HAS_BIAS:
        mean += tl.load(bias + columns).to(tl.float32)
    at = tile * channels + columns
    tl.store(means + at, mean)
    tl.store(squares + at, tl.sum(off * off, 0))


@triton.jit
def scale_and_shift(
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
    HAS_BIAS: tl.constexpr,
    POSITIONS: tl.constexpr,
    TILES: tl.constexpr,
    GROUP: tl.constexpr,
):
    """Of one group of one picture: x * scale + shift is the norm, with the bias."""
    picture = tl.program_id(0).to(tl.int64)
    member = tl.arange(0, GROUP)
    columns = tl.program_id(1) * group + member
    tile = tl.arange(0, TILES)
    at = (picture * tiles + tile)[:, None] * channels + columns[None, :]
    is_there = (tile < tiles)[:, None] & (member < group)[None, :]
    mean_of_tile = tl.load(means + at, mask=is_there, other=0.0)
    within = tl.load(squares + at, mask=is_there, other=0.0)
    count = tl.cast(tiles * group, tl.float32)
    mean = tl.sum(tl.sum(mean_of_tile, 1), 0) / count
    off = tl.where(is_there, mean_of_tile - mean, 0.0)
    between = tl.sum(tl.sum(off * off, 1), 0)
    variance = (tl.sum(tl.sum(within, 1), 0) / POSITIONS + between) / count
    factor = tl.load(weight + columns, mask=member < group, other=0.0).to(tl.float32)
    factor = factor / tl.sqrt(variance + eps)
    offset = -mean
    if HAS_BIAS:
        offset += tl.load(bias + columns, mask=member < group, other=0.0).to(tl.float32)
    added = tl.load(beta + columns, mask=member < group, other=0.0).to(tl.float32)
    to = picture * channels + columns
    tl.store(scale + to, factor, mask=member < group)
    tl.store(shift + to, added + offset * factor, mask=member < group)


@triton.jit
def scaled_and_shifted(
    x,
    scale,
    shift,
    out,
    tiles,
    channels,
    IS_SILU: tl.constexpr,
    POSITIONS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """One tile of x * scale + shift, with SiLU."""
    tile = tl.program_id(0).to(tl.int64)
    rows = tile * POSITIONS + tl.arange(0, POSITIONS)
    columns = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    of_picture = tile // tiles * channels + columns
    at = rows[:, None] * channels + columns[None, :]
    values = tl.load(x + at).to(tl.float32)
    values = values * tl.load(scale + of_picture)[None, :]
    values += tl.load(shift + of_picture)[None, :]
    if IS_SILU:
        values = values / (1.0 + tl.exp(-values))
    tl.store(out + at, values.to(out.dtype.element_ty))


@triton.jit
def sum_with_bias(
    x,
    y,
    bias,
    out,
    channels,
    POSITIONS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """One tile of x + y + bias."""
    rows = tl.program_id(0).to(tl.int64) * POSITIONS + tl.arange(0, POSITIONS)
    columns = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    at = rows[:, None] * channels + columns[None, :]
    values = tl.load(x + at).to(tl.float32) + tl.load(y + at).to(tl.float32)
    values += tl.load(bias + columns).to(tl.float32)[None, :]
    tl.store(out + at, values.to(out.dtype.element_ty))
