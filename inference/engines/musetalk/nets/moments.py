"""Moments of tensors, kept by the kernel that wrote a tensor for the norm that reads it.

A group norm needs mean and variance of its input, which otherwise costs one more pass over memory.
The sum of a residual and the upsampler have every value in registers when they write it; what they
find is kept here beside the tensor, as long as the tensor lives. Nets never write into a tensor
that another block gave them, so what is kept stays true.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary


@dataclass(frozen=True, slots=True)
class Moments:
    """Of each tile of ``positions`` pixels: ``means`` and ``squares`` float32 ``[tiles, C]``."""

    means: Tensor
    squares: Tensor
    positions: int


_kept = WeakIdKeyDictionary()


def keep(x: Tensor, moments: Moments) -> Tensor:
    """Keep ``moments`` as long as ``x`` lives; ``x``."""
    _kept[x] = moments
    return x


def moments_of(x: Tensor) -> Moments | None:
    """Return what is kept of ``x``."""
    found: Moments | None = _kept.get(x)
    return found


def joined(x: Tensor, y: Tensor) -> Moments | None:
    """Those of the two along the channels; None unless both are known in the same tiles."""
    first, second = moments_of(x), moments_of(y)
    if first is None or second is None or first.positions != second.positions:
        return None
    return Moments(
        torch.cat((first.means, second.means), 1),
        torch.cat((first.squares, second.squares), 1),
        first.positions,
    )
