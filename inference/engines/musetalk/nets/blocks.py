"""The building blocks that the UNet and the VAE share, and an attention that is never masked."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional


class ResnetBlock(nn.Module):
    """GroupNorm, SiLU, 3x3 convolution, twice, and a shortcut. No time input: it is folded away."""

    def __init__(self, channels_in: int, channels_out: int, groups: int, eps: float) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels_in, eps)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, channels_out, eps)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.conv_shortcut = (
            None if channels_in == channels_out else nn.Conv2d(channels_in, channels_out, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.conv1(functional.silu(self.norm1(x)))
        hidden = self.conv2(functional.silu(self.norm2(hidden)))
        return (x if self.conv_shortcut is None else self.conv_shortcut(x)) + hidden


class Upsampler(nn.Module):
    """Nearest neighbour, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))


def tokens_of(x: Tensor) -> Tensor:
    """``[B, C, H, W]`` → ``[B, H * W, C]``; free of copies when x is channels-last."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def picture_of(tokens: Tensor, height: int, width: int) -> Tensor:
    """``[B, H * W, C]`` → ``[B, C, H, W]``, channels-last."""
    return tokens.unflatten(1, (height, width)).permute(0, 3, 1, 2)


def attend(projected: Sequence[Tensor], heads: int) -> Tensor:
    """Scaled dot-product attention of (query, key, value), each ``[B, T, C]``, with ``heads``."""
    query, key, value = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in projected)
    mixed = functional.scaled_dot_product_attention(query, key, value)
    return mixed.transpose(1, 2).flatten(2)
