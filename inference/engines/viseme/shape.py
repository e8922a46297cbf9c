"""The mouth shape: the common language of the viseme net and the two mouth renderers."""

from typing import NamedTuple

import numpy as np

from inference.engines.base import Features


class MouthShape(NamedTuple):
    """A mouth, as far as this engine knows mouths. The rest pose, lips closed, is all zeros.

    The values are what the eye sees, not what the phonetics say: ``open`` is the gap of the inner
    lips, 1 for a wide open [a]; ``wide`` the spread of the corners, -1 pursed to 1 spread;
    ``round`` protruded lips as for [u]; ``press`` lips pressed together as for [p b m];
    ``tuck`` the lower lip under the upper teeth as for [f v]; ``teeth`` how much of the upper
    teeth shows when the mouth is open; ``tongue`` the tip behind the teeth as for [t l th];
    ``jaw`` how much further open the jaw is than the lips: they close by themselves for [p b m],
    and -1 to 1 like ``wide``. All others 0..1.
    """

    open: float = 0.0
    wide: float = 0.0
    round: float = 0.0
    press: float = 0.0
    tuck: float = 0.0
    teeth: float = 0.0
    tongue: float = 0.0
    jaw: float = 0.0

    @property
    def jaw_opening(self) -> float:
        """How far the jaw is open, 0..1 as ``open``."""
        return min(max(self.open + self.jaw, 0.0), 1.0)

    def scaled(self, strength: float) -> "MouthShape":
        return MouthShape(*(value * strength for value in self))

    def to_features(self) -> Features:
        """float32 ``[8]``, in the order of the fields."""
        return np.asarray(self, np.float32)

    @classmethod
    def from_features(cls, features: Features) -> "MouthShape":
        """Of features that begin with it."""
        return cls(*(float(value) for value in features[: len(cls._fields)]))
