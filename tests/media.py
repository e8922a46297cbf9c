"""Assertions in the language of video, made with a real decoder."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from inference.timing import FRAME_MS
from talking_avatar.decoding import AccessUnitDecoder


def assert_decodes(access_units: Iterable[bytes]) -> list[NDArray[np.uint8]]:
    """Every access unit gives one whole picture; returns them, I420 uint8 ``[h * 3 // 2, w]``."""
    decoder = AccessUnitDecoder()
    pictures = []
    for number, access_unit in enumerate(access_units):
        picture = decoder.decode(access_unit)
        assert decoder.errors == 0, f"access unit {number}: {decoder.last_error}"
        assert picture is not None
        pictures.append(np.asarray(picture.to_ndarray(), np.uint8))
    return pictures


def assert_pts_contiguous(timestamps_ms: Sequence[int], *, first_ms: int | None = None) -> None:
    """Each timestamp is one frame after the one before it; the first is ``first_ms``, if given."""
    if first_ms is not None:
        assert timestamps_ms[0] == first_ms
    for number, (earlier, later) in enumerate(pairwise(timestamps_ms)):
        assert later - earlier == FRAME_MS, (
            f"frame {number + 1}: {later} ms after {earlier} ms, not {FRAME_MS} ms later"
        )
