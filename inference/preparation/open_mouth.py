"""Taking out of a picture what an open mouth shows, so that nothing of it is left when it is shut.

The warp that shuts a mouth runs through its opening within a row of pixels, so specks of teeth and
of the dark between them would stay along the line of the lips. The opening is filled with the lips
around it first. In the corners of a wide mouth the dark reaches beyond the landmarks, so there what
the picture shows decides: what is dark, as high as an opening and passes into it.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.engines.viseme.renderers.face_frame import (
    INNER_LOWER,
    INNER_UPPER,
    OUTER_LOWER,
    OUTER_UPPER,
)
from inference.engines.viseme.renderers.tint import BLACK
from inference.faces.mesh import LEFT_MOUTH_CORNER, RIGHT_MOUTH_CORNER, lip_gaps
from inference.media.compositor import planes_of
from inference.media.types import Picture

# All in mouth widths.
_BEYOND = (0.08, 0.20), (0.02, 0.04)
"""How far beyond the landmarks of the opening it is filled, by the gap of the lips: they are a bit
off, and of wide open mouths more."""
_CORNERS = 0.16
"""How far around the landmarks of its ends the dark is looked for."""
_HIGH = 0.07
"""What is dark there and less high is the line between the lips, or a wrinkle."""
_BEYOND_DARK = 0.03
"""How far beyond the dark it is filled: it ends softly."""
_SOFT = 0.02
"""How softly what is painted there ends."""
_WIDE_OPEN = (0.07, 0.13)
"""Gap of the lips from which on the corners count, and at which they count in full."""

_DARK = 0.5
"""Of the light of the lips: what has less belongs to the opening."""
_LIP_NEAR_END = 2
"""Landmark of the lips' edges between which their color is taken, counted from each end."""
_LIPS = (OUTER_UPPER, INNER_UPPER), (OUTER_LOWER, INNER_LOWER)
"""Landmarks of the edges of each lip."""
_INPAINT_PX = 3
_MARGIN_PX = 8
"""What is seen around the hole when it is filled."""
_SUBPIXEL_BITS = 3

Mask = NDArray[np.uint8]


def without_inside(picture: Picture, landmarks: NDArray[np.float32], amount: float) -> Picture:
    """Return ``picture`` with the opening of its mouth filled.

    Args:
        picture: The picture; left as it is.
        landmarks: float32 ``[468, 2]``, pixels.
        amount: How much of the opening is covered, 0..1.
    """
    opening = _opening(planes_of(picture)[0].shape, landmarks)
    filled = _filled(picture, opening)
    corners = float(np.interp(_gap(landmarks), _WIDE_OPEN, (0, 1)))
    if corners:
        dark = _dark_corners(planes_of(filled)[0], opening, landmarks)
        whole = _filled(picture, opening | dark)
        _paint_corners(whole, filled, dark, landmarks)
        filled = _mixed(whole, filled, corners)
    return _mixed(filled, picture, amount)


def _mixed(first: Picture, second: Picture, share: float) -> Picture:
    """Return a mixture that has ``share`` of the first, 0..1."""
    return np.asarray(cv2.addWeighted(first, share, second, 1 - share, 0), np.uint8)


def _opening(shape: tuple[int, ...], landmarks: NDArray[np.float32]) -> Mask:
    """Return 1 where the mouth is open and a little beyond, 0 elsewhere."""
    outline = np.concatenate([landmarks[INNER_UPPER], landmarks[INNER_LOWER][::-1]])
    mask = np.zeros(shape, np.uint8)
    points = np.rint(outline * 2**_SUBPIXEL_BITS).astype(np.int32)
    cv2.fillPoly(mask, [points], 1, cv2.LINE_8, _SUBPIXEL_BITS)
    beyond = np.interp(_gap(landmarks), *_BEYOND)
    return _grown(mask, float(beyond) * _width(landmarks))


