"""Lips of a still picture meet where the picture shows it, wherever landmarks put them."""

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from inference.engines.viseme.renderers.face_frame import INNER_LOWER, INNER_UPPER
from inference.faces.mesh import FaceMesh
from inference.media.types import Picture
from inference.preparation.lip_line import on_lip_line
from tests.drawn_face import draw_face

X, Y = 256, 250
_LINE = 0.258
"""Height of the drawn line between closed lips, in sizes of the face below its middle."""


def shown(**drawn: float) -> tuple[Picture, np.ndarray]:
    """Return a drawn face, I420, and its landmarks, float32 ``[468, 2]``."""
    rgb = draw_face(x=X, y=Y, **drawn)  # type: ignore[arg-type]
    face = FaceMesh().find(rgb)
    assert face is not None
    picture = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), np.uint8)
    return picture, face.landmarks[:, :2].copy()


def off_line(points: np.ndarray, size: float, tilt_deg: float) -> float:
    """How far the middle of the lips is from the drawn line, in mouth widths."""
    turn = np.radians(tilt_deg)
    down = np.array([-np.sin(turn), np.cos(turn)])
    middle = points[[*INNER_UPPER[4:7], *INNER_LOWER[4:7]]].mean(axis=0)
    away = float((middle - (X, Y)) @ down) - _LINE * size
    return away / float(np.hypot(*(points[291] - points[61])))


def misplaced(points: np.ndarray, by: float) -> np.ndarray:
    """Shut the lips along a line so far below theirs, in mouth widths; the corners stay."""
    width = float(np.hypot(*(points[291] - points[61])))
    line = (points[INNER_UPPER] + points[INNER_LOWER]) / 2
    line[1:-1, 1] += by * width
    moved = points.copy()
    moved[INNER_UPPER] = moved[INNER_LOWER] = line
    return moved


@settings(max_examples=40)
@given(size=st.integers(190, 260), tilt_deg=st.floats(-12, 12), by=st.floats(-0.05, 0.05))
def test_lips_meet_where_the_picture_shows_it(size, tilt_deg, by):
    picture, points = shown(size=size, tilt_deg=tilt_deg)
    wrong = misplaced(points, by)
    assume(abs(off_line(wrong, size, tilt_deg)) < 0.08)

    found = on_lip_line(picture, wrong)

    assert abs(off_line(found, size, tilt_deg)) < 0.035
    np.testing.assert_array_equal(found[[1, 61, 152, 291]], points[[1, 61, 152, 291]])


@settings(max_examples=40)
@given(by=st.floats(-0.05, 0.05), gray=st.integers(16, 235))
def test_where_no_line_is_seen_the_landmarks_stay(by, gray):
    _, points = shown()
    flat = np.full((768, 512), 128, np.uint8)
    flat[:512] = gray
    wrong = misplaced(points, by)

    np.testing.assert_allclose(on_lip_line(flat, wrong), wrong, atol=1e-3)


@pytest.mark.parametrize("mouth_open", [0.4, 0.7, 1.0])
def test_open_mouths_are_left_to_the_landmarks(mouth_open):
    picture, points = shown(mouth_open=mouth_open)

    np.testing.assert_array_equal(on_lip_line(picture, points), points)


def test_lips_that_show_teeth_are_apart_by_all_that_is_seen_between_them():
    """A dark line above the teeth, and one below them: the landmarks have seen only one."""
    picture, points = shown(size=230)
    luma = picture[:512]
    width = float(np.hypot(*(points[291] - points[61])))
    middle = points[[13, 14]].mean(axis=0)
    left, right = round(float(middle[0]) - 0.3 * width), round(float(middle[0]) + 0.3 * width)
    line = round(float(middle[1]))
    luma[line - 4 : line + 5, left:right] = 150
    luma[[line - 4, line - 3, line + 3, line + 4], left:right] = 30

    found = on_lip_line(picture, points)

    before = float(points[14, 1] - points[13, 1])
    apart = float(found[14, 1] - found[13, 1])
    assert apart > before + 2
    assert apart < 9
