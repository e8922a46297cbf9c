"""Which pixels of the picture the generated face replaces, and how softly.

From a map of face parts (BiSeNet's classes) as the reference does it, or, where the parsing weights
are not there, from the oval of the face mesh. Both end in the same way: resized to the crop box,
cut to the face box, upper half removed, blurred.
"""

from functools import cache
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from inference.engines.musetalk.constants import (
    BLUR_RATIO_REALTIME,
    CHEEK_LEFT_COLUMN,
    CHEEK_RIGHT_COLUMN,
    LOWER_LIP,
    MOUTH,
    NECK,
    NOSE,
    PARSING_MEAN,
    PARSING_SIZE,
    PARSING_STD,
    SKIN,
    UPPER_BOUNDARY_RATIO,
    UPPER_LIP,
)
from inference.engines.musetalk.face.boxes import Box, crop_box

Mask = NDArray[np.uint8]
"""uint8 ``[height, width]``, 255 where only the generated face is seen."""

ParsingMode = Literal["raw", "neck", "jaw"]

FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
"""The outline of the face in the 468-point mesh, in order."""


def square_crop(picture_bgr: NDArray[np.uint8], box: Box) -> Image.Image:
    """Return the pixels of ``box``, black where it leaves the picture; RGB."""
    return Image.fromarray(np.ascontiguousarray(picture_bgr[..., ::-1])).crop(box)


def parsing_pixels(crop: Image.Image) -> NDArray[np.uint8]:
    """uint8 RGB ``[512, 512, 3]`` of a square crop."""
    return np.array(crop.resize((PARSING_SIZE, PARSING_SIZE), Image.Resampling.BILINEAR))


def normalized(pixels: torch.Tensor) -> torch.Tensor:
    """Return `parsing_pixels` as the face parser was trained to see them.

    Args:
        pixels: uint8 ``[B, 512, 512, 3]``, on any device.

    Returns:
        Float32 ``[B, 3, 512, 512]``.
    """
    mean, deviation = _statistics(pixels.device)
    return (pixels.permute(0, 3, 1, 2).float() / 255.0 - mean) / deviation


@cache
def _statistics(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """What `normalized` needs, brought to a device once: bringing it there waits for the device."""
    mean, deviation = (
        torch.tensor(values, device=device)[:, None, None] for values in (PARSING_MEAN, PARSING_STD)
    )
    return mean, deviation


def dilate_element() -> Mask:
    """33x33: under it a point spreads 16 rows up and tapers, 6 down, 10 to either side."""
    element = np.zeros((33, 33), np.uint8)
    for row in range(10, 33):
        half = min(row - 10, 10)
        element[row, 16 - half : 17 + half] = 1
    return element


def erode_element() -> Mask:
    """35 wide, 3 high, an ellipse."""
    element: Mask = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (35, 3)).astype(np.uint8)
    return element


def cheek_columns() -> NDArray[np.bool_]:
    """``[512]``: the columns of the parsing map that count as cheek."""
    column = np.arange(PARSING_SIZE)
    return (column < CHEEK_LEFT_COLUMN) | (column > CHEEK_RIGHT_COLUMN)


def face_region(parsing: NDArray[np.integer], mode: ParsingMode) -> Mask:
    """Map of classes ``[512, 512]`` → 0 or 255.

    "jaw" lets the chin move: skin, grown (mostly upwards into the mouth's shadow and down over the
    jaw), but shrunk at the cheeks so that the hair beside them keeps still; without the nose.
    """
    lips = np.isin(parsing, (MOUTH, UPPER_LIP, LOWER_LIP))
    if mode != "jaw":
        classes = (SKIN,) if mode == "raw" else (SKIN, NECK)
        return np.where(lips | np.isin(parsing, classes), 255, 0).astype(np.uint8)
    skin = np.where(parsing == SKIN, 255, 0).astype(np.uint8)
    grown = cv2.dilate(skin, dilate_element())
    shrunk = cv2.erode(grown, erode_element(), iterations=2)
    face = np.where(cheek_columns(), shrunk, grown) == 255
    return np.where((face & (parsing != NOSE)) | lips, 255, 0).astype(np.uint8)


def oval_region(points: NDArray[np.float32], crop: Box) -> Mask:
    """Return the face oval of a mesh ``[468, 2]`` as a region of 512x512 of ``crop``."""
    corner, scale = np.array([crop.x1, crop.y1]), PARSING_SIZE / crop.width
    oval = (points[list(FACE_OVAL)] - corner) * scale
    region = np.zeros((PARSING_SIZE, PARSING_SIZE), np.uint8)
    cv2.fillPoly(region, [np.round(oval).astype(np.int32)], 255)
    return region


def soft_mask(region: Mask, box: Box, blur_ratio: float = BLUR_RATIO_REALTIME) -> Mask:
    """Region of 512x512 → the mask over the crop box of ``box``.

    Resized as the reference does (Pillow's bicubic), then only what is inside the face box and
    below its middle is kept, then blurred by a Gaussian of ``blur_ratio`` of the crop's width.
    """
    crop = crop_box(box)
    resized = np.asarray(Image.fromarray(region).resize((crop.width, crop.height)))
    left, top = box.x1 - crop.x1, box.y1 - crop.y1
    mask = np.zeros((crop.height, crop.width), np.uint8)
    mask[top : top + box.height, left : left + box.width] = resized[
        top : top + box.height, left : left + box.width
    ]
    mask[: int(crop.height * UPPER_BOUNDARY_RATIO)] = 0
    size = int(blur_ratio * crop.width // 2 * 2) + 1
    blurred: Mask = cv2.GaussianBlur(mask, (size, size), 0).astype(np.uint8)
    return blurred
