"""The inside of an open mouth: teeth, tongue and the dark behind them.

A warp can only move what the picture shows, and a closed mouth shows no teeth. So they are drawn
once, in mouth widths, as two planes each, shade and opacity: an upper row fixed to the skull, a
lower row and a tongue that go down with the jaw. For each picture they are placed by an affine map
and tinted from the face's own skin, so that they share its light.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.engines.viseme.renderers.face_frame import Floats
from inference.engines.viseme.shape import MouthShape

_DENSITY = 96
"""Texture pixels in one mouth width."""
_OVERSAMPLING = 4
_HALF_WIDTH = 0.66
_HEIGHT = 0.5
_NARROW = 0.07
"""A slit narrower than this is dark whatever is behind it: corners, lips just parting."""
_UNDER_LIP, _OVER_LIP = 0.70, 0.80
"""How much light there is close under the upper lip, and close above the lower one."""

# Right edges of the teeth from the middle on, seen from the front: the dental arch turns the outer
# ones away, which makes them narrow and dark.
_UPPER_EDGES = (0.155, 0.275, 0.375, 0.455, 0.52, 0.57)
_UPPER_LENGTHS = (0.155, 0.150, 0.150, 0.125, 0.11, 0.09)
_LOWER_EDGES = (0.095, 0.19, 0.285, 0.375, 0.45, 0.51)
_LOWER_LENGTHS = (0.12, 0.12, 0.125, 0.11, 0.10, 0.09)


@dataclass(frozen=True, slots=True)
class Tint:
    """Colors of one mouth, Y, U, V in 0..255 each, taken from the picture's own skin and lips."""

    teeth: tuple[float, float, float]
    tongue: tuple[float, float, float]
    dark: tuple[float, float, float]

    @classmethod
    def of_face(cls, skin: Floats, lip: Floats) -> "Tint":
        """``skin``, ``lip``: mean Y, U, V of a cheek and of the lower lip, float32 ``[3]``."""
        light = float(np.clip(skin[0] - 16, 40, 205))
        return cls(
            teeth=(16 + light * 1.10, 128 + 0.50 * (skin[1] - 128), 128 + 0.36 * (skin[2] - 128)),
            tongue=(
                16 + light * 0.52,
                128 + 0.55 * (lip[1] - 128),
                min(128 + 0.9 * (skin[2] - 128) + 0.35 * (lip[2] - 128), 165),
            ),
            dark=(16 + light * 0.13, 128 + 0.3 * (lip[1] - 128), 128 + 0.55 * (lip[2] - 128)),
        )


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


def paint_interior(
    place: Placement, shape: MouthShape, tint: Tint, *, lip_line: float, floor: float
) -> Floats:
    """Y, U, V of the inside of the mouth, float32 ``[height, width, 3]``, 0..255.

    ``lip_line``: y where the closed lips meet, to which the upper teeth are fixed; ``floor``: y of
    the lower lip's edge, to which tongue and lower teeth are.
    """
    height, width = place.below_upper.shape
    painted = np.empty((height, width, 3), np.float32)
    painted[:] = tint.dark

    tongue_y = floor - 0.02 - 0.13 * shape.open - 0.17 * shape.tongue
    lower_y = floor - 0.015 - 0.05 * max(shape.wide, 0.0) + 0.05 * shape.round
    upper_y = lip_line + 0.02 + 0.085 * shape.teeth - 0.05 * shape.round
    for texture, y, color, amount in (
        (_tongue(), tongue_y, tint.tongue, 1.0),
        # A tongue between the teeth hides the lower ones.
        (_lower_teeth(), lower_y, tint.teeth, 1.0 - shape.tongue),
        (_upper_teeth(), upper_y, tint.teeth, 1.0),
    ):
        if amount <= 0:
            continue
        layer = _place(texture, place.to_face, y, (width, height))
        shade, opacity = layer[..., :1], layer[..., 1:] * np.float32(amount)
        painted += (shade * (np.subtract(color, tint.dark)) + tint.dark - painted) * opacity

    # The lips keep light out: dark close under the upper lip, a little above the lower one.
    light = np.clip(_UNDER_LIP + place.below_upper / 0.12, 0, 1) * np.clip(
        _OVER_LIP + place.above_lower / 0.10, 0, 1
    )
    light *= np.clip((place.below_upper + place.above_lower) / _NARROW, 0, 1)
    painted -= (painted - tint.dark) * (1 - light[..., None])
    return painted


def _place(
    texture: Floats, to_face: NDArray[np.float64], y: float, size: tuple[int, int]
) -> Floats:
    """Return the texture over the rectangle, its anchor line at height ``y`` of the face."""
    to_texture = to_face * _DENSITY
    to_texture[0, 2] += _HALF_WIDTH * _DENSITY - 0.5
    to_texture[1, 2] += (_HEIGHT / 2 - y) * _DENSITY - 0.5
    return np.asarray(
        cv2.warpAffine(
            texture,
            to_texture,
            size,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
        ),
        np.float32,
    )


