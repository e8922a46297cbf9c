"""How much of the mouth is speech: in silence the source picture is shown, with its closed lips.

The nets quiver on silence. Whether a frame is silent is read off its own window, so that the same
window always gives the same answer. The loudness of 10 ms blocks is compared with one threshold;
the mouth belongs to the nets while a loud block is close, and is handed back over the frames
after it.
"""

import numpy as np
from numpy.typing import NDArray

BLOCK_SAMPLES = 160
THRESHOLD_DBFS = -50.0
HOLD_BEFORE_BLOCKS = 4
"""The mouth opens up to 40 ms before the sound."""
HOLD_AFTER_BLOCKS = 8
"""And stays the nets' 80 ms after it."""
RELEASE_BLOCKS = 12
"""Then it goes back to the picture's over 120 ms."""
ATTACK_BLOCKS = 5
"""It comes in over 50 ms: with the sound before it, that is the whole look-ahead."""
REACH_SAMPLES = (HOLD_AFTER_BLOCKS + RELEASE_BLOCKS) * BLOCK_SAMPLES
"""What is longer before the frame changes nothing."""


def speech_weight(samples: NDArray[np.float32], begin: int, end: int) -> float:
    """0 (silence) to 1 for the frame whose own samples are ``[begin, end)`` of ``samples``."""
    blocks = len(samples) // BLOCK_SAMPLES
    if not blocks:
        return 0.0
    power = np.square(samples[: blocks * BLOCK_SAMPLES].reshape(blocks, -1)).mean(1)
    loud = np.flatnonzero(power > 10 ** (THRESHOLD_DBFS / 10))
    if not len(loud):
        return 0.0
    first, last = begin // BLOCK_SAMPLES, (end - 1) // BLOCK_SAMPLES
    before = first - loud[loud <= last].max(initial=-(10**6))
    after = loud[loud >= first].min(initial=10**6) - last
    if before <= 0 or after <= 0:
        return 1.0
    falling = 1 - (before - HOLD_AFTER_BLOCKS) / RELEASE_BLOCKS
    rising = 1 - (after - HOLD_BEFORE_BLOCKS) / ATTACK_BLOCKS
    return float(np.clip(max(falling, rising), 0.0, 1.0))
