"""Values that travel between preparation, runtime and engines: pictures, patches, sound.

A `Picture` is I420: one uint8 array ``[height * 3 // 2, width]``, the Y plane on top, then U, then
V,
each of the chroma planes ``[height // 2, width // 2]`` stored row after row, exactly as FFmpeg's
yuv420p packs them. Limited range, BT.601.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""I420, uint8 ``[height * 3 // 2, width]``."""


@dataclass(frozen=True, slots=True)
class AudioContext:
    """How much sound around a frame's own 640 samples an engine needs, in samples."""

    before: int
    after: int


@dataclass(frozen=True, slots=True, eq=False)
class AudioWindow:
    """Sound around ``frames`` consecutive frames of one session.

    ``samples``: float32 ``[before + 640 * frames + after]`` in -1..1, 16 kHz mono; zeros stand for
    what lies before the utterance, after its end, or has not arrived in time.
    """

    samples: NDArray[np.float32]
    frames: int


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """Finished pixels for a rectangle of the picture; ``x, y, width, height`` are even.

    All planes uint8: ``y_plane`` ``[height, width]``, ``u_plane`` and ``v_plane``
    ``[height // 2, width // 2]``.
    """

    x: int
    y: int
    y_plane: NDArray[np.uint8]
    u_plane: NDArray[np.uint8]
    v_plane: NDArray[np.uint8]
