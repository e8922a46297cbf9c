"""The lower face in its own coordinates, from 468 landmarks.

Everything that moves a mouth is said in a frame that turns, shifts and scales with the face: the
origin lies between the corners of the mouth, x runs along the line of the eyes to the viewer's
right, y down towards the chin, and 1 is about the width of the mouth. The lips and the jaw line
are curves there: one y for each of `COLUMNS` values of x.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

COLUMNS = 65
REACH = 1.3
"""How far to the left and right of the mouth anything may move, in mouth widths."""

COLUMN_X = np.linspace(-REACH, REACH, COLUMNS, dtype=np.float32)

# Landmark numbers of MediaPipe's Face Mesh, from the viewer's left to the right.
OUTER_UPPER = [61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291]
OUTER_LOWER = [61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291]
INNER_UPPER = [78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308]
INNER_LOWER = [78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308]
_JAW = [58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288]
_CORNERS = [61, 291]
_EYES = [33, 263]
_NOSE_BASE = 2
_CHEEK_RISE = 0.55
"""How much higher than the nose's base the cheeks may move, at the far sides."""
_PITS = 11
"""Columns by which the dark of an open mouth may reach beyond the landmarks of its corners."""
_NECK = 0.5
"""How far below the jaw line the neck gives way."""


@dataclass(frozen=True, slots=True, eq=False)
class FaceFrame:
    """One face.

    ``to_picture``: affine map, float32 ``[2, 3]``, from face coordinates to pixels; ``unit``:
    pixels in 1; ``left``, ``right``: x of the corners. ``curves``: float32 ``[8, COLUMNS]`` over
    `COLUMN_X`: seven lines, downwards (above the first one nothing moves, the four edges of the
    lips, which outside the corners are all at the corners' height, the jaw, below the last one
    nothing moves), and the opening between the lips, reaching beyond the corners.
    """

    to_picture: Floats
    unit: float
    left: float
    right: float
    curves: Floats

    @property
    def inner_upper(self) -> Floats:
        """The upper lip's inner edge, float32 ``[COLUMNS]``."""
        edge: Floats = self.curves[2]
        return edge

    @property
    def inner_lower(self) -> Floats:
        """The lower lip's inner edge, likewise."""
        edge: Floats = self.curves[3]
        return edge

    @property
    def y_range(self) -> tuple[float, float]:
        """From where to where anything moves."""
        return float(self.curves[0].min()), float(self.curves[6].max())


def face_frame(landmarks: Floats) -> FaceFrame | None:
    """Return the frame of a face from its landmarks, float32 ``[468, 2]`` in pixels.

    It is None if they are unusable.
    """
    if not np.isfinite(landmarks).all() or (found := _axes(landmarks)) is None:
        return None
    axes, unit = found
    origin = landmarks[_CORNERS].mean(axis=0)
    points = (landmarks - origin) @ axes / unit
    left_corner, right_corner = points[_CORNERS]
    if right_corner[0] - left_corner[0] < 0.2:
        return None
    corner_line = np.interp(
        COLUMN_X, [left_corner[0], right_corner[0]], [left_corner[1], right_corner[1]]
    )
    inner_upper = _curve(points[INNER_UPPER], corner_line)
    inner_lower = np.maximum(_curve(points[INNER_LOWER], corner_line), inner_upper)
    outer_upper = np.minimum(_curve(points[OUTER_UPPER], corner_line), inner_upper)
    outer_lower = np.maximum(_curve(points[OUTER_LOWER], corner_line), inner_lower)
    jaw = np.interp(COLUMN_X, *_ascending(points[_JAW]))
    jaw = np.maximum(cv2.GaussianBlur(jaw[None], (9, 1), 0)[0], outer_lower + 0.15)
    side = np.clip(np.abs(COLUMN_X) / 0.9, 0, 1) ** 2
    top = np.minimum(points[_NOSE_BASE, 1] - _CHEEK_RISE * side, outer_upper - 0.05)
    return FaceFrame(
        to_picture=np.column_stack([axes * unit, origin]).astype(np.float32),
        unit=unit,
        left=float(left_corner[0]),
        right=float(right_corner[0]),
        curves=np.stack(
            [
                top,
                outer_upper,
                inner_upper,
                inner_lower,
                outer_lower,
                jaw,
                np.full(COLUMNS, jaw.max() + _NECK),
                _widened(inner_lower - inner_upper),
            ],
            dtype=np.float32,
        ),
    )


def _axes(landmarks: Floats) -> tuple[Floats, float] | None:
    """Return the directions of x and y as columns, ``[2, 2]``, and the unit in pixels."""
    eyes = landmarks[_EYES[1]] - landmarks[_EYES[0]]
    interocular = float(np.hypot(*eyes))
    mouth_width = float(np.hypot(*(landmarks[_CORNERS[1]] - landmarks[_CORNERS[0]])))
    if interocular < 1 or mouth_width < 1:
        return None
    right = eyes / interocular
    down = np.array([-right[1], right[0]], np.float32)
    # Half from the eyes, so that a smile does not make the whole face larger.
    return np.stack([right, down], axis=1), 0.5 * mouth_width + 0.25 * interocular


def _widened(gap: Floats) -> Floats:
    widest = cv2.dilate(gap[None], np.ones((1, _PITS), np.uint8))
    return np.asarray(cv2.blur(widest, (_PITS, 1))[0], np.float32)


def _curve(points: Floats, outside: NDArray[np.float64]) -> Floats:
    """Y over `COLUMN_X` through ``points``; the value of ``outside`` beyond their ends."""
    x, y = _ascending(points)
    curve = np.interp(COLUMN_X, x, y)
    curve[(x[0] > COLUMN_X) | (x[-1] < COLUMN_X)] = np.nan
    return np.where(np.isnan(curve), outside, curve).astype(np.float32)


def _ascending(points: Floats) -> tuple[Floats, Floats]:
    """X and y of ``points``, x made to ascend where a turned head folds the contour back."""
    return np.maximum.accumulate(points[:, 0]), points[:, 1]
