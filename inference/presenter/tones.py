"""Tones: one drawing, painted in the colors of another skin or cloth.

Every color of the drawing code is that of one reference material, from its darkest shade to its
highlight. Another material is another such ramp. A color is carried over by its brightness: the
same place on the other ramp, off from it by as much as it was off from the reference. So a blush
stays a blush, and a shadow a shadow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Stops = tuple[tuple[float, str], ...]
"""A ramp from dark to bright: positions 0..1 and colors ``rrggbb``."""

_MOST_OFF = 2.0
"""How many times brighter or darker than its ramp a channel of a color may stay."""
_BRIGHTNESS = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True, slots=True)
class Tones:
    """A material: what was painted as ``reference`` is shown as ``own``."""

    reference: Stops
    own: Stops

    def __call__(self, code: str) -> str:
        """The color that is painted where the reference would have ``code``."""
        return code if self.own == self.reference else _carried(code, self.reference, self.own)

    def each(self, codes: Sequence[str]) -> tuple[str, ...]:
        """Those of several colors, as of a gradient."""
        return tuple(self(code) for code in codes)


@lru_cache(maxsize=1_024)
def _carried(code: str, reference: Stops, own: Stops) -> str:
    color = _channels(code)
    at = [position for position, _ in reference]
    brightness = [float(_channels(tone) @ _BRIGHTNESS) for _, tone in reference]
    place = float(np.interp(float(color @ _BRIGHTNESS), brightness, at))
    off = np.clip((color + 4) / (_at(reference, place) + 4), 1 / _MOST_OFF, _MOST_OFF)
    carried = np.clip(_at(own, place) * off, 0, 255)
    return "".join(f"{round(float(channel)):02X}" for channel in carried)


def _channels(code: str) -> NDArray[np.float64]:
    return np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)], np.float64)


def _at(stops: Stops, place: float) -> NDArray[np.float64]:
    at = [position for position, _ in stops]
    colors = np.stack([_channels(tone) for _, tone in stops])
    return np.array([np.interp(place, at, colors[:, channel]) for channel in range(3)])
