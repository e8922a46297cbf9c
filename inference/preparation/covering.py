"""Whether a mouth is seen, or something before it: a hand, a mask, a microphone.

The mesh draws lips wherever a face should have some, and believes in them on cloth as well. So the
pixels are looked at. Lips that are seen differ from everything that may hide them by three things
at once, in any light, of any skin, shut, pressed, smiling or open, and with a beard around them:

* a dark line, a gap, or a row of teeth where the mesh says that they meet, stronger than other
  lines near it, such as the folds of a mask or the gaps between fingers;
* they are darker than what is around them, along the mesh's outline, or lighter than a beard;
* they are redder than that.

The three are weighed by numbers that were found on some fifty faces with things drawn before them
(`python -m benchmarks.covered_mouths` shows how well they do on others).

A tongue that is put out is no such thing: it is as red as lips are, and the mesh takes its upper
part for the lower lip. What betrays it is a red stripe from there towards the chin, which ends on
both sides before the corners of the mouth do.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.faces.mesh import (
    LEFT_EYE_OUTER,
    LEFT_MOUTH_CORNER,
    RIGHT_EYE_OUTER,
    RIGHT_MOUTH_CORNER,
    Landmarks,
)
from inference.faces.tflite import RgbPicture

Floats = NDArray[np.float32]

OUTLINE = [
    61,
    185,
    40,
    39,
    37,
    0,
    267,
    269,
    270,
    409,
    291,
    375,
    321,
    405,
    314,
    17,
    84,
    181,
    91,
    146,
]
_INNER = [(191, 95), (80, 88), (81, 178), (82, 87), (13, 14), (312, 317), (311, 402), (310, 318)]
_INNER += [(415, 324)]
"""Landmarks of the lips' inner edges, upper and lower."""
_SKIN = [151, 9, 108, 337, 6, 197, 119, 348, 118, 347, 8]
"""Landmarks of the forehead, the bridge of the nose and below the eyes."""

_BELOW_LIP = 17
"""Landmark in the middle of the lower lip's lower edge."""

_EYES = 64
"""Distance of the eyes' outer corners in the pictures that are looked at, pixels."""
_WIDTH, _HEIGHT, _EYES_Y = 128, 150, 44
_DARKEST = 6.0
"""Added to each level, so that ratios of dark colors are no noise."""
_OFF_EDGE, _OFF_LINE = 2.5, 3.5
"""Pixels to either side of the outline, and of the line between the lips."""
_SEEK = (-2, -1, 0, 1, 2)
_BESIDE = (-14, 14, 20, 26)
"""Pixels below and above the lips where other lines are."""
_DIFFERENT = 0.01
"""Ratio, as a logarithm, from which on one side is darker or redder."""
_COLORLESS = 0.04
_LINE, _DARKER, _REDDER, _NEEDED = 16.0, 3.0, 7.0, 8.5
_TONGUE_FROM, _TONGUE_TO = 0.05, 0.2
"""Where a tongue is looked for: so far below the lower lip, in mouth widths."""
_TONGUE_HALF, _TONGUE_BESIDE = 0.1, (0.33, 0.42)
"""What is surely tongue, and what is not, beside the middle of the mouth, in mouth widths."""
_TONGUE_REDDER = 0.18


class MouthLook(NamedTuple):
    """What one picture shows of a mouth.

    ``visibility``: above 0 where the mouth is seen, below 0 where something covers it;
    ``tongue``: above 0 where the tongue is put out, below 0 where it is not.
    """

    visibility: float
    tongue: float


def look_at_mouth(picture: RgbPicture, landmarks: Landmarks) -> MouthLook:
    """Say how sure it is that the mouth is seen, and that the tongue is.

    Args:
        picture: RGB.
        landmarks: Of the face in it.
    """
    face, points = _upright(picture, landmarks)
    soft = cv2.GaussianBlur(face + np.float32(_DARKEST), (0, 0), 1.0)
    light = np.log(cv2.cvtColor(soft, cv2.COLOR_RGB2GRAY))
    red = np.log(soft[..., 0] / soft[..., 1])
    return MouthLook(_visibility(light, red, points), _tongue(red, points))


