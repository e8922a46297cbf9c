"""Nearest neighbor to twice the size and a 3x3 convolution, as one 2x2 convolution before it.

After doubling, the 3x3 window of a pixel covers but 2x2 pixels of the small picture, and which of
its taps fall on the same one depends on whether the pixel's row and column are even or odd. So
there are four 2x2 kernels, their taps sums of the published ones: 4 products in place of 9, and the
large picture is written once in place of being written, read and written. In the SD decoder that is
a sixth of all arithmetic.
"""

import torch
from torch import Tensor, nn

from inference.engines.musetalk.nets.blocks import Fusable
from inference.engines.musetalk.nets.operations import PLAIN


class Upsampler(Fusable):
    """``[B, C, H, W]`` → ``[B, C, 2H, 2W]``; weights from `fold`."""

    def __init__(self, channels: int, *, has_bias: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4 * channels, 2, padding=1, bias=False)
        self.bias = nn.Parameter(torch.zeros(channels)) if has_bias else None

    def forward(self, x: Tensor) -> Tensor:
        # Row and column r of the phases lie between r - 1 and r of the small picture.
        return (self.operations or PLAIN).interleave(self.conv(x), self.bias)


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
