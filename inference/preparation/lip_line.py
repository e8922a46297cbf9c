"""Where the lips of a still picture meet, by the picture itself.

Landmarks are a few hundredths of a mouth's width off. Lips that are parted along a wrong line show
their own line a second time, as a dark stroke across one of them. The line is the darkest valley
between the lips; of teeth that show, it is all from the dark above to the dark below them. Where no
valley is plain to see, the landmarks stay as they are.

A video's pictures are left alone: there the line would have to be followed through time.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.engines.viseme.renderers.face_frame import (
    INNER_LOWER,
    INNER_UPPER,
    OUTER_LOWER,
    OUTER_UPPER,
)
from inference.faces.mesh import LEFT_MOUTH_CORNER, RIGHT_MOUTH_CORNER, lip_gaps
from inference.media.compositor import planes_of
from inference.media.types import Picture

# All in mouth widths.
_COLUMNS = np.linspace(-0.42, 0.42, 41)
_ROWS = np.arange(-0.16, 0.165, 0.01)
"""Where the mouth is looked at: across from its middle, and down from the landmarks' line."""
_REACH = 0.09
"""How far from there the line is looked for."""
_LINE = 0.03
"""How thick the line between lips is that rest on each other."""
_OPEN = (0.045, 0.075)
"""Gap of the landmarks' lips up to which the picture decides, and from which on they do."""
_TAPER = 0.12
"""How far from the corners of the mouth they begin to decide."""

_FAR = 400
"""Levels by which a valley has to be darker, times the square of its distance."""
_PLAIN = (12, 32)
"""Levels by which lips are lighter than the valley where it may be one, and where it is plain."""
_CORE, _SECOND, _BETWEEN = 0.3, 0.5, 0.6
"""Of a valley's depth: what belongs to it, what is a second line, what is light between both."""
_NEIGHBORS, _SIGMA = 4, 3.0
"""Columns on each side under the median, and the width of the Gaussian behind it."""

Curve = NDArray[np.float64]


class _Valley(NamedTuple):
    """In each of `_COLUMNS`: the middle and the height of the line, and how plain it is, 0..1."""

    middle: Curve
    height: Curve
    plain: Curve


class _Mouth(NamedTuple):
    """Where a mouth is: ``middle``, ``right``, ``down`` float32 ``[2]``; ``width`` in pixels."""

    middle: NDArray[np.float32]
    right: NDArray[np.float32]
    down: NDArray[np.float32]
    width: float

    @classmethod
    def of(cls, landmarks: NDArray[np.float32]) -> "_Mouth":
        left, right = landmarks[LEFT_MOUTH_CORNER], landmarks[RIGHT_MOUTH_CORNER]
        width = float(np.hypot(*(right - left)))
        across = (right - left) / width
        return cls((left + right) / 2, across, np.array([-across[1], across[0]]), width)

    def edge(self, points: NDArray[np.float32]) -> Curve:
        """Return the height of an edge of the lips over `_COLUMNS`."""
        x, y = ((points - self.middle) @ np.stack([self.right, self.down], 1) / self.width).T
        return np.asarray(np.interp(_COLUMNS, np.maximum.accumulate(x), y))


