"""A camera that moves is noticed by its background; people and passers-by who move are not."""

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

from inference.preparation.framing import choose_frame
from inference.preparation.quality import judge
from inference.preparation.track import follow, smoothed
from tests.drawn_face import draw_face

SIDE = 480
WALL = (150, 170, 190)
Matrix = np.ndarray


def room() -> np.ndarray:
    """What is behind a person, larger than the picture: shelves, frames, plants."""
    random = np.random.default_rng(3)
    large = np.full((2 * SIDE, 2 * SIDE, 3), WALL, np.uint8)
    for _ in range(260):
        x, y = (int(v) for v in random.integers(0, 2 * SIDE, 2))
        w, h = (int(v) for v in random.integers(15, 70, 2))
        color = [int(v) for v in random.integers(40, 220, 3)]
        cv2.rectangle(large, (x, y), (x + w, y + h), color, -1)
    return np.asarray(cv2.GaussianBlur(large, (0, 0), 1.2), np.uint8)


def moved(dx: float = 0, dy: float = 0, zoom: float = 1) -> Matrix:
    shift = SIDE * (1 - zoom)
    return np.array([[zoom, 0, dx - SIDE / 2 + shift], [0, zoom, dy - SIDE / 2 + shift]])


def filmed(
    camera: Callable[[int], Matrix], *, behind: np.ndarray | None = None, count: int = 50
) -> Iterator[np.ndarray]:
    """A person who sways, before a room that is seen as ``camera`` says."""
    behind = room() if behind is None else behind
    noise = np.random.default_rng(8)
    for n in range(count):
        seen = cv2.warpAffine(behind, camera(n), (SIDE, SIDE))
        x = SIDE / 2 + 6 * np.sin(n / 7)
        person = draw_face(width=SIDE, height=SIDE, x=x, y=220, size=190, background=WALL)
        is_wall = (np.abs(person.astype(int) - WALL) < 3).all(axis=2, keepdims=True)
        picture = np.where(is_wall, seen, person) + noise.normal(0, 1.5, seen.shape)
        yield np.clip(picture, 0, 255).astype(np.uint8)


def findings(video: Iterator[np.ndarray]) -> dict[str, float]:
    track = follow(video, lambda _: None)
    landmarks = smoothed(track.landmarks, track.is_cut)
    frame = choose_frame(landmarks, SIDE, SIDE)
    judgement = judge(track, landmarks, frame, (SIDE, SIDE), fewest=8)
    return {found.reason: found.share for found in judgement.findings}


CAMERAS = {
    "pan": lambda n: moved(dx=0.5 * n),
    "zoom": lambda n: moved(zoom=1 + 0.002 * n),
    "shake": lambda n: moved(dx=5 * np.sin(1.3 * n), dy=5 * np.sin(0.9 * n)),
}


@pytest.mark.parametrize(
    "camera",
    ["shake", *(pytest.param(name, marks=pytest.mark.lasting) for name in ("pan", "zoom"))],
)
def test_a_camera_that_moves_is_a_finding(camera):
    assert findings(filmed(CAMERAS[camera], count=30))["camera_moved"] > 0.5


def test_a_camera_that_stands_is_none():
    assert "camera_moved" not in findings(filmed(lambda _: moved()))


@pytest.mark.lasting
def test_nothing_is_said_of_a_plain_wall():
    wall = np.full((2 * SIDE, 2 * SIDE, 3), WALL, np.uint8)
    assert "camera_moved" not in findings(filmed(CAMERAS["pan"], behind=wall))


@pytest.mark.lasting
def test_a_passer_by_is_no_camera():
    def passing() -> Iterator[np.ndarray]:
        for n, picture in enumerate(filmed(lambda _: moved())):
            x = 3 * n
            picture[60:300, x : x + 40] = (60, 70, 160)
            picture[80:110, x + 8 : x + 30] = (210, 170, 150)
            yield picture

    assert "camera_moved" not in findings(passing())