def _visibility(light: Floats, red: Floats, points: Floats) -> float:
    between = np.array([(points[a] + points[b]) / 2 for a, b in _INNER], np.float32)
    gaps = np.array([np.linalg.norm(points[a] - points[b]) for a, b in _INNER], np.float32)
    dark, bright = (_lines(side, between, gaps, 0) for side in (light, -light))
    others = [abs(_lines(light, between, gaps, dy)) for dy in _BESIDE]
    line = max(dark, bright) - float(np.median(others))

    outline = points[OUTLINE]
    outward = outline - outline.mean(axis=0)
    outward *= _OFF_EDGE / np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-6)
    inside, outside = outline - outward, outline + outward
    contrast = _at(light, outside) - _at(light, inside)
    darker = float((contrast > _DIFFERENT).mean())
    redder = float((_at(red, inside) - _at(red, outside) > _DIFFERENT).mean())
    if redder > 0.5:  # a beard is darker than the lips in it
        darker = max(darker, float((contrast < -_DIFFERENT).mean()))
    if abs(float(np.median(_at(red, points[_SKIN])))) < _COLORLESS:
        redder = darker  # a picture without colors
    return _LINE * line + _DARKER * darker + _REDDER * redder - _NEEDED


def _tongue(red: Floats, points: Floats) -> float:
    left, right = points[LEFT_MOUTH_CORNER], points[RIGHT_MOUTH_CORNER]
    across = right - left
    down = np.array([-across[1], across[0]])
    lowest = points[_BELOW_LIP] - (left + right) / 2
    from_lip = float(lowest @ down / max(1e-6, float(across @ across)))
    near, far = _TONGUE_BESIDE
    skin = float(np.median(_at(red, points[_SKIN])))
    redder = []
    for below in np.linspace(_TONGUE_FROM, _TONGUE_TO, 5):
        middle = (left + right) / 2 + (from_lip + below) * down

        def level(start: float, end: float, middle: Floats = middle) -> float:
            places = middle + np.linspace(start, end, 5)[:, None] * across
            return float(_at(red, places.astype(np.float32)).mean())

        others = max(level(-far, -near), level(near, far), skin)
        redder.append(level(-_TONGUE_HALF, _TONGUE_HALF) - others)
    return min(redder) - _TONGUE_REDDER


def _upright(picture: RgbPicture, landmarks: Landmarks) -> tuple[Floats, Floats]:
    """Return the face upright, of one size, float32 ``[150, 128, 3]``, and its landmarks."""
    points = np.asarray(landmarks[:, :2], np.float64)
    left, right = points[LEFT_EYE_OUTER], points[RIGHT_EYE_OUTER]
    across = right - left
    scale = _EYES / max(1e-6, float(np.hypot(*across)))
    angle = np.arctan2(across[1], across[0])
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    turn = np.array([[cos, sin], [-sin, cos]])
    shift = np.array([_WIDTH / 2, _EYES_Y]) - turn @ ((left + right) / 2)
    if scale < 0.5:  # else pixels would be skipped
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.35 / scale), np.uint8)
    face = cv2.warpAffine(
        picture,
        np.column_stack([turn, shift]),
        (_WIDTH, _HEIGHT),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return face.astype(np.float32), (points @ turn.T + shift).astype(np.float32)


def _lines(light: Floats, between: Floats, gaps: Floats, dy: float) -> float:
    """Measure how much darker it is between the lips, or ``dy`` pixels off, than beside it."""
    reach = np.stack([np.zeros_like(gaps), _OFF_LINE + gaps / 2], axis=1)
    found = []
    for seek in _SEEK:
        place = between + np.array([0, dy + seek], np.float32)
        around = (_at(light, place - reach) + _at(light, place + reach)) / 2
        found.append(around - _at(light, place))
    return float(np.max(found, axis=0).mean())


def _at(channel: Floats, points: Floats) -> Floats:
    """Sample the channel at the points ``[n, 2]``, float32 ``[n]``."""
    x, y = np.ascontiguousarray(points[None, :, 0]), np.ascontiguousarray(points[None, :, 1])
    sampled = cv2.remap(channel, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(sampled[0], np.float32)
