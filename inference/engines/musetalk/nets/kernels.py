"""The kernels of `fused`, in Triton: each program does one tile of positions and channels.

All tensors are ``[positions, channels]``, channels next to each other; tiles divide both, and the
positions of a picture.
"""
# ruff: noqa: ANN001, ANN201, N803
# mypy: disable-error-code="no-untyped-def, untyped-decorator, misc"

import triton
import triton.language as tl


@triton.jit
def store_moments(means, squares, at, values, POSITIONS: tl.constexpr):
    """Per channel of one tile: the mean, and the sum of squared deviations from it."""
    mean = tl.sum(values, 0) / POSITIONS
    off = values - mean[None, :]
    tl.store(means + at, mean)
    tl.store(squares + at, tl.sum(off * off, 0))


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
    if HAS_BIAS:
        values += tl.load(bias + columns).to(tl.float32)[None, :]
    store_moments(means, squares, tile * channels + columns, values, POSITIONS)


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
    means,
    squares,
    channels,
    HAS_MOMENTS: tl.constexpr,
    POSITIONS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """One tile of x + y + bias, with its moments if wanted."""
    tile = tl.program_id(0).to(tl.int64)
    rows = tile * POSITIONS + tl.arange(0, POSITIONS)
    columns = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    at = rows[:, None] * channels + columns[None, :]
    values = tl.load(x + at).to(tl.float32) + tl.load(y + at).to(tl.float32)
    values += tl.load(bias + columns).to(tl.float32)[None, :]
    written = values.to(out.dtype.element_ty)
    tl.store(out + at, written)
    if HAS_MOMENTS:
        store_moments(means, squares, tile * channels + columns, written.to(tl.float32), POSITIONS)


