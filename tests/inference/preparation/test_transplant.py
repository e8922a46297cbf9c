"""A mouth that was wide open gets a shut one of the same video, in its place and in its light."""

from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.faces.mesh import FaceMesh
from inference.media.compositor import planes_of
from inference.preparation.quiet import MouthCloser
from inference.preparation.transplant import MouthTransplant
from tests.drawn_face import draw_face, to_rgb

SHUT, OPEN = 0, 40
"""Pictures of a video: its mouth is shut, then open."""
COUNT = 60


class Video:
    """Someone who is silent for a second and then says a long [a], ``moved`` by then."""

    def __init__(self, light: float = 1.0, turned_deg: float = 0.0, **moved: Any) -> None:
        drawn = draw_face(), draw_face(mouth_open=0.8, **moved)
        marks = [FaceMesh().find(face).landmarks[:, :2] for face in drawn]
        self.pictures = [to_i420(drawn[0], light), to_i420(drawn[1])]
        self.wanted = to_i420(draw_face(**moved))
        self.landmarks = np.stack([marks[self.is_open(k)] for k in range(COUNT)])
        self.pose_deg = np.zeros((COUNT, 3), np.float32)
        self.pose_deg[25:, 0] = turned_deg

    @staticmethod
    def is_open(index: int) -> bool:
        return index >= 25

    def shutting(self, is_usable: bool = True) -> MouthTransplant:
        usable = np.full(COUNT, is_usable)
        return MouthTransplant.of(
            self.landmarks, self.pose_deg, usable, set(range(COUNT)), self.give
        )

    def give(self, wanted: set[int]) -> Any:
        for index in sorted(wanted):
            yield index, self.pictures[self.is_open(index)]

    def mouth(self, picture: np.ndarray) -> np.ndarray:
        """Luma around the mouth of a picture of the open mouth."""
        low, high = self.landmarks[OPEN][[61, 291]].astype(int)
        luma = planes_of(picture)[0]
        return luma[low[1] - 40 : low[1] + 60, low[0] - 20 : high[0] + 20].astype(np.float32)


def to_i420(drawn: np.ndarray, light: float = 1.0) -> np.ndarray:
    lit = np.rint(drawn * light).astype(np.uint8)
    return np.asarray(cv2.cvtColor(lit, cv2.COLOR_RGB2YUV_I420), np.uint8)


def off(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first - second).mean())


@settings(max_examples=15)
@given(
    x=st.floats(230, 280),
    y=st.floats(230, 270),
    size=st.floats(200, 250),
    tilt_deg=st.floats(-10, 10),
    light=st.floats(0.8, 1.0),
)
def test_wherever_the_head_has_gone_the_shut_mouth_is_there_in_its_light(
    x, y, size, tilt_deg, light
):
    video = Video(light, x=x, y=y, size=size, tilt_deg=tilt_deg)
    closer = MouthCloser(video.landmarks)

    shut = video.shutting().shut(OPEN, video.pictures[1])

    wanted = video.mouth(video.wanted)
    squeezed = video.mouth(closer.shut(OPEN, video.pictures[1]))
    assert off(video.mouth(shut), wanted) < 0.8 * off(squeezed, wanted)


def test_the_landmarks_are_those_of_the_mouth_that_is_seen():
    video = Video(x=262, tilt_deg=4)
    mouths = video.shutting()

    found = FaceMesh().find(to_rgb(mouths.shut(OPEN, video.pictures[1]))).landmarks[:, :2]

    lips = [61, 291, 13, 14, 0, 17]
    width = np.linalg.norm(found[291] - found[61])
    assert np.linalg.norm(mouths.landmarks()[OPEN, lips] - found[lips], axis=1).max() < 0.1 * width


def test_nothing_but_the_mouth_is_laid_over():
    video = Video(light=0.8, x=262)
    closer = MouthCloser(video.landmarks)

    luma, squeezed = (
        planes_of(shuts(OPEN, video.pictures[1]))[0]
        for shuts in (video.shutting().shut, closer.shut)
    )

    points = video.landmarks[OPEN].astype(int)
    nose, chin, (left, right) = points[2, 1], points[152, 1], points[[132, 361], 0]
    laid = (luma != squeezed).nonzero()
    assert nose < laid[0].min() < laid[0].max() < chin
    assert left < laid[1].min() < laid[1].max() < right


@pytest.mark.parametrize("change", [{"turned_deg": 30.0}, {}])
def test_where_no_mouth_fits_it_is_shut_by_a_warp_alone(change):
    video = Video(**change)
    closer = MouthCloser(video.landmarks)

    mouths = video.shutting(is_usable=bool(change))

    shown = video.pictures[1]
    np.testing.assert_array_equal(mouths.shut(OPEN, shown), closer.shut(OPEN, shown))
    np.testing.assert_array_equal(mouths.landmarks()[OPEN], closer.landmarks()[OPEN])


def test_shut_mouths_far_from_any_open_one_stay_as_they_are():
    video = Video(x=262)
    mouths, closer = video.shutting(), MouthCloser(video.landmarks)

    shown = video.pictures[0]
    np.testing.assert_array_equal(mouths.shut(SHUT, shown), closer.shut(SHUT, shown))


def test_lips_in_which_teeth_are_seen_or_that_are_pressed_come_last():
    """Landmarks do not tell them from lips that are shut."""
    video = Video()
    pale = video.pictures[0].copy()
    lips = np.rint(video.landmarks[SHUT][[13, 14]].mean(0)).astype(int)
    for plane, value, step in zip(planes_of(pale), (235, 128, 128), (1, 2, 2), strict=True):
        cv2.ellipse(plane, tuple(lips // step), (30 // step, 4 // step), 0, 0, 360, value, -1)
    good = {3, 4}

    def give(wanted: set[int]) -> Any:
        for index in sorted(wanted):
            yield index, pale if index not in good else video.pictures[0]

    mouths = MouthTransplant.of(
        video.landmarks, video.pose_deg, np.ones(COUNT, bool), set(range(COUNT)), give
    )

    shut = video.mouth(mouths.shut(OPEN, video.pictures[1]))
    assert off(shut, video.mouth(video.wanted)) < 6


def test_it_comes_and_goes_gradually():
    video = Video(x=258)
    mouths = video.shutting()

    seen = [mouths.shut(k, video.pictures[1]).astype(int) for k in range(8, 25)]

    steps = [np.abs(b - a).max() for a, b in pairwise(seen)]
    assert max(steps) < 0.45 * np.abs(seen[-1] - seen[0]).max()
