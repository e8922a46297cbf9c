"""Any of the eight ways in which a display matrix turns and mirrors."""

from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import Colorspace

from inference.preparation.normalization import Normalizer, display_matrix, oriented
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


@pytest.mark.parametrize(
    ("size", "is_photograph", "matrix"),
    [
        ((1280, 720), False, Colorspace.ITU709),
        ((720, 1280), False, Colorspace.ITU709),
        ((1024, 576), False, Colorspace.ITU601),
        ((1280, 720), True, Colorspace.ITU601),
    ],
)
def test_colors_that_are_not_explained_are_taken_as_players_do(size, is_photograph, matrix):
    skin = np.array([200, 140, 110])
    picture = np.full((size[1], size[0], 3), skin, np.uint8)
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
    frame = frame.reformat(format="yuv420p", dst_colorspace=matrix)
    frame.colorspace = 2  # unspecified
    shown = Normalizer(None, is_photograph=is_photograph).normalize(frame)
    assert np.abs(shown.mean(axis=(0, 1)) - skin).max() < 4  # of the wrong matrix: 6


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


def test_two_fields_of_different_moments_leave_no_combs(tmp_path):
    """A bar that moves by 16 pixels from field to field."""
    woven = np.full((96, 128, 3), 40, np.uint8)
    woven[::2, 40:72] = woven[1::2, 56:88] = 210
    with av.open(str(tmp_path / "woven.mkv"), "w") as video:
        stream: Any = video.add_stream("mpeg2video", rate=25)
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv422p"
        stream.codec_context.flags |= 0x0004_0000 | 0x2000_0000  # interlaced
        stream.options = {"b": "30M"}
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(woven, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            video.mux(stream.encode(frame))
        video.mux(stream.encode(None))
    with av.open(str(tmp_path / "woven.mkv")) as video:
        stored = next(video.decode(video=0))
    assert stored.interlaced_frame
    rows = Normalizer(None).normalize(stored)[4:-4].astype(int)
    assert np.abs(np.diff(rows, axis=0)).max() < 20
    assert abs(rows[:, 44:68].mean() - 210) < 10
