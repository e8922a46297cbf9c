"""Shutting mouths: the pictures of an avatar must not speak by themselves.

People talk in the videos they send. The engine moves the lips of the clip's picture, and between
words it shows that picture as it is, so a mouth that is open there would chatter on in silence.
Where the lips are apart they are shut once and for all here, with the engine's own warp, and what
was between them is taken out (`open_mouth`); where they are shut already nothing is touched.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.engines.viseme.renderers.face_frame import (
    INNER_LOWER,
    INNER_UPPER,
    OUTER_LOWER,
    OUTER_UPPER,
)
from inference.engines.viseme.renderers.warp import WarpedMouth
from inference.engines.viseme.renderers.warp_field import SHUT_TRAVEL, awakeness
from inference.engines.viseme.shape import MouthShape
from inference.faces.mesh import lip_gaps
from inference.media.compositor import paste
from inference.media.types import Picture
from inference.preparation.open_mouth import without_inside

_SHUT, _OPEN = 0.035, 0.09
"""Gap of the lips in mouth widths: below nothing is done, above the mouth is shut entirely."""
_PRESS = 0.12
"""Enough for the warp to take away the picture's own opening, too little to press the lips."""
_EMPTY = 0.4
"""How much a mouth is shut from which on nothing of its inside is left."""
_AROUND = 4
_SIGMA = 2.0


def shutting(gaps: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much to shut each picture's mouth, 0..1, from the gaps of the lips, float32 ``[n]``.

    Smooth over time and never less than a picture by itself needs, so nothing flickers.
    """
    widest = cv2.dilate(gaps[None].astype(np.float32), np.ones((1, 2 * _AROUND + 1), np.uint8))[0]
    needed = np.clip((widest - _SHUT) / (_OPEN - _SHUT), 0, 1)
    smooth = cv2.GaussianBlur(needed[None], (0, 0), _SIGMA)[0]
    return np.asarray(np.clip(smooth, 0, 1), np.float32)


class MouthCloser:
    """Shuts the mouths of pictures whose landmarks, float32 ``[n, 468, 2]``, are given."""

    def __init__(self, landmarks: NDArray[np.float32]) -> None:
        self._landmarks = np.asarray(landmarks, np.float32)
        self._mouth = WarpedMouth({"": self._landmarks})
        self.amount = shutting(np.nan_to_num(lip_gaps(self._landmarks)))

    def shut(self, index: int, picture: Picture) -> Picture:
        """Picture ``index`` with its mouth shut as far as it is open."""
        emptied = min(float(self.amount[index]) / _EMPTY, 1.0)
        if not emptied or not np.isfinite(self._landmarks[index]).all():
            return picture
        empty = without_inside(picture, self._landmarks[index], emptied)
        patch = self._mouth.render("", index, empty, self._shape(index))
        return empty if patch is None else paste(empty, patch)

    def landmarks(self) -> NDArray[np.float32]:
        """Those given, with the lips where `shut` puts them."""
        taken = np.array([awakeness(self._shape(k)) for k in range(len(self.amount))], np.float32)
        moved = np.array(self._landmarks)
        gaps = self._landmarks[:, INNER_LOWER] - self._landmarks[:, INNER_UPPER]
        gaps *= taken[:, None, None]
        edges = (OUTER_UPPER, INNER_UPPER, INNER_LOWER, OUTER_LOWER)
        for edge, travel in zip(edges, SHUT_TRAVEL, strict=True):
            # The corners of the outer edges belong to both lips: they stay.
            moved[:, edge[1:-1]] += travel * gaps[:, 1:-1]
        return moved

    def _shape(self, index: int) -> MouthShape:
        return MouthShape(press=_PRESS * float(self.amount[index]))