def on_lip_line(picture: Picture, landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ``landmarks``, float32 ``[468, 2]``, with the lips' inner edges as they are seen."""
    share = np.interp(float(lip_gaps(landmarks[None])[0]), _OPEN, (1, 0))
    if not share:
        return landmarks
    mouth = _Mouth.of(landmarks)
    edges = (OUTER_UPPER, INNER_UPPER, INNER_LOWER, OUTER_LOWER)
    top, upper, lower, bottom = (mouth.edge(landmarks[edge]) for edge in edges)
    line = (upper + lower) / 2
    profiles = _profiles(planes_of(picture)[0], mouth, line)
    found = [
        _valley(profile, *ends)
        for profile, *ends in zip(
            profiles.T, 0.85 * (top - line), 0.8 * (bottom - line), strict=True
        )
    ]
    valley = _smoothed(_Valley(*(np.array(one) for one in zip(*found, strict=True))), share)
    half = np.maximum((lower - upper) / 2, np.maximum(valley.height - _LINE, 0) * valley.plain / 2)
    shift = valley.middle * valley.plain
    moved = landmarks.copy()
    for edge, old, new in (
        (INNER_UPPER, upper - line, shift - half),
        (INNER_LOWER, lower - line, shift + half),
    ):
        across = (landmarks[edge] - mouth.middle) @ mouth.right / mouth.width
        by = np.interp(across, _COLUMNS, new - old) * np.clip((0.5 - np.abs(across)) / _TAPER, 0, 1)
        moved[edge] += (by * mouth.width)[:, None].astype(np.float32) * mouth.down
    return moved


def _profiles(luma: NDArray[np.uint8], mouth: _Mouth, line: Curve) -> NDArray[np.float32]:
    """Return the mouth straightened along its ``line``, float32 ``[_ROWS, _COLUMNS]``."""
    down = line[None] + _ROWS[:, None]
    places = [
        mouth.middle[axis] + mouth.width * (_COLUMNS * mouth.right[axis] + down * mouth.down[axis])
        for axis in (0, 1)
    ]
    smooth = cv2.GaussianBlur(luma, (0, 0), max(mouth.width / 120, 0.5))
    x, y = (np.asarray(place, np.float32) for place in places)
    seen = cv2.remap(smooth, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(
        cv2.GaussianBlur(seen.astype(np.float32), (0, 0), 1.6, sigmaY=0.6), np.float32
    )


def _valley(profile: NDArray[np.float32], top: float, bottom: float) -> tuple[float, float, float]:
    """Return middle, height and plainness of the line in one column between two heights."""
    is_lip = (top <= _ROWS) & (bottom >= _ROWS)
    is_near = is_lip & (np.abs(_ROWS) <= _REACH)
    if not is_near.any():
        return 0.0, 0.0, 0.0
    deepest = int(np.argmin(np.where(is_near, profile + _FAR * _ROWS**2, np.inf)))
    above, below = (
        profile[: deepest + 1][is_lip[: deepest + 1]],
        profile[deepest:][is_lip[deepest:]],
    )
    dark = float(profile[deepest])
    depth = min(float(above.max()), float(below.max())) - dark
    plain = float(np.interp(depth, _PLAIN, (0, 1)))
    if not plain:
        return 0.0, 0.0, 0.0
    depths = np.where(is_near, (profile - dark) / depth, np.inf)
    first = last = deepest
    while first > 0 and depths[first - 1] < _CORE:
        first -= 1
    while last + 1 < len(depths) and depths[last + 1] < _CORE:
        last += 1
    for other in np.flatnonzero(depths < _SECOND).tolist():
        between = depths[min(other, deepest) : max(other, deepest) + 1]
        if between.max() > _BETWEEN:
            first, last = min(first, other), max(last, other)
    height = float(_ROWS[last] - _ROWS[first])
    return float(_ROWS[first]) + height / 2, height, plain


def _smoothed(valley: _Valley, share: float) -> _Valley:
    """Return what neighboring columns agree on, and ``share`` of how plain it is."""
    plain = valley.plain * share
    windows = [slice(max(k - _NEIGHBORS, 0), k + _NEIGHBORS + 1) for k in range(len(_COLUMNS))]
    weight = _blurred(plain)

    def agreed(values: Curve) -> Curve:
        medians = [
            float(np.median(values[near][plain[near] > 0])) if plain[near].any() else 0.0
            for near in windows
        ]
        return _blurred(np.array(medians) * plain) / np.maximum(weight, 0.05)

    return _Valley(agreed(valley.middle), agreed(valley.height), np.clip(weight, 0, 1))


def _blurred(values: Curve) -> Curve:
    blurred = cv2.GaussianBlur(values[None], (0, 0), _SIGMA, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred[0], np.float64)
