"""Choosing the square that becomes the picture: one for the whole video, so nothing jitters."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.faces.tflite import RgbPicture
from inference.media.types import Picture

FACE_HEIGHT = 236
"""Of the face in the framed picture, forehead to chin, in pixels; 200 to 280 look right."""
SIDE = 512
_FACE_CENTRE_Y = 0.45
"""Where in the picture the face's center is, from the top."""

_FOREHEAD, _CHIN = 10, 152


@dataclass(frozen=True, slots=True)
class Frame:
    """A square of the source, in whole pixels, that becomes ``SIDE`` x ``SIDE``."""

    x: int
    y: int
    side: int

    @property
    def scale(self) -> float:
        """Pixels of the framed picture for one of the source."""
        return SIDE / self.side

    def cut(self, picture: RgbPicture) -> Picture:
        """Return the framed picture, I420 (limited range, BT.601)."""
        part = picture[self.y : self.y + self.side, self.x : self.x + self.side]
        how = cv2.INTER_AREA if self.side >= SIDE else cv2.INTER_CUBIC
        framed = cv2.resize(part, (SIDE, SIDE), interpolation=how)
        return np.asarray(cv2.cvtColor(framed, cv2.COLOR_RGB2YUV_I420), np.uint8)

    def to_frame(self, landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
        """Landmarks ``[..., 2 or 3]`` of the source in the framed picture's pixels."""
        moved = np.array(landmarks, np.float32)
        # Pixel centers: source pixel 0 of the square spans 0..scale of the framed picture.
        moved[..., :2] = (moved[..., :2] - (self.x, self.y) + 0.5) * self.scale - 0.5
        moved[..., 2:] *= self.scale
        return moved


def face_heights(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Forehead to chin, ``[...]``, of ``landmarks [..., 468, 2 or 3]``."""
    return np.asarray(
        np.linalg.norm(landmarks[..., _CHIN, :2] - landmarks[..., _FOREHEAD, :2], axis=-1),
        np.float32,
    )


def choose_frame(landmarks: NDArray[np.float32], width: int, height: int) -> Frame:
    """Return the square of a ``width`` x ``height`` source around the usual place of the face.

    ``landmarks`` float32 ``[n, 468, 2 or 3]``, source pixels, some rows may be NaN. A picture too
    small for the wanted square gives the largest one it has.
    """
    known = landmarks[np.isfinite(landmarks[:, 0, 0])]
    face = float(np.median(face_heights(known)))
    side = min(round(face * SIDE / FACE_HEIGHT), width, height)
    points = known[..., :2]
    x, y = np.median((points.min(axis=1) + points.max(axis=1)) / 2, axis=0)
    left = int(np.clip(round(float(x) - side / 2), 0, width - side))
    top = int(np.clip(round(float(y) - side * _FACE_CENTRE_Y), 0, height - side))
    return Frame(left, top, side)