def _canvas() -> NDArray[np.uint8]:
    scale = _DENSITY * _OVERSAMPLING
    return np.zeros((round(_HEIGHT * scale), round(2 * _HALF_WIDTH * scale)), np.uint8)


def _finish(shade: NDArray[np.floating[Any]], opacity: NDArray[Any], soft: float) -> Floats:
    """Shade and opacity (0..255) as 0..1, float32 ``[height, width, 2]``, at `_DENSITY`."""
    both = np.dstack([shade, opacity]).astype(np.float32) / 255
    # Shade without the emptiness around it, or the edges would be dark.
    both[..., 0] *= both[..., 1]
    size = (round(2 * _HALF_WIDTH * _DENSITY), round(_HEIGHT * _DENSITY))
    blurred = cv2.GaussianBlur(both, (0, 0), soft * _OVERSAMPLING)
    small = np.asarray(cv2.resize(blurred, size, interpolation=cv2.INTER_AREA), np.float32)
    small[..., 0] /= np.maximum(small[..., 1], 1e-3)
    return np.clip(small, 0, 1)


def _row_of_teeth(
    edges: tuple[float, ...], lengths: tuple[float, ...], *, is_upper: bool, brightness: float
) -> Floats:
    scale = _DENSITY * _OVERSAMPLING
    opacity, shade = _canvas(), _canvas()
    middle = opacity.shape[0] / 2
    sign = 1 if is_upper else -1
    for side in (-1, 1):
        inner = 0.0
        for number, (outer, length) in enumerate(zip(edges, lengths, strict=True)):
            # The arch: outer teeth end higher (upper row) or lower (lower row) than the front ones.
            tip = middle - sign * scale * (0.045 * (outer / 0.5) ** 2)
            tip -= sign * scale * (0.010 if number == 1 and is_upper else 0.0)
            root = tip - sign * scale * (length + 0.10)
            x0 = (_HALF_WIDTH + side * (inner + 0.0015)) * scale
            x1 = (_HALF_WIDTH + side * (outer - 0.0015)) * scale
            _tooth(opacity, (x0, x1), (root, tip), 255)
            turned = (inner + outer) / 2 / edges[-1]
            _tooth(shade, (x0, x1), (root, tip), round(255 * brightness * (1 - 0.5 * turned**2)))
            inner = outer
    # Gums and gaps between the teeth are darker teeth rather than holes.
    filled = cv2.morphologyEx(opacity, cv2.MORPH_CLOSE, np.ones((3, round(0.02 * scale)), np.uint8))
    shade = np.where(shade > 0, shade, cv2.GaussianBlur(shade, (0, 0), 0.012 * scale)).astype(
        np.uint8
    )
    down = np.arange(shade.shape[0], dtype=np.float32)[:, None]
    from_tip = np.clip(sign * (middle - down) / (0.16 * scale), 0, 1)
    return _finish(shade * (1.0 - 0.22 * from_tip**1.5), filled, 0.7)


def _tooth(
    canvas: NDArray[np.uint8], x: tuple[float, float], y: tuple[float, float], value: int
) -> None:
    """Fill a rectangle with round corners at its tip, ``y[1]``."""
    left, right = sorted(x)
    root, tip = y
    radius = min(0.22 * (right - left), abs(tip - root) / 2)
    toward_root = -1 if tip > root else 1
    angles = np.linspace(0, np.pi / 2, 7)
    corner = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius
    end = tip + toward_root * radius
    outline = [(left, root)]
    outline += [(left + radius - cx, end - toward_root * cy) for cx, cy in corner]
    outline += [(right - radius + cx, end - toward_root * cy) for cx, cy in corner[::-1]]
    outline += [(right, root)]
    cv2.fillPoly(canvas, [np.round(outline).astype(np.int32)], value, cv2.LINE_AA)


@cache
def _upper_teeth() -> Floats:
    return _row_of_teeth(_UPPER_EDGES, _UPPER_LENGTHS, is_upper=True, brightness=1.0)


@cache
def _lower_teeth() -> Floats:
    return _row_of_teeth(_LOWER_EDGES, _LOWER_LENGTHS, is_upper=False, brightness=0.80)


@cache
def _tongue() -> Floats:
    scale = _DENSITY * _OVERSAMPLING
    opacity = _canvas()
    middle = opacity.shape[0] // 2
    center = (round(_HALF_WIDTH * scale), middle + round(0.16 * scale))
    axes = (round(0.33 * scale), round(0.16 * scale))
    cv2.ellipse(opacity, center, axes, 0, 0, 360, 255, -1, cv2.LINE_AA)
    opacity[center[1] :] = np.maximum(opacity[center[1]], 0)
    y, x = np.mgrid[: opacity.shape[0], : opacity.shape[1]].astype(np.float32)
    across = (x - center[0]) / axes[0]
    down = (y - (center[1] - axes[1])) / axes[1]
    # A round back with a furrow in the middle.
    shade = 205 + 60 * np.exp(-np.square((down - 0.45) / 0.4)) - 55 * np.square(across)
    shade -= 34 * np.exp(-np.square(across / 0.07)) * np.clip(down, 0, 1)
    return _finish(np.clip(shade, 0, 255), opacity, 2.0)
