"""A face on its side or upside down is turned; nothing else is."""

import cv2
import numpy as np
import pytest

from inference.preparation.footage import examine, pictures
from inference.preparation.orientation import turn_votes, upright
from tests.drawn_face import draw_face
from tests.videos import person, write_video


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_photograph_that_was_turned_is_turned_back(tmp_path, turns):
    right = draw_face(width=480, height=400, x=240, y=190, size=200)
    lying = np.ascontiguousarray(np.rot90(right, turns))
    cv2.imwrite(str(tmp_path / "photo.png"), cv2.cvtColor(lying, cv2.COLOR_RGB2BGR))
    footage = upright(examine(tmp_path / "photo.png"))
    assert footage.quarter_turns == -turns % 4
    assert (footage.width, footage.height) == (480, 400)
    assert np.array_equal(next(pictures(footage)), right)


def test_a_video_that_is_upside_down_is_turned(tmp_path):
    path = write_video(tmp_path / "video.mp4", (p[::-1, ::-1] for p in person(60)))
    assert upright(examine(path)).quarter_turns == 2


def test_a_tilted_head_is_left_as_it_is(tmp_path):
    picture = draw_face(tilt_deg=30)
    assert turn_votes(picture).argmax() == 0


def test_without_a_face_nothing_is_turned(tmp_path):
    path = write_video(tmp_path / "empty.mp4", [np.full((240, 320, 3), 90, np.uint8)] * 60)
    assert upright(examine(path)).quarter_turns == 0
