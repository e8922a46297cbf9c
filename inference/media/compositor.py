"""Putting pictures together, in YUV 4:2:0 throughout.

A live picture is a clip's picture, perhaps cross-faded with another one, with the engine's patch
pasted over the face. Staying in I420 saves the conversion of whole pictures, which would cost as
much as encoding them.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.media.types import Patch, Picture, Rectangle

Plane = NDArray[np.uint8]


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
    for under, over in zip(
        _planes(picture, patch.rectangle),
        (patch.y_plane, patch.u_plane, patch.v_plane),
        strict=True,
    ):
        under[:] = over


def cut(picture: Picture, rectangle: Rectangle) -> Patch:
    """Return what ``picture`` shows there: views of it."""
    return Patch(rectangle.x, rectangle.y, *_planes(picture, rectangle))


def _planes(picture: Picture, rectangle: Rectangle) -> tuple[Plane, Plane, Plane]:
    """Return views of the three planes under a rectangle."""
    height, width = picture.shape[0] * 2 // 3, picture.shape[1]
    # The chroma planes are [height // 2, width // 2] each, packed row after row below the Y plane.
    chroma = picture[height:].reshape(2, height // 2, width // 2)
    left, top = rectangle.x, rectangle.y
    right, bottom = left + rectangle.width, top + rectangle.height
    u_plane, v_plane = chroma[:, top // 2 : bottom // 2, left // 2 : right // 2]
    return picture[top:bottom, left:right], u_plane, v_plane
