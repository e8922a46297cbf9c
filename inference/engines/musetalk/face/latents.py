"""From a picture of a face to what the UNet takes of it. Preparation only."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.engines.musetalk.constants import FACE_SIZE, LATENT_SCALE
from inference.engines.musetalk.face.boxes import Box


def face_crop(picture_bgr: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """Return the box's pixels at 256x256, whatever its aspect; uint8 BGR."""
    crop = picture_bgr[max(box.y1, 0) : box.y2, max(box.x1, 0) : box.x2]
    resized: NDArray[np.uint8] = cv2.resize(
        crop, (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_LANCZOS4
    ).astype(np.uint8)
    return resized


def encoder_input(faces: Tensor) -> Tensor:
    """Pixels of faces as the encoder takes them: of each the masked one, then the reference.

    The masked one is black (-1) in its lower half: what the UNet is to fill in.

    Args:
        faces: uint8 RGB ``[B, 256, 256, 3]``, on any device.

    Returns:
        Float32 in -1..1, ``[2 * B, 3, 256, 256]``.
    """
    reference = (faces.permute(0, 3, 1, 2).float() / 255.0 - 0.5) / 0.5
    masked = reference.clone()
    masked[:, :, FACE_SIZE // 2 :] = -1.0
    return torch.stack((masked, reference), 1).flatten(0, 1)


def unet_latents(mean: Tensor, deviation: Tensor, noise: Tensor | None = None) -> Tensor:
    """Posterior of (masked, reference) → what the UNet takes of each picture.

    Without ``noise`` the posterior's mode: two preparations of one picture are then the same. (The
    reference draws from the posterior, unseeded.)

    Args:
        mean: ``[2 * B, 4, 32, 32]``.
        deviation: Likewise.
        noise: Likewise, or None.

    Returns:
        ``[B, 8, 32, 32]``.
    """
    latents = mean if noise is None else mean + deviation * noise
    return (latents * LATENT_SCALE).unflatten(0, (-1, 2)).flatten(1, 2)
