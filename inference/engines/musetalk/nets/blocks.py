"""The building blocks that the UNet and the VAE share, and an attention that is never masked."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from inference.engines.musetalk.nets.operations import PLAIN, Operations


class Fusable(nn.Module):
    """A block that is done by `Operations` where it was given some, and else as torch has it."""

    operations: Operations | None = None


class GroupNorm(nn.GroupNorm, Fusable):
    """GroupNorm, then SiLU if wanted."""

    def forward(self, x: Tensor, *, is_silu: bool = False) -> Tensor:
        if self.operations is not None:
            return self.normed_with(self.operations, x, is_silu=is_silu)
        normed = super().forward(x)
        return functional.silu(normed) if is_silu else normed

    def normed_with(
        self, operations: Operations, x: Tensor, *, is_silu: bool, bias: Tensor | None = None
    ) -> Tensor:
        """Return the same of ``x + bias``."""
        return operations.group_norm(x, self, bias=bias, is_silu=is_silu)


class ResnetBlock(Fusable):
    """GroupNorm, SiLU, 3x3 convolution, twice, and a shortcut. No time input: it is folded away."""

    def __init__(self, channels_in: int, channels_out: int, groups: int, eps: float) -> None:
        super().__init__()
        self.norm1 = GroupNorm(groups, channels_in, eps)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm2 = GroupNorm(groups, channels_out, eps)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.conv_shortcut = (
            None if channels_in == channels_out else nn.Conv2d(channels_in, channels_out, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.operations is not None:
            return self._with_biases_in_passing(self.operations, x)
        hidden = self.conv1(self.norm1(x, is_silu=True))
        hidden = self.conv2(self.norm2(hidden, is_silu=True))
        return (x if self.conv_shortcut is None else self.conv_shortcut(x)) + hidden

    def _with_biases_in_passing(self, operations: Operations, x: Tensor) -> Tensor:
        hidden = _without_bias(self.conv1, self.norm1(x, is_silu=True))
        hidden = self.norm2.normed_with(operations, hidden, is_silu=True, bias=self.conv1.bias)
        hidden = _without_bias(self.conv2, hidden)
        if self.conv_shortcut is None:
            return operations.add(x, hidden, self.conv2.bias)
        bias = self.conv2.bias + self.conv_shortcut.bias
        return operations.add(_without_bias(self.conv_shortcut, x), hidden, bias)


def _without_bias(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    return functional.conv2d(x, convolution.weight, None, padding=convolution.padding)


def use_operations(net: nn.Module, operations: Operations | None) -> None:
    """Have ``net`` use ``operations``; None: as torch has it."""
    for module in net.modules():
        if isinstance(module, Fusable):
            module.operations = operations


def tokens_of(x: Tensor) -> Tensor:
    """``[B, C, H, W]`` → ``[B, H * W, C]``; free of copies when x is channels-last."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def picture_of(tokens: Tensor, height: int, width: int) -> Tensor:
    """``[B, H * W, C]`` → ``[B, C, H, W]``, channels-last."""
    return tokens.unflatten(1, (height, width)).permute(0, 3, 1, 2)


def attend(projected: Sequence[Tensor], heads: int, operations: Operations | None = None) -> Tensor:
    """Scaled dot-product attention of (query, key, value), each ``[B, T, C]``, with ``heads``."""
    query, key, value = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in projected)
    if query.device.type == "mps":  # whose kernel has misread permuted tensors
        query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
    mixed = (operations or PLAIN).attend(query, key, value)
    return mixed.transpose(1, 2).flatten(2)
