"""Nearest neighbor to twice the size and a 3x3 convolution, as one 2x2 convolution before it.

After doubling, the 3x3 window of a pixel covers but 2x2 pixels of the small picture, and which of
its taps fall on the same one depends on whether the pixel's row and column are even or odd. So
there are four 2x2 kernels, their taps sums of the published ones: 4 products in place of 9, and the
large picture is written once in place of being written, read and written. In the SD decoder that is
a sixth of all arithmetic.

The same is one transposed convolution of 4x4 taps with stride 2 (`transposed`), which writes the
large picture at once, and finds no moments. Which is faster depends on the library: `choice` tries.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.weak import WeakIdKeyDictionary

from inference.engines.musetalk.nets.blocks import Fusable
from inference.engines.musetalk.nets.operations import PLAIN, Interleave


class Upsampler(Fusable):
    """``[B, C, H, W]`` → ``[B, C, 2H, 2W]``; weights from `fold`."""

    def __init__(self, channels: int, *, has_bias: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4 * channels, 2, padding=1, bias=False)
        self.bias = nn.Parameter(torch.zeros(channels)) if has_bias else None

    def forward(self, x: Tensor) -> Tensor:
        operations = self.operations or PLAIN
        return operations.upsample(x, self.conv.weight, self.bias, operations.interleave)


def fold(weight: Tensor) -> Tensor:
    """Return the published ``[C, C, 3, 3]`` → ``[4 * C, C, 2, 2]``.

    Even and odd rows, in each even and odd columns.
    """
    rows = _halves(weight, 2)
    return torch.cat([half for row in rows for half in _halves(row, 3)])


def _halves(weight: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    before, middle, after = weight.unbind(axis)
    even = torch.stack((before, middle + after), axis)
    return even, torch.stack((before + middle, after), axis)


_transposed_weights = WeakIdKeyDictionary()


def transposed(x: Tensor, weight: Tensor, bias: Tensor | None, interleave: Interleave) -> Tensor:
    """The same as `operations.by_phases`, without phases."""
    taps = _transposed_weights.get(weight)
    if taps is None:
        taps = _transposed_weights[weight] = to_transposed(weight)
    return functional.conv_transpose2d(x, taps, bias, stride=2, padding=1)


def to_transposed(weight: Tensor) -> Tensor:
    """Return the taps of `fold` as those of a transposed convolution, ``[C, C, 4, 4]``.

    Tap t of a row of parity p becomes tap 3 - p - 2 t.
    """
    channels = weight.shape[1]
    of_phase = weight.view(2, 2, channels, channels, 2, 2)
    taps = weight.new_zeros(channels, channels, 4, 4)
    for row in range(2):
        for column in range(2):
            here = of_phase[row, column].transpose(0, 1).flip(2, 3)
            taps[:, :, 1 - row :: 2, 1 - column :: 2] = here
    return taps.contiguous(memory_format=torch.channels_last)
