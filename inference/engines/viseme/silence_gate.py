"""From what the net says to a mouth that can be shown.

A regression hedges: asked about a sound that may be [b] or [d] it answers "half open". So two of
the net's outputs are decisions: lips closed, and speech is present. They gate the shape.
"""

import numpy as np
from numpy.typing import NDArray

from inference.engines.viseme.net import CLOSED, SHAPES, SPEAKING
from inference.engines.viseme.shape import MouthShape

CLOSED_RAMP = (0.35, 0.65)
"""Probability of closed lips at which they begin to close, and are shut."""
SPEAKING_RAMP = (0.25, 0.65)
"""Probability of speech below which the mouth rests, and above which it is free."""

_OPEN, _WIDE, _PRESS = (MouthShape._fields.index(name) for name in ("open", "wide", "press"))
_LOWEST = np.zeros(SHAPES, np.float32)
_LOWEST[_WIDE] = -1.0


def mouth_shapes(outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bounded and gated shapes.

    Args:
        outputs: float32 ``[..., OUTPUTS]`` of the net.

    Returns:
        float32 ``[..., 7]``, as `MouthShape`; exactly zero where nobody speaks.
    """
    shapes = np.clip(outputs[..., :SHAPES], _LOWEST, 1.0)
    closed = _ramp(_sigmoid(outputs[..., CLOSED]), CLOSED_RAMP)
    speaking = _ramp(_sigmoid(outputs[..., SPEAKING]), SPEAKING_RAMP)
    shapes[..., _OPEN] *= 1 - closed
    shapes[..., _PRESS] = np.maximum(shapes[..., _PRESS], closed)
    return np.asarray(shapes * speaking[..., None], np.float32)


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), np.float32)


def _ramp(values: NDArray[np.float32], ramp: tuple[float, float]) -> NDArray[np.float32]:
    """0 below the ramp, 1 above it, and smooth between."""
    start, end = ramp
    rise = np.clip((values - start) / (end - start), 0, 1)
    return np.asarray(rise * rise * (3 - 2 * rise), np.float32)
