"""Lids that shut over the eyes of any picture of a face.

The upper lid is drawn down over the eye, column by column: what it covers is hidden, as it is by a
real lid, and its edge is laid over the picture softly. Were the eye pressed together under it
instead, some of it would always be seen along the edge.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.media.types import Patch

Floats = NDArray[np.float32]

# All in widths of the eye.
_LASHES = 0.15
"""How much above its edge a lid keeps its shape; what stretches is the skin above it."""
_SKIN = 0.30
"""From how far above its edge on."""
_CORNERS = 0.08
"""How far from its corners a lid begins to move."""
_BELOW, _BELOW_PX = 0.035, 0.8
"""How far over the edge of the lower lid a shut one reaches, and by how many pixels more."""


class Eye(NamedTuple):
    """One eye of a picture: the edges of its lids, float32 ``[n, 2]`` each, pixels."""

    upper: Floats
    lower: Floats


def shut_eye(patch: Patch, eye: Eye, amount: float) -> None:
    """Draw the upper lid of an eye over it, in a part of the picture whose arrays are written to.

    Args:
        patch: The part; of the eye, what is in it is shut.
        eye: The eye, in pixels of the picture.
        amount: How far it is shut, 0..1.
    """
    height, width = patch.y_plane.shape
    left, right = float(eye.upper[:, 0].min()), float(eye.upper[:, 0].max())
    first = max(int(left) - patch.x, 0) // 2 * 2
    last = min((int(right) + 2 - patch.x) // 2 * 2, width)
    if last - first < 4:
        return
    columns = np.arange(first, last, dtype=np.float32) + patch.x
    lid, rim = edge_of(eye.upper, columns), edge_of(eye.lower, columns)
    inside = np.minimum(columns - left, right - columns) / (_CORNERS * (right - left))
    below = _BELOW * (right - left) + _BELOW_PX
    drop = np.maximum(rim - lid + below, 0) * amount * np.clip(inside, 0, 1)
    above, edge = lid - _SKIN * (right - left), lid + drop
    top = max(int(above.min()) - patch.y, 0) // 2 * 2
    bottom = min((int(edge.max()) + 3 - patch.y) // 2 * 2, height)
    if bottom - top < 2:
        return
    rows = (np.arange(top, bottom, dtype=np.float32) + patch.y)[:, None]
    kept = edge - _LASHES * (right - left)
    down = drop * np.clip((rows - above) / np.maximum(kept - above, 1), 0, 1)
    cover = np.clip(edge + 0.5 - rows, 0, 1)
    _lay(patch.y_plane[top:bottom, first:last], down, cover)
    size = ((last - first) // 2, (bottom - top) // 2)
    half_down, half_cover = (
        np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.float32)
        for part in (down, cover)
    )
    for plane in (patch.u_plane, patch.v_plane):
        part = plane[top // 2 : bottom // 2, first // 2 : last // 2]
        _lay(part, np.float32(0.5) * half_down, half_cover)


def edge_of(points: Floats, columns: Floats) -> Floats:
    """Return the height of a lid's edge at each of ``columns``, pixels."""
    order = np.argsort(points[:, 0])
    edge = np.interp(columns, points[order, 0], points[order, 1])
    return np.asarray(edge, np.float32)


def _lay(part: NDArray[np.uint8], down: Floats, cover: Floats) -> None:
    """Lay over ``part`` by ``cover``, 0..1, what it shows ``down`` pixels above."""
    height, width = part.shape
    columns = np.tile(np.arange(width, dtype=np.float32), (height, 1))
    rows = np.arange(height, dtype=np.float32)[:, None] - down
    moved = cv2.remap(part, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mixed = part + (moved.astype(np.float32) - part) * cover
    part[:] = np.rint(mixed)
