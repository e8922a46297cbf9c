"""What an open mouth shows, as textures: rows of teeth and a tongue.

Drawn once, in mouth widths, as shade and opacity, to be tinted by the face's own skin. A person
whose footage shows the upper row has a texture of that, with its own colors (`OwnTeeth`, made by
`inference.preparation.teeth`). In each texture the middle line is the anchor: the teeth's tips, or
the tongue's.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.assets.arrays import read_array
from inference.engines.viseme.renderers.face_frame import Floats
from inference.errors import AvatarInvalid

DENSITY = 96
"""Texture pixels in one mouth width."""
HALF_WIDTH, HEIGHT = 0.66, 0.5
"""Of a texture, in mouth widths."""
SIZE = (round(2 * HALF_WIDTH * DENSITY), round(HEIGHT * DENSITY))
"""Its width and height in pixels."""
_OVERSAMPLING = 4
_MOST = (8.0, 255.0, 255.0, 1.0)
"""Of each channel of a person's own teeth: white in front of the darkest skin has 6."""

# Right edges of the teeth from the middle on, seen from the front: the dental arch turns the outer
# ones away, which makes them narrow and dark.
_UPPER_EDGES = (0.155, 0.275, 0.375, 0.455, 0.52, 0.57)
_UPPER_LENGTHS = (0.155, 0.150, 0.150, 0.125, 0.11, 0.09)
_LOWER_EDGES = (0.095, 0.19, 0.285, 0.375, 0.45, 0.51)
_LOWER_LENGTHS = (0.12, 0.12, 0.125, 0.11, 0.10, 0.09)


@dataclass(frozen=True, slots=True, eq=False)
class OwnTeeth:
    """A person's upper row.

    ``texture``: float32 ``[height, width, 4]``: brightness in parts of the skin's (`Tint.light`),
    U and V, 0..255, and opacity, 0..1. ``color``: the first three, for teeth that are drawn beside
    them: of their own shade they then are as light as these.
    """

    texture: Floats
    color: tuple[float, float, float]

    @classmethod
    def of(cls, texture: Floats) -> "OwnTeeth":
        shade, drawn = upper_teeth()
        weight = texture[..., 3] * drawn
        light = (texture[..., 0] * shade * weight).sum() / max((shade**2 * weight).sum(), 1e-6)
        u, v = (texture[..., 1:3] * weight[..., None]).sum((0, 1)) / max(weight.sum(), 1e-6)
        return cls(texture, (float(light), float(u), float(v)))

    @classmethod
    def read(cls, path: Path) -> "OwnTeeth | None":
        """Read what `texture` was written to, as float16; None where there is no such file.

        Raises:
            AvatarInvalid: the file holds something else.
        """
        try:
            texture = read_array(path)
        except FileNotFoundError:
            return None
        expected = (SIZE[1], SIZE[0], 4)
        if texture.shape != expected or texture.dtype != np.float16:
            raise AvatarInvalid(
                f"{path} holds {texture.dtype} {texture.shape}, not float16 {expected}"
            )
        # NaN fits nowhere.
        if not ((texture >= 0) & (texture <= _MOST)).all():
            raise AvatarInvalid(f"{path} holds values that are no colors")
        return cls.of(texture.astype(np.float32))


def _canvas() -> NDArray[np.uint8]:
    scale = DENSITY * _OVERSAMPLING
    return np.zeros((round(HEIGHT * scale), round(2 * HALF_WIDTH * scale)), np.uint8)


def _finish(shade: NDArray[np.floating[Any]], opacity: NDArray[Any], soft: float) -> Floats:
    """Shade and opacity (0..255) as 0..1, float32 ``[2, height, width]``, at `DENSITY`."""
    both = np.dstack([shade, opacity]).astype(np.float32) / 255
    # Shade without the emptiness around it, or the edges would be dark.
    both[..., 0] *= both[..., 1]
    blurred = cv2.GaussianBlur(both, (0, 0), soft * _OVERSAMPLING)
    small = np.asarray(cv2.resize(blurred, SIZE, interpolation=cv2.INTER_AREA), np.float32)
    small[..., 0] /= np.maximum(small[..., 1], 1e-3)
    # Each by itself: OpenCV places two interleaved planes four times slower than one.
    return np.ascontiguousarray(np.clip(small, 0, 1).transpose(2, 0, 1))


def _row_of_teeth(
    edges: tuple[float, ...], lengths: tuple[float, ...], *, is_upper: bool, brightness: float
) -> Floats:
    scale = DENSITY * _OVERSAMPLING
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
            x0 = (HALF_WIDTH + side * (inner + 0.0015)) * scale
            x1 = (HALF_WIDTH + side * (outer - 0.0015)) * scale
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
    return _finish(shade * toward_root(sign * (middle - down) / scale), filled, 0.7)


def toward_root(distance: Floats) -> Floats:
    """Return how light teeth are so far up from where they are lightest, in mouth widths."""
    return np.asarray(1 - 0.22 * np.clip(distance / 0.16, 0, 1) ** 1.5, np.float32)


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
def upper_teeth() -> Floats:
    """Return shade and opacity of the upper row, float32 ``[2, height, width]``, 0..1."""
    return _row_of_teeth(_UPPER_EDGES, _UPPER_LENGTHS, is_upper=True, brightness=1.0)


@cache
def lower_teeth() -> Floats:
    """Return those of the lower row."""
    return _row_of_teeth(_LOWER_EDGES, _LOWER_LENGTHS, is_upper=False, brightness=0.80)


@cache
def tongue() -> Floats:
    """Return those of a tongue."""
    scale = DENSITY * _OVERSAMPLING
    opacity = _canvas()
    middle = opacity.shape[0] // 2
    center = (round(HALF_WIDTH * scale), middle + round(0.16 * scale))
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
