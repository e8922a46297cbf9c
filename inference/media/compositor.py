"""Putting pictures together, in YUV 4:2:0 throughout.

A live picture is a clip's picture, perhaps cross-faded with another one, with the engine's patch
pasted over the face. Staying in I420 saves the conversion of whole pictures, which would cost as
much as encoding them.
"""

import cv2
import numpy as np

from inference.media.types import Patch, Picture


def cross_fade(outgoing: Picture, incoming: Picture, weight: float) -> Picture:
    """``weight`` of ``incoming``, the rest of ``outgoing``; a new picture."""
    return np.asarray(cv2.addWeighted(incoming, weight, outgoing, 1 - weight, 0), dtype=np.uint8)


def paste(picture: Picture, patch: Patch) -> Picture:
    """A new picture: ``picture`` with ``patch`` over it."""
    result = picture.copy()
    height = result.shape[0] * 2 // 3
    width = result.shape[1]
    rows, columns = patch.y_plane.shape
    result[patch.y : patch.y + rows, patch.x : patch.x + columns] = patch.y_plane
    # The chroma planes are [height // 2, width // 2] each, packed row after row below the Y plane.
    chroma = result[height:].reshape(2, height // 2, width // 2)
    top, left = patch.y // 2, patch.x // 2
    chroma[0, top : top + rows // 2, left : left + columns // 2] = patch.u_plane
    chroma[1, top : top + rows // 2, left : left + columns // 2] = patch.v_plane
    return result