def _dark_corners(luma: Mask, opening: Mask, landmarks: NDArray[np.float32]) -> Mask:
    """Return 1 where around its ends the dark of the opening continues, 0 elsewhere.

    Args:
        luma: Of the picture, its opening filled.
        opening: 1 there.
        landmarks: float32 ``[468, 2]``, pixels.
    """
    width = _width(landmarks)
    smooth = np.asarray(cv2.GaussianBlur(luma, (0, 0), max(width / 100, 0.5)), np.uint8)
    lips = min(
        _mean_at(smooth, (landmarks[outer] + landmarks[inner])[3:-3] / 2) for outer, inner in _LIPS
    )
    ends = np.zeros_like(opening)
    for x, y in landmarks[[INNER_UPPER[0], INNER_UPPER[-1]]]:
        cv2.circle(ends, (round(float(x)), round(float(y))), max(round(_CORNERS * width), 1), 1, -1)
    is_dark = ((smooth < BLACK + _DARK * (lips - BLACK)) & (ends > 0)).astype(np.uint8)
    column = np.ones((2 * max(round(_HIGH * width / 2), 1) + 1, 1), np.uint8)
    high = np.asarray(cv2.morphologyEx(is_dark | opening, cv2.MORPH_OPEN, column), np.uint8)
    high |= opening
    _, parts = cv2.connectedComponents(high, connectivity=4)
    beyond = (np.isin(parts, np.unique(parts[opening > 0])) & (opening == 0)).astype(np.uint8)
    return np.asarray(_grown(beyond, _BEYOND_DARK * width) & ends, np.uint8)


def _paint_corners(
    picture: Picture, filled: Picture, dark: Mask, landmarks: NDArray[np.float32]
) -> None:
    """Paint what is ``dark`` with the color that the lips close to it have in ``filled``.

    What is around it would be continued in the skin's color: lips would lose their ends.
    """
    width = _width(landmarks)
    columns, rows = np.arange(dark.shape[1]), np.arange(dark.shape[0])[:, None]
    for place in (_LIP_NEAR_END, -1 - _LIP_NEAR_END):
        x, y = landmarks[INNER_UPPER[0 if place > 0 else -1]]
        far = np.hypot(columns - x, rows - y) / (_CORNERS * width)
        cover = (dark * np.clip(2 - 2 * far, 0, 1)).astype(np.float32)
        cover = cv2.GaussianBlur(cover, (0, 0), _SOFT * width)
        lips = np.stack(
            [(landmarks[outer[place]] + landmarks[inner[place]]) / 2 for outer, inner in _LIPS]
        )
        planes = zip(planes_of(picture), planes_of(filled), (1, 2, 2), strict=True)
        for plane, source, step in planes:
            color = _mean_at(np.asarray(cv2.blur(source, (3, 3)), np.uint8), lips / step)
            size = (plane.shape[1], plane.shape[0])
            part = cv2.resize(cover, size, interpolation=cv2.INTER_AREA)
            plane[:] = np.rint(plane + (color - plane) * part)


def _gap(landmarks: NDArray[np.float32]) -> float:
    return float(lip_gaps(landmarks[None])[0])


def _width(landmarks: NDArray[np.float32]) -> float:
    """Return the width of the mouth in pixels."""
    return float(np.hypot(*(landmarks[RIGHT_MOUTH_CORNER] - landmarks[LEFT_MOUTH_CORNER])))


def _mean_at(plane: NDArray[np.uint8], points: NDArray[np.floating[Any]]) -> float:
    height, width = plane.shape
    x, y = np.clip(np.rint(points).astype(int), 0, (width - 1, height - 1)).T
    return float(plane[y, x].mean())


def _grown(mask: Mask, reach_px: float) -> Mask:
    """Return ``mask`` and what is around it."""
    side = 2 * max(round(reach_px), 1) + 1
    # OpenCV's ellipse of three pixels is a cross, which leaves out what is beyond a corner.
    form = cv2.MORPH_RECT if side == 3 else cv2.MORPH_ELLIPSE
    return np.asarray(cv2.dilate(mask, cv2.getStructuringElement(form, (side, side))), np.uint8)


def _filled(picture: Picture, mask: Mask) -> Picture:
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
