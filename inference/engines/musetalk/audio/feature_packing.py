"""A frame's features as one array, which the host carries from `listen` to `render`."""

import numpy as np
from numpy.typing import NDArray

from inference.engines.base import Features
from inference.engines.musetalk.constants import TOKENS


def pack(tokens: NDArray[np.float32], weight: float) -> Features:
    """Tokens ``[50, width]`` and the weight of the mouth, 0..1 → float32 ``[50 * width + 1]``."""
    return np.append(tokens.ravel(), np.float32(weight)).astype(np.float32, copy=False)


def unpack(features: Features) -> tuple[NDArray[np.float32], float]:
    """Undo `pack`."""
    return features[:-1].reshape(TOKENS, -1), float(features[-1])
