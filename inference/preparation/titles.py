"""Titles of clips, for people: what is seen in a stretch of a video, in a word or two.

The studio and clients offer clips by them. A stretch is called after the largest movement of the
head in it, each measured against what people notice; where there is none, after the eyes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inference.preparation.choose import Appearance, Stretch

Floats = NDArray[np.float32]

_NOTICED_DEG = {"glance": 8.0, "nod": 6.0, "tilt": 6.0}
"""Least range of yaw, pitch and roll within a stretch."""
_SHAKES, _TURN_SHARE = 3, 0.5
"""A glance goes and comes back; a head that is shaken turns back more often, by this part of it."""
_GESTURE = 6.0
"""Least change of the surroundings, mean gray levels, while the head stays."""
_SHUT = 0.55
"""Opening of the eyes, as a part of the usual one, below which they blink."""


def titles(
    stretches: Sequence[Stretch], appearance: Appearance, pose_deg: Floats, rest: int
) -> list[str]:
    """A title for each stretch, no two alike.

    Args:
        stretches: Of one video.
        appearance: Of all its pictures.
        pose_deg: float32 ``[n, 3]``, yaw, pitch and roll of all its pictures.
        rest: The picture that all clips share.
    """
    plain = [_title(stretch, appearance, pose_deg, rest) for stretch in stretches]
    return [
        title if plain.count(title) == 1 else f"{title} {plain[: place + 1].count(title)}"
        for place, title in enumerate(plain)
    ]


def _title(stretch: Stretch, appearance: Appearance, pose_deg: Floats, rest: int) -> str:
    part = slice(stretch.start, stretch.end)
    pose = pose_deg[part]
    ranges = np.ptp(np.percentile(pose, [2, 98], axis=0), axis=0)
    noticed = dict(zip(_NOTICED_DEG, ranges / list(_NOTICED_DEG.values()), strict=True))
    largest = max(noticed, key=lambda name: noticed[name])
    if noticed[largest] >= 1:
        is_shaken = largest == "glance" and _turns(pose[:, 0]) >= _SHAKES
        return "head shake" if is_shaken else largest
    around = appearance.surroundings[part].astype(np.int16) - appearance.surroundings[rest]
    if float(np.abs(around).mean(axis=1).max()) > _GESTURE:
        return "gesture"
    blinks = _begins(appearance.eyes[part] < _SHUT)
    if blinks:
        return "blink" if blinks == 1 else "blinks"
    return "calm"


def _turns(curve: Floats) -> int:
    """How often a curve turns back by at least `_TURN_SHARE` of its range."""
    enough = _TURN_SHARE * float(np.ptp(curve))
    turns, direction, extreme = 0, 0, float(curve[0])
    for value in map(float, curve):
        if direction * (value - extreme) >= 0 and direction:
            extreme = value
        elif abs(value - extreme) > enough:
            turns += direction != 0
            direction, extreme = (1 if value > extreme else -1), value
    return turns


def _begins(is_so: NDArray[np.bool_]) -> int:
    """How many runs of True there are."""
    return int((is_so[1:] & ~is_so[:-1]).sum()) + int(is_so[0])
