"""Decoded faces into the pictures of a batch, on the device and in I420.

The arithmetic is that of `composition` (decoded and resized values rounded to bytes, the mix
rounded to nearest), carried from RGB to YUV: the mix is linear, so the luma planes can be mixed as
they are, and for a chroma sample the masks of its four pixels weigh their four face values against
the one sample of the picture. Pixels that the mask leaves alone keep their exact values.

All patches of a batch lie in the upper left of planes of one size, so that no shape depends on a
face: pixels of the canvas that belong to no patch are undefined, and never read.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

# BT.601, limited range, for R, G, B of 0..255.
_TO_Y = (0.256788, 0.504129, 0.097906)
_TO_U = (-0.148223, -0.290993, 0.439216)
_TO_V = (0.439216, -0.367788, -0.071427)


@lru_cache
def _matrix(device: torch.device) -> Tensor:
    """Kept on the device: bringing it there would wait for all that is queued."""
    return torch.tensor((_TO_Y, _TO_U, _TO_V), device=device)


@dataclass(slots=True)
class PatchBatch:
    """What is pasted into, padded to one canvas of ``H x W`` (even), for ``B`` jobs.

    ``geometry`` float32 ``[B, 4]``: width and height of the face box, and how far the patch's
    corner is right of and below the box's. ``masks`` and ``luma`` uint8 ``[B, H, W]``;
    ``chroma`` uint8 ``[B, 2, H / 2, W / 2]``; ``strength`` float32 ``[B]``.
    """

    geometry: Tensor
    masks: Tensor
    luma: Tensor
    chroma: Tensor
    strength: Tensor


def resized(faces: Tensor, geometry: Tensor, height: int, width: int) -> Tensor:
    """Faces ``[B, 3, 256, 256]`` of 0..255 → the part that is on the canvas ``[B, 3, H, W]``.

    Bilinear between pixel centers, not smoothed, edges repeated, rounded: as OpenCV does it.
    """
    batch = len(faces)
    columns = torch.arange(width, device=faces.device, dtype=torch.float32)
    rows = torch.arange(height, device=faces.device, dtype=torch.float32)
    box_width, box_height, right, below = geometry[:, :, None].unbind(1)
    # Kept between the centers of the outermost pixels: what "border" padding does, which Metal
    # has not.
    edge = 1 - 1 / faces.shape[-1]
    x = ((columns + right + 0.5) * (2 / box_width) - 1).clamp(-edge, edge)
    y = ((rows + below + 0.5) * (2 / box_height) - 1).clamp(-edge, edge)
    grid = torch.stack(
        (x[:, None, :].expand(batch, height, width), y[:, :, None].expand(batch, height, width)), -1
    )
    sampled = functional.grid_sample(
        faces, grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )
    return sampled.round()


def paste(faces: Tensor, batch: PatchBatch) -> tuple[Tensor, Tensor]:
    """RGB ``[B, 3, 256, 256]`` → luma ``[B, H, W]`` and chroma ``[B, 2, H/2, W/2]``, all uint8."""
    height, width = batch.luma.shape[-2:]
    rgb = resized(faces.float(), batch.geometry, height, width)
    yuv = torch.einsum("kc,bchw->bkhw", _matrix(rgb.device), rgb)
    alpha = batch.masks.float() * (batch.strength / 255)[:, None, None]
    luma = torch.lerp(batch.luma.float(), (yuv[:, 0] + 16).round(), alpha)
    body = batch.chroma.float()
    full = functional.interpolate(body, scale_factor=2.0, mode="nearest")
    change = functional.avg_pool2d(alpha[:, None] * (yuv[:, 1:] + 128 - full), 2)
    return luma.round().to(torch.uint8), (body + change).round().to(torch.uint8)
