"""From what the net says to a mouth that can be shown.

A regression hedges: asked about a sound that may be [b] or [d] it answers "half open". So three of
the net's outputs are decisions: lips closed, lips rounded and not spread, and speech is present.
They gate the shape.
"""

import numpy as np
from numpy.typing import NDArray

from inference.engines.viseme.net import CLOSED, JAW, ROUNDED, SHAPES, SPEAKING
from inference.engines.viseme.shape import MouthShape

CLOSED_RAMP = (0.12, 0.42)
"""Probability of closed lips at which they begin to close, and are shut."""
SPEAKING_RAMP = (0.25, 0.65)
"""Probability of speech below which the mouth rests, and above which it is free."""

_ROUND_FULL = 0.57
"""What the net says of lips that are as round as lips can be: it hedges, too."""
_ROUND_UNSAID = 0.03
"""How round lips are at least that are decided to be: it may hedge down to nothing."""
_ROUND_WIDE = np.float32(-0.5)
"""How far round lips are pursed at least: of that it hedges as well."""

_DECISIONS = [CLOSED, SPEAKING, ROUNDED]
_STARTS = np.array([CLOSED_RAMP[0], SPEAKING_RAMP[0]], np.float32)
_RISES = 1 / (np.array([CLOSED_RAMP[1], SPEAKING_RAMP[1]], np.float32) - _STARTS)
_OPEN, _WIDE, _ROUND, _PRESS, _JAW = (
    MouthShape._fields.index(name) for name in ("open", "wide", "round", "press", "jaw")
)
_SHAPE = [*range(SHAPES), JAW]
"""The outputs that a `MouthShape` is made of, in its order."""
_LOWEST = np.zeros(len(_SHAPE), np.float32)
_LOWEST[_WIDE] = -1.0


def mouth_shapes(outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bounded and gated shapes.

    Args:
        outputs: float32 ``[..., OUTPUTS]`` of the net.

    Returns:
        float32 ``[..., 8]``, as `MouthShape`; exactly zero where nobody speaks.
    """
    shapes = np.maximum(outputs[..., _SHAPE], _LOWEST)
    decided = _sigmoid(outputs[..., _DECISIONS])
    rounded = shapes[..., _ROUND]
    rounded += _ROUND_UNSAID
    rounded *= decided[..., 2] * (1 / _ROUND_FULL)
    np.minimum(shapes, np.float32(1), out=shapes)
    wide = shapes[..., _WIDE]
    np.minimum(wide, wide + rounded * (_ROUND_WIDE - wide), out=wide)
    gates = _ramp(decided[..., :2])
    closed = gates[..., 0]
    shapes[..., _OPEN] *= 1 - closed
    shapes[..., _JAW] -= shapes[..., _OPEN]
    np.maximum(shapes[..., _PRESS], closed, out=shapes[..., _PRESS])
    shapes *= gates[..., 1:]
    return np.asarray(shapes, np.float32)


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), np.float32)


def _ramp(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """``[..., 2]``, of closed lips and of speech: 0 below its ramp, 1 above it, smooth between."""
    rise = (probabilities - _STARTS) * _RISES
    np.minimum(np.maximum(rise, 0, out=rise), 1, out=rise)
    return np.asarray(rise * rise * (3 - 2 * rise), np.float32)
