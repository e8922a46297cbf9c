"""Putting pictures together, in YUV 4:2:0 throughout.

A live picture is a clip's picture, perhaps cross-faded with another one, with the engine's patch
pasted over the face. Staying in I420 saves the conversion of whole pictures, which would cost as
much as encoding them.
"""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.media.types import Patch, Picture, Rectangle

Plane = NDArray[np.uint8]
SOFT_EDGE_PX = 16
"""Over so many pixels at most a patch of another picture passes into this one; an eighth of a small
patch."""

Planes = tuple[Plane, Plane, Plane]
"""Y at full size, U and V at half of it each."""


def cross_fade(outgoing: Picture, incoming: Picture, weight: float) -> Picture:
    """``weight`` of ``incoming``, the rest of ``outgoing``; a new picture."""
    return np.asarray(cv2.addWeighted(incoming, weight, outgoing, 1 - weight, 0), dtype=np.uint8)


def paste(picture: Picture, patch: Patch) -> Picture:
    """Return a new picture: ``picture`` with ``patch`` over it."""
    result = picture.copy()
    paste_into(result, patch)
    return result


def paste_into(picture: Picture, patch: Patch) -> None:
    """Put ``patch`` over ``picture``."""
    _paste(planes_of(picture), patch)


def draw(canvas: Planes, picture: Picture, patch: Patch | None) -> None:
    """Put ``picture`` on a canvas of its size, and ``patch`` over it; None: nothing."""
    for plane, source in zip(canvas, planes_of(picture), strict=True):
        np.copyto(plane, source)
    if patch is not None:
        _paste(canvas, patch)


def cut(picture: Picture, rectangle: Rectangle) -> Patch:
    """Return what ``picture`` shows there: views of it."""
    return Patch(rectangle.x, rectangle.y, *_under(planes_of(picture), rectangle))


def mixed(picture: Picture, patch: Patch, opacity: float) -> Patch:
    """Mix ``opacity`` of a patch with what is under it, and less of it at its edges."""
    weights = opacity * _soft_edges(patch.rectangle.height, patch.rectangle.width)
    halves = weights[::2, ::2]
    planes = []
    for under, over, weight in zip(
        _under(planes_of(picture), patch.rectangle),
        (patch.y_plane, patch.u_plane, patch.v_plane),
        (weights, halves, halves),
        strict=True,
    ):
        plane = under + weight * (over.astype(np.float32) - under)
        planes.append(np.rint(plane).astype(np.uint8))
    return Patch(patch.x, patch.y, *planes)


@lru_cache(maxsize=64)
def _soft_edges(height: int, width: int) -> NDArray[np.float32]:
    """Return float32 ``[height, width]``: 1 inside, falling to 0 at the edges.

    Without a kink where the fall begins and ends.
    """
    edge = max(1, min(SOFT_EDGE_PX, height // 8, width // 8))
    inwards = (np.minimum(np.arange(n), np.arange(n)[::-1]) for n in (height, width))
    rows, columns = (np.clip(n / edge, 0, 1).astype(np.float32) for n in inwards)
    rows, columns = (x * x * (3 - 2 * x) for x in (rows, columns))
    return np.outer(rows, columns).astype(np.float32)


def planes_of(picture: Picture) -> Planes:
    """Return views of the three planes."""
    height, width = picture.shape[0] * 2 // 3, picture.shape[1]
    # The chroma planes are [height // 2, width // 2] each, packed row after row below the Y plane.
    u_plane, v_plane = picture[height:].reshape(2, height // 2, width // 2)
    return picture[:height], u_plane, v_plane


def _paste(planes: Planes, patch: Patch) -> None:
    for under, over in zip(
        _under(planes, patch.rectangle),
        (patch.y_plane, patch.u_plane, patch.v_plane),
        strict=True,
    ):
        under[:] = over


def _under(planes: Planes, rectangle: Rectangle) -> Planes:
    """Return the parts of planes that a rectangle covers."""
    left, top = rectangle.x, rectangle.y
    right, bottom = left + rectangle.width, top + rectangle.height
    y_plane, *chroma = planes
    u_plane, v_plane = (plane[top // 2 : bottom // 2, left // 2 : right // 2] for plane in chroma)
    return y_plane[top:bottom, left:right], u_plane, v_plane
