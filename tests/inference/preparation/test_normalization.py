"""Any of the eight ways in which a display matrix turns and mirrors."""

from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from inference.preparation.normalization import display_matrix, oriented
from tests.videos import person, write_video

PICTURE = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


@pytest.mark.parametrize(
    "matrix",
    [
        *[(a, 0, 0, d) for a in (1, -1) for d in (1, -1)],
        *[(0, b, c, 0) for b in (1, -1) for c in (1, -1)],
    ],
)
def test_every_pixel_goes_where_the_matrix_sends_it(matrix):
    a, b, c, d = matrix
    shown = oriented(PICTURE, matrix)
    height, width = PICTURE.shape[:2]
    for y in range(height):
        for x in range(width):
            # relative to the center, so that turning needs no shift
            from_x, from_y = x - (width - 1) / 2, y - (height - 1) / 2
            to_x = a * from_x + c * from_y + (shown.shape[1] - 1) / 2
            to_y = b * from_x + d * from_y + (shown.shape[0] - 1) / 2
            assert (shown[round(to_y), round(to_x)] == PICTURE[y, x]).all()


class OfAnotherRelease(SimpleNamespace):
    """A frame with side data of a kind that the library does not know."""

    @property
    def side_data(self) -> object:
        raise ValueError("31 is not a valid Type")


@pytest.mark.parametrize("turned_deg", [0, 90, 180, 270])
def test_unknown_data_beside_the_matrix_does_not_hide_a_turn(tmp_path, turned_deg):
    path = write_video(tmp_path / "turned.mp4", person(2), turned_deg=turned_deg)
    with av.open(str(path)) as video:
        frame = next(video.decode(video=0))
    unknown: Any = OfAnotherRelease(rotation=frame.rotation)
    assert display_matrix(unknown) == display_matrix(frame)
