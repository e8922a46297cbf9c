"""Sculpting with light: height fields, their normals, and the colors light gives them.

Skin is not filled with gradients but modelled: a face is a height field of a few smooth hills and
hollows, lit by a warm key light from the upper left, a cool fill from the right and a rim light.
One field shades the face and also says how far each of its points moves when the head turns.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.presenter.paint import SCALE, Field, coordinates

KEY = np.array([-0.50, -0.52, 0.69], np.float32)
FILL = np.array([0.70, 0.05, 0.71], np.float32)
RIM = np.array([0.93, -0.22, 0.28], np.float32)


def hill(x: float, y: float, sx: float, sy: float, height: float, turn: float = 0.0) -> Field:
    """Return a Gaussian hill (or hollow) at ``(x, y)``; ``turn`` in radians."""
    px, py = coordinates()
    dx, dy = px - x, py - y
    if turn:
        cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        dx, dy = dx * cos + dy * sin, dy * cos - dx * sin
    return np.asarray(height * np.exp(-0.5 * ((dx / sx) ** 2 + (dy / sy) ** 2)), np.float32)


def dome(x: float, y: float, rx: float, ry: float, height: float) -> Field:
    """Return the upper half of an ellipsoid; 0 outside."""
    px, py = coordinates()
    inside = np.clip(1 - ((px - x) / rx) ** 2 - ((py - y) / ry) ** 2, 0, None)
    return np.asarray(height * np.sqrt(inside), np.float32)


def soften(field: Field, sigma: float) -> Field:
    """Blur by ``sigma`` canonical pixels."""
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma * SCALE), np.float32)


def normals(height: Field) -> NDArray[np.float32]:
    """Return unit normals ``[height, width, 3]``, z towards the viewer."""
    dy, dx = np.gradient(height, 1 / SCALE)
    normal = np.dstack([-dx, -dy, np.ones_like(height)])
    return np.asarray(normal / np.linalg.norm(normal, axis=2, keepdims=True), np.float32)


def ramp(value: Field, stops: Sequence[tuple[float, str]]) -> NDArray[np.float32]:
    """Colors 0..1 ``[height, width, 3]`` of ``value`` along ``stops`` (position, rrggbb)."""
    at = [position for position, _ in stops]
    channels = [
        np.interp(value, at, [int(code[i : i + 2], 16) / 255 for _, code in stops])
        for i in (0, 2, 4)
    ]
    return np.dstack(channels).astype(np.float32)


def lit(normal: NDArray[np.float32], light: NDArray[np.float32], wrap: float = 0.0) -> Field:
    """Lambert's law, 0..1, with light that wraps around the form by ``wrap``."""
    light = light / np.linalg.norm(light)
    return np.asarray(np.clip((normal @ light + wrap) / (1 + wrap), 0, 1), np.float32)


def glint(normal: NDArray[np.float32], light: NDArray[np.float32], sharpness: float) -> Field:
    """Blinn's highlight, the eye straight in front."""
    half = light / np.linalg.norm(light) + np.array([0, 0, 1], np.float32)
    half /= np.linalg.norm(half)
    return np.asarray(np.clip(normal @ half, 0, 1) ** sharpness, np.float32)
