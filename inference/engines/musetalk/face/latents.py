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


def encoder_input(crop_bgr: NDArray[np.uint8]) -> Tensor:
    """uint8 BGR ``[256, 256, 3]`` → float32 RGB in -1..1 ``[2, 3, 256, 256]``: masked, reference.

    The masked one is black (-1) in its lower half: what the UNet is to fill in.
    """
    rgb = torch.from_numpy(np.ascontiguousarray(crop_bgr[..., ::-1])).permute(2, 0, 1)
    reference = (rgb.float() / 255.0 - 0.5) / 0.5
    masked = reference.clone()
    masked[:, FACE_SIZE // 2 :] = -1.0
    return torch.stack((masked, reference))


def unet_latents(mean: Tensor, deviation: Tensor, noise: Tensor | None = None) -> Tensor:
    """Posterior of (masked, reference), each ``[2, 4, 32, 32]`` → UNet input ``[8, 32, 32]``.

    Without ``noise`` the posterior's mode: two preparations of one picture are then the same. (The
    reference draws from the posterior, unseeded.)
    """
    latents = mean if noise is None else mean + deviation * noise
    return (latents * LATENT_SCALE).flatten(0, 1)