@triton.jit
def interleaved(
    phases,
    bias,
    out,
    means,
    squares,
    height,
    width,
    channels,
    HAS_BIAS: tl.constexpr,
    HAS_MOMENTS: tl.constexpr,
    POSITIONS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """One tile of a picture of twice the size, from the four phases of a 2x2 convolution.

    ``phases`` ``[B, height + 1, width + 1, 4 * channels]``, ``out`` ``[B, 2 * height, 2 * width,
    channels]``: a pixel of even or odd row and column is of the phase of that number, one row
    further if its row is odd, one column further if its column is.
    """
    tile = tl.program_id(0).to(tl.int64)
    position = tile * POSITIONS + tl.arange(0, POSITIONS)
    columns = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    column = position % (2 * width)
    row = position // (2 * width) % (2 * height)
    picture = position // (4 * height * width)
    phase = row % 2 * 2 + column % 2
    source = (picture * (height + 1) + (row + 1) // 2) * (width + 1) + (column + 1) // 2
    read = (source * 4 + phase)[:, None] * channels + columns[None, :]
    values = tl.load(phases + read).to(tl.float32)
    if HAS_BIAS:
        values += tl.load(bias + columns).to(tl.float32)[None, :]
    written = values.to(out.dtype.element_ty)
    tl.store(out + position[:, None] * channels + columns[None, :], written)
    if HAS_MOMENTS:
        store_moments(means, squares, tile * channels + columns, written.to(tl.float32), POSITIONS)


@triton.jit
def gated(x, out, count, WIDTH: tl.constexpr):
    """Part of one row of GEGLU: the first half of the row times the exact GELU of the second."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    is_there = column < count
    value = tl.load(x + row * 2 * count + column, mask=is_there, other=0.0).to(tl.float32)
    gate = tl.load(x + row * 2 * count + count + column, mask=is_there, other=0.0).to(tl.float32)
    # 0.7071... is 1 / sqrt(2).
    gate = 0.5 * gate * (1.0 + tl.erf(gate * 0.7071067811865476))
    tl.store(out + row * count + column, (value * gate).to(out.dtype.element_ty), mask=is_there)


@triton.jit
def sum_and_norm(
    x,
    y,
    weight,
    beta,
    total,
    out,
    count,
    eps,
    HAS_SUM: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """One row: x + y if there is a y, and LayerNorm of that."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, WIDTH)
    is_there = column < count
    at = row * count + column
    values = tl.load(x + at, mask=is_there, other=0.0).to(tl.float32)
    if HAS_SUM:
        values += tl.load(y + at, mask=is_there, other=0.0).to(tl.float32)
        written = values.to(total.dtype.element_ty)
        tl.store(total + at, written, mask=is_there)
        values = written.to(tl.float32)
    mean = tl.sum(values, 0) / count
    off = tl.where(is_there, values - mean, 0.0)
    off = off / tl.sqrt(tl.sum(off * off, 0) / count + eps)
    factor = tl.load(weight + column, mask=is_there, other=0.0).to(tl.float32)
    added = tl.load(beta + column, mask=is_there, other=0.0).to(tl.float32)
    tl.store(out + at, (off * factor + added).to(out.dtype.element_ty), mask=is_there)


@triton.jit
def products_of_taps(
    x,
    scale,
    shift,
    weight,
    products,
    area,
    PRECISION: tl.constexpr,
    POSITIONS: tl.constexpr,
    CHANNELS: tl.constexpr,
    PADDED: tl.constexpr,
):
    """One tile of norm, SiLU, and the products with all taps of a 3x3 convolution to RGB.

    ``x`` ``[positions, CHANNELS]``, ``area`` of them a picture; ``weight`` ``[CHANNELS, PADDED]``:
    column 3 * tap + color, zero beyond 27; ``products`` float32 ``[positions, PADDED]``. Norm and
    SiLU are done once for a position, and not once for each of its nine neighbors.
    """
    tile = tl.program_id(0).to(tl.int64)
    rows = tile * POSITIONS + tl.arange(0, POSITIONS)
    channel = tl.arange(0, CHANNELS)
    column = tl.arange(0, PADDED)
    of_picture = tile * POSITIONS // area * CHANNELS + channel
    values = tl.load(x + rows[:, None] * CHANNELS + channel[None, :]).to(tl.float32)
    values = values * tl.load(scale + of_picture)[None, :]
    values += tl.load(shift + of_picture)[None, :]
    values = values / (1.0 + tl.exp(-values))
    taps = tl.load(weight + channel[:, None] * PADDED + column[None, :])
    total = tl.dot(values.to(taps.dtype), taps, input_precision=PRECISION)
    tl.store(products + rows[:, None] * PADDED + column[None, :], total)


@triton.jit
def pixels_of(
    products,
    bias,
    out,
    is_finite,
    height,
    width,
    POSITIONS: tl.constexpr,
    COLORS: tl.constexpr,
    PADDED: tl.constexpr,
):
    """Bytes of one tile of a picture, of the `products_of_taps` around each position.

    ``out`` uint8 ``[B, height, width, 3]``; ``is_finite`` int8, one a tile; ``COLORS`` 4, a power
    of two.
    """
    tile = tl.program_id(0).to(tl.int64)
    position = tile * POSITIONS + tl.arange(0, POSITIONS)
    color = tl.arange(0, COLORS)
    is_color = (color < 3)[None, :] & (position >= 0)[:, None]
    column = position % width
    row = position // width % height
    total = tl.zeros((POSITIONS, COLORS), tl.float32)
    for tap in range(9):
        down, right = tap // 3 - 1, tap % 3 - 1
        # Beyond the border the convolution's input is zero after the norm: no product at all.
        is_inside = (row + down >= 0) & (row + down < height)
        is_inside = is_inside & (column + right >= 0) & (column + right < width)
        at = (position + down * width + right)[:, None] * PADDED + (tap * 3 + color)[None, :]
        total += tl.load(products + at, mask=is_inside[:, None] & is_color, other=0.0)
    total += tl.load(bias + color, mask=color < 3, other=0.0).to(tl.float32)[None, :]
    # Not a number is not equal to itself, and infinity less itself is not a number.
    rest = total - total
    tl.store(is_finite + tile, (tl.max(tl.where(rest == rest, 0, 1)) == 0).to(tl.int8))
    level = tl.minimum(tl.maximum(total / 2 + 0.5, 0.0), 1.0) * 255.0
    # 1.5 * 2**23 leaves single precision no bits below one: rounded half to even.
    level = (level + 12582912.0) - 12582912.0
    at = position[:, None] * 3 + color[None, :]
    tl.store(out + at, level.to(tl.int32).to(tl.uint8), mask=is_color)
