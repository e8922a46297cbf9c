"""The inside of an open mouth: teeth, tongue and the dark behind them.

A warp can only move what the picture shows, and a closed mouth shows no teeth. So an upper row is
painted, fixed to the skull, and a lower row and a tongue, which go down with the jaw. For each
picture the textures are placed by an affine map and tinted from the face's own skin, so that they
share its light.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.engines.viseme.renderers.face_frame import Floats
from inference.engines.viseme.renderers.mouth_textures import (
    DENSITY,
    HALF_WIDTH,
    HEIGHT,
    OwnTeeth,
    lower_teeth,
    tongue,
    upper_teeth,
)
from inference.engines.viseme.renderers.tint import Tint
from inference.engines.viseme.shape import MouthShape

_NARROW = 0.12
"""A slit narrower than this is dark whatever is behind it: corners, lips just parting."""
_TUCK_LIT = 0.5
"""How much narrower it may be where teeth rest on the lower lip, in front of it, in the light."""
_UNDER_LIP, _OVER_LIP = 0.70, 0.80
"""How much light there is close under the upper lip, and close above the lower one."""


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """A rectangle of the picture and what the interior needs to know about each of its pixels.

    ``to_face``: affine map, float64 ``[2, 3]``, from the rectangle's pixels to face coordinates.
    ``below_upper``, ``above_lower``: float32 ``[height, width]``, distances from the lips' inner
    edges in mouth widths, positive inside the opening.
    """

    to_face: NDArray[np.float64]
    below_upper: Floats
    above_lower: Floats


def with_own_teeth(tint: Tint, own: OwnTeeth | None) -> Tint:
    """Return ``tint`` with the color of the person's own teeth, if that is known."""
    if own is None:
        return tint
    brightness, u, v = own.color
    return replace(tint, teeth=(float(tint.lit(brightness)), u, v))


def paint_interior(
    place: Placement,
    shape: MouthShape,
    tint: Tint,
    *,
    lip_line: float,
    floor: float,
    own: OwnTeeth | None = None,
) -> Floats:
    """Y, U, V of the inside of the mouth, float32 ``[3, height, width]``, 0..255.

    Plane by plane: numpy is slow where a picture's innermost axis has three elements.

    ``lip_line``: y where the closed lips meet, to which the upper teeth are fixed; ``floor``: y of
    the lower lip's edge, to which tongue and lower teeth are; ``own``: the person's upper teeth.
    """
    painted = np.empty((3, *place.below_upper.shape), np.float32)
    for plane, dark in zip(painted, tint.dark, strict=True):
        plane.fill(dark)

    tongue_y = floor - 0.02 - 0.13 * shape.open - 0.17 * shape.tongue
    lower_y = floor - 0.015 - 0.05 * max(shape.wide, 0.0) + 0.05 * shape.round
    upper_y = lip_line + 0.02 + 0.085 * shape.teeth - 0.05 * shape.round
    for texture, y, color, amount in (
        (tongue(), tongue_y, tint.tongue, 1.0),
        # A tongue between the teeth hides the lower ones.
        (lower_teeth(), lower_y, tint.teeth, 1.0 - shape.tongue),
        (upper_teeth(), upper_y, tint.teeth, 1.0),
    ):
        if amount <= 0:
            continue
        shade, opacity = (_placed(plane, place, y) for plane in texture)
        if amount < 1:
            opacity *= np.float32(amount)
        for plane, lit, dark in zip(painted, color, tint.dark, strict=True):
            _lay(plane, shade * np.float32(lit - dark) + np.float32(dark), opacity)
    if own is not None:
        *colors, opacity = np.moveaxis(_placed(own.texture, place, upper_y), -1, 0).copy()
        colors[0] = np.asarray(tint.lit(colors[0]), np.float32)
        for plane, color in zip(painted, colors, strict=True):
            _lay(plane, color, opacity)

    shadow = _shadow(place, shape)
    for plane, dark in zip(painted, tint.dark, strict=True):
        plane -= (plane - np.float32(dark)) * shadow
    return painted


def _lay(plane: Floats, color: Floats, opacity: Floats) -> None:
    """Lay what has a ``color`` of its own at each pixel over ``plane``; ``color`` is used up."""
    color -= plane
    color *= opacity
    plane += color


def _shadow(place: Placement, shape: MouthShape) -> Floats:
    """Return how much light the lips keep out, 0..1, ``[height, width]``.

    Dark close under the upper lip, a little above the lower one.
    """
    light = np.clip(_UNDER_LIP + place.below_upper / 0.12, 0, 1)
    light *= np.clip(_OVER_LIP + place.above_lower / 0.10, 0, 1)
    narrow = _NARROW * (1 - _TUCK_LIT * shape.tuck)
    light *= np.clip((place.below_upper + place.above_lower) / narrow, 0, 1)
    return np.asarray(1 - light, np.float32)


def _placed(texture: Floats, place: Placement, y: float) -> Floats:
    """Return a texture over the rectangle, its anchor line at height ``y`` of the face."""
    to_texture = place.to_face * DENSITY
    to_texture[0, 2] += HALF_WIDTH * DENSITY - 0.5
    to_texture[1, 2] += (HEIGHT / 2 - y) * DENSITY - 0.5
    height, width = place.below_upper.shape
    placed = cv2.warpAffine(
        texture,
        to_texture,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
    )
    return np.asarray(placed, np.float32)
