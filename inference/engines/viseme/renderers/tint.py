"""The light and the colors of one face, taken from its own skin and lips."""

from dataclasses import dataclass

import numpy as np

from inference.engines.viseme.renderers.face_frame import Floats
from inference.media.compositor import planes_of
from inference.media.types import Picture

_CHEEKS = (205, 425)
_LOWER_LIP = 17
BLACK = 16
"""Luma of what has no light."""

Color = tuple[float, float, float]
"""Y, U, V, 0..255 each."""


@dataclass(frozen=True, slots=True)
class Tint:
    """What the inside of a mouth is painted with.

    ``light``: how light the skin is above black; ``teeth``, ``tongue``, ``dark``: their colors.
    """

    light: float
    teeth: Color
    tongue: Color
    dark: Color

    @classmethod
    def of_face(cls, skin: Floats, lip: Floats) -> "Tint":
        """``skin``, ``lip``: mean Y, U, V of a cheek and of the lower lip, float32 ``[3]``."""
        light = float(np.clip(skin[0] - BLACK, 40, 205))
        return cls(
            light=light,
            teeth=(
                BLACK + light * 1.10,
                128 + 0.50 * (skin[1] - 128),
                128 + 0.36 * (skin[2] - 128),
            ),
            tongue=(
                BLACK + light * 0.52,
                128 + 0.55 * (lip[1] - 128),
                min(128 + 0.9 * (skin[2] - 128) + 0.35 * (lip[2] - 128), 165),
            ),
            dark=(
                BLACK + light * 0.13,
                128 + 0.3 * (lip[1] - 128),
                128 + 0.55 * (lip[2] - 128),
            ),
        )

    @classmethod
    def of_picture(cls, picture: Picture, landmarks: Floats, unit: float) -> "Tint":
        """Of the face with these landmarks, float32 ``[468, 2]``; ``unit`` as in `FaceFrame`."""
        cheeks = [_mean(picture, landmarks[point], 0.08 * unit) for point in _CHEEKS]
        lip = _mean(picture, landmarks[_LOWER_LIP], 0.03 * unit)
        return cls.of_face(np.mean(cheeks, axis=0), lip)

    def lit(self, brightness: Floats | float) -> Floats | float:
        """Return luma of what is ``brightness`` times as light as the skin."""
        return BLACK + self.light * brightness

    def brightness(self, luma: Floats) -> Floats:
        """Return how light something is in parts of the skin's light; the inverse of `lit`."""
        return (luma - BLACK) / self.light


def _mean(picture: Picture, point: Floats, radius: float) -> Floats:
    x, y = point
    color = []
    for plane, scale in zip(planes_of(picture), (1, 2, 2), strict=True):
        reach = max(1, round(radius / scale))
        row = int(np.clip(y / scale, reach, plane.shape[0] - reach - 1))
        column = int(np.clip(x / scale, reach, plane.shape[1] - reach - 1))
        around = plane[row - reach : row + reach + 1, column - reach : column + reach + 1]
        color.append(float(around.mean()))
    return np.array(color, np.float32)
