"""Taking out of a picture what an open mouth shows, so that nothing of it is left when it is shut.

The warp that shuts a mouth runs through its opening within a row of pixels, so specks of teeth and
of the dark between them would stay along the line of the lips. The opening is filled with the lips
around it first.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.engines.viseme.renderers.face_frame import INNER_LOWER, INNER_UPPER
from inference.faces.mesh import LEFT_MOUTH_CORNER, RIGHT_MOUTH_CORNER
from inference.media.compositor import planes_of
from inference.media.types import Picture

_BEYOND = 0.02
"""How far beyond the landmarks of the opening it is filled, in mouth widths: they are a bit off."""
_INPAINT_PX = 3
_MARGIN_PX = 8
"""What is seen around the hole when it is filled."""
_SUBPIXEL_BITS = 3


def without_inside(picture: Picture, landmarks: NDArray[np.float32], amount: float) -> Picture:
    """Return ``picture`` with the opening of its mouth filled.

    Args:
        picture: The picture; left as it is.
        landmarks: float32 ``[468, 2]``, pixels.
        amount: How much of the opening is covered, 0..1.
    """
    filled = _filled(picture, _opening(planes_of(picture)[0].shape, landmarks))
    return np.asarray(cv2.addWeighted(filled, amount, picture, 1 - amount, 0), np.uint8)


def _opening(shape: tuple[int, ...], landmarks: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return 1 where the mouth is open and a little beyond, 0 elsewhere."""
    outline = np.concatenate([landmarks[INNER_UPPER], landmarks[INNER_LOWER][::-1]])
    corners = landmarks[RIGHT_MOUTH_CORNER] - landmarks[LEFT_MOUTH_CORNER]
    side = 2 * max(round(_BEYOND * float(np.hypot(*corners))), 1) + 1
    mask = np.zeros(shape, np.uint8)
    points = np.rint(outline * 2**_SUBPIXEL_BITS).astype(np.int32)
    cv2.fillPoly(mask, [points], 1, cv2.LINE_8, _SUBPIXEL_BITS)
    # OpenCV's ellipse of three pixels is a cross, which leaves out what is beyond a corner.
    form = cv2.MORPH_RECT if side == 3 else cv2.MORPH_ELLIPSE
    around = cv2.getStructuringElement(form, (side, side))
    return np.asarray(cv2.dilate(mask, around), np.uint8)


def _filled(picture: Picture, mask: NDArray[np.uint8]) -> Picture:
    """Return ``picture`` with what is around ``mask`` continued into it."""
    result = picture.copy()
    x, y, width, height = (value // 2 * 2 for value in cv2.boundingRect(mask))
    if not (width and height):
        return result
    left, top = max(x - _MARGIN_PX, 0), max(y - _MARGIN_PX, 0)
    right, bottom = x + width + 2 + _MARGIN_PX, y + height + 2 + _MARGIN_PX
    # A chroma sample is filled where the mask touches any of its four luma samples.
    half = np.maximum.reduce([mask[row::2, column::2] for row in (0, 1) for column in (0, 1)])
    for plane, hole, step in zip(planes_of(result), (mask, half, half), (1, 2, 2), strict=True):
        box = slice(top // step, bottom // step), slice(left // step, right // step)
        around, within = (np.ascontiguousarray(part[box]) for part in (plane, hole))
        plane[box] = cv2.inpaint(around, within, _INPAINT_PX, cv2.INPAINT_TELEA)
    return result
