"""From a clip's pictures and face meshes to what the engine keeps of it: 545 GFLOP a picture.

Each picture for itself: one without a face, or with a face that cannot be boxed, gets an empty
patch and shifts nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from inference.engines.musetalk.constants import LATENT_SIZE
from inference.engines.musetalk.face import latents
from inference.engines.musetalk.face.boxes import Box, crop_box, mesh_box, with_margin
from inference.engines.musetalk.face.masks import (
    Mask,
    face_region,
    oval_region,
    parsing_input,
    soft_mask,
    square_crop,
)
from inference.engines.musetalk.prepare.avatar import FaceClip
from inference.engines.musetalk.prepare.background import Progress
from inference.media.types import Picture, Rectangle

_NOWHERE = Rectangle(0, 0, 0, 0)


def to_bgr(picture: Picture) -> NDArray[np.uint8]:
    """I420, limited range, BT.601 → uint8 BGR."""
    bgr: NDArray[np.uint8] = cv2.cvtColor(picture, cv2.COLOR_YUV2BGR_I420).astype(np.uint8)
    return bgr


def patch_of(box: Box, mask: Mask, width: int, height: int) -> tuple[Rectangle, Mask]:
    """Return the rectangle that blending can change, even-aligned, and the mask over it.

    ``mask`` covers the crop box. Outside the face box the blending pastes the picture on itself, so
    there the mask does not count.
    """
    crop = crop_box(box)
    whole = np.zeros((height, width), np.uint8)
    x1, y1 = max(box.x1, crop.x1, 0), max(box.y1, crop.y1, 0)
    x2, y2 = min(box.x2, crop.x2, width), min(box.y2, crop.y2, height)
    if x1 >= x2 or y1 >= y2:
        return _NOWHERE, np.zeros((0, 0), np.uint8)
    whole[y1:y2, x1:x2] = mask[y1 - crop.y1 : y2 - crop.y1, x1 - crop.x1 : x2 - crop.x1]
    rows, columns = np.flatnonzero(whole.any(1)), np.flatnonzero(whole.any(0))
    if not len(rows):
        return _NOWHERE, np.zeros((0, 0), np.uint8)
    left, top = int(columns[0]) // 2 * 2, int(rows[0]) // 2 * 2
    right, bottom = (int(columns[-1]) // 2 + 1) * 2, (int(rows[-1]) // 2 + 1) * 2
    return Rectangle(left, top, right - left, bottom - top), whole[top:bottom, left:right]


@dataclass(slots=True)
class ClipPreparer:
    """Prepares clips; the nets, float32, are on ``device``. Without a face parser, see `masks`."""

    encoder: Any
    face_parsing: Any | None
    device: torch.device

    @property
    def mask_source(self) -> str:
        return "oval" if self.face_parsing is None else "parsing"

    def prepare(
        self,
        pictures: Sequence[Picture],
        meshes: NDArray[np.float32],
        progress: Progress | None = None,
    ) -> FaceClip:
        """``meshes`` ``[frames, 468, 2 or 3]``, pixels; NaN where no face was found."""
        count = len(pictures)
        faces = np.zeros((count, 8, LATENT_SIZE, LATENT_SIZE), np.float16)
        places = np.zeros((count, 8), np.int32)
        masks: list[Mask] = []
        for index, (picture, mesh) in enumerate(zip(pictures, meshes, strict=True)):
            masks.append(np.zeros((0, 0), np.uint8))
            box = mesh_box(mesh[:, :2]) if np.isfinite(mesh[:, :2]).all() else None
            if box is not None:
                bgr = to_bgr(picture)
                height, width = bgr.shape[:2]
                box = with_margin(box, height)
                soft = soft_mask(self._region(bgr, box, mesh[:, :2]), box)
                patch, masks[-1] = patch_of(box, soft, width, height)
                if patch is not _NOWHERE:
                    faces[index] = self._latents(bgr, box)
                    places[index] = (*box, *patch)
            if progress:
                progress(index + 1, count)
        return FaceClip(faces, _stacked(masks), places)

    def _latents(self, bgr: NDArray[np.uint8], box: Box) -> NDArray[np.float16]:
        pixels = latents.encoder_input(latents.face_crop(bgr, box)).to(self.device)
        with torch.inference_mode():
            mean, deviation = self.encoder(pixels)
        half: NDArray[np.float16] = latents.unet_latents(mean, deviation).half().cpu().numpy()
        return half

    def _region(self, bgr: NDArray[np.uint8], box: Box, mesh: NDArray[np.float32]) -> Mask:
        crop = crop_box(box)
        if self.face_parsing is None:
            return oval_region(mesh, crop)
        with torch.inference_mode():
            logits = self.face_parsing(parsing_input(square_crop(bgr, crop)).to(self.device))
        return face_region(logits[0].argmax(0).cpu().numpy(), "jaw")


def _stacked(masks: list[Mask]) -> NDArray[np.uint8]:
    height = max((mask.shape[0] for mask in masks), default=0)
    width = max((mask.shape[1] for mask in masks), default=0)
    stack = np.zeros((len(masks), height, width), np.uint8)
    for plane, mask in zip(stack, masks, strict=True):
        plane[: mask.shape[0], : mask.shape[1]] = mask
    return stack
