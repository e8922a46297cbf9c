"""Where the face is: the box that is generated, and the larger one around it that is blended.

Boxes are ``x1, y1, x2, y2`` in pixels of the picture, right and lower edge excluded.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.engines.musetalk.constants import (
    CROP_EXPAND,
    MARGIN_BOTTOM_PX,
)

_NOSE_BRIDGE_MESH = 195
"""The point of the 468-point mesh that is where point 29 of the 68 does, on the nose bridge."""


class Box(NamedTuple):
    x1: int
    y1: int
    x2: int
    y2: int

    @property
    def width(self) -> int:
        return self.x2 - self.x1

    @property
    def height(self) -> int:
        return self.y2 - self.y1


def landmark_box(points: NDArray[np.float32], bridge_y: float) -> Box | None:
    """Return the reference's rule: chin to as far above the nose bridge, as wide as the points.

    ``points`` ``[n, 2]``; ``bridge_y``: height of the nose bridge's third point. The bridge is the
    vertical middle of the box: below it is what is generated and seen. None if there is no
    usable box (a face in profile, or cut by the left edge).
    """
    whole = np.trunc(points).astype(np.int32)
    middle, lower = int(bridge_y), int(whole[:, 1].max())
    box = Box(int(whole[:, 0].min()), max(0, 2 * middle - lower), int(whole[:, 0].max()), lower)
    return box if box.width > 0 and box.height > 0 and box.x1 >= 0 else None


def mesh_box(points: NDArray[np.float32]) -> Box | None:
    """`landmark_box` for a picture's face mesh, float32 ``[468 or more, 2]``."""
    return landmark_box(points, float(points[_NOSE_BRIDGE_MESH, 1]))


def with_margin(box: Box, picture_width: int, picture_height: int) -> Box:
    """Return the box of version 1.5: ten pixels more below, inside the picture.

    The reference lets it leave the picture on the right, cuts out what is inside, and pastes that
    over the whole box: wider than it was, and aside.
    """
    return box._replace(
        x2=min(box.x2, picture_width), y2=min(box.y2 + MARGIN_BOTTOM_PX, picture_height)
    )


def crop_box(box: Box) -> Box:
    """Return the square that is parsed and blended, 1.5 times the box; it may leave the picture."""
    center_x, center_y = (box.x1 + box.x2) // 2, (box.y1 + box.y2) // 2
    half = int(max(box.width, box.height) // 2 * CROP_EXPAND)
    return Box(center_x - half, center_y - half, center_x + half, center_y + half)
