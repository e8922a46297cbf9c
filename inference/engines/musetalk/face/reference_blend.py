"""The reference's way of putting a generated face into a picture, byte for byte, on the CPU.

The streaming engine does the same on its device and in I420 (`paste`); this is what it is held
against.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.engines.musetalk.face.boxes import Box, crop_box
from inference.engines.musetalk.face.masks import Mask

Bgr = NDArray[np.uint8]
"""uint8 ``[height, width, 3]``, blue first."""


def resize_face(face: Bgr, box: Box) -> Bgr:
    """Resize the decoded 256x256 face to its box: bilinear, no smoothing when it shrinks."""
    resized: Bgr = cv2.resize(face, (box.width, box.height), interpolation=cv2.INTER_LINEAR).astype(
        np.uint8
    )
    return resized


def mix(face: NDArray[np.uint8], body: NDArray[np.uint8], mask: Mask) -> NDArray[np.uint8]:
    """``face`` where the mask is 255, ``body`` where 0, rounded to nearest, as Pillow does it."""
    weight = mask.astype(np.int32)
    sum_ = face.astype(np.int32) * weight + body.astype(np.int32) * (255 - weight) + 128
    mixed: NDArray[np.uint8] = (((sum_ >> 8) + sum_) >> 8).astype(np.uint8)
    return mixed


def blend(picture: Bgr, face: Bgr, box: Box, mask: Mask) -> Bgr:
    """``picture`` with ``face`` (resized to ``box``) in it; ``mask`` covers the box's crop box."""
    crop = crop_box(box)
    result = picture.copy()
    height, width = picture.shape[:2]
    x1, y1 = max(box.x1, crop.x1, 0), max(box.y1, crop.y1, 0)
    x2, y2 = min(box.x2, crop.x2, width), min(box.y2, crop.y2, height)
    inside = mask[y1 - crop.y1 : y2 - crop.y1, x1 - crop.x1 : x2 - crop.x1, None]
    pasted = face[y1 - box.y1 : y2 - box.y1, x1 - box.x1 : x2 - box.x1]
    result[y1:y2, x1:x2] = mix(pasted, picture[y1:y2, x1:x2], inside)
    return result
