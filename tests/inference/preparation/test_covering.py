"""A mouth is seen in any light, color and pose; things before it are noticed."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.occlusions import THINGS, tongue
from inference.assets import manifest
from inference.assets.clips import AvatarClips, PictureCache
from inference.faces.mesh import FaceMesh
from inference.media.profile import DEFAULT_PROFILE
from inference.preparation.covering import look_at_mouth
from tests.drawn_face import draw_face, to_rgb

PRESENTER = Path(__file__).parents[3] / "avatars_app" / "presenter"


def visibility(picture: np.ndarray) -> float:
    face = FaceMesh().find(np.ascontiguousarray(picture))
    assert face is not None
    return look_at_mouth(picture, face.landmarks).visibility


def presenter(clip: str, index: int) -> np.ndarray:
    clips = AvatarClips(PRESENTER, PictureCache(64_000_000), profile=DEFAULT_PROFILE)
    return to_rgb(clips[clip].picture(index))


def dimmed(picture: np.ndarray) -> np.ndarray:
    return (picture * 0.4).astype(np.uint8)


def gray(picture: np.ndarray) -> np.ndarray:
    return np.repeat(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)


def bluish(picture: np.ndarray) -> np.ndarray:
    return np.clip(picture * [0.7, 0.9, 1.25], 0, 255).astype(np.uint8)


def soft(picture: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 1.5), np.uint8)


def small(picture: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))


def bearded(picture: np.ndarray) -> np.ndarray:
    """Dark hair around the lips and down the jaw."""
    points = FaceMesh().find(picture).landmarks[:, :2].round().astype(np.int32)
    jaw = [205, 207, 136, 149, 152, 378, 365, 427, 425, 2]
    beard = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(beard, [points[jaw]], 255)
    lips = [61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91]
    cv2.fillPoly(beard, [points[[*lips, 146]]], 0)
    hair = np.random.default_rng(1).normal(45, 14, picture.shape[:2])[..., None] * [1.0, 0.85, 0.75]
    share = cv2.GaussianBlur(beard, (0, 0), 1.5)[..., None] / 255
    return np.clip(picture + share * (hair - picture), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("changed", [np.array, dimmed, gray, bluish, soft, small, bearded])
@pytest.mark.parametrize("mouth_open", [0.0, 0.5])
def test_a_mouth_is_seen(changed, mouth_open):
    assert visibility(changed(draw_face(mouth_open=mouth_open))) > 0.5


@pytest.mark.parametrize("changed", [np.array, dimmed, gray, bluish, soft, bearded])
def test_the_presenter_s_mouth_is_seen(changed):
    clips = manifest.read(PRESENTER).clips
    for clip in clips[::5]:
        for index in (0, clip.frames // 2):
            assert visibility(changed(presenter(clip.name, index))) > 0.5


@pytest.mark.parametrize("thing", THINGS)
def test_what_is_before_a_mouth_is_noticed(thing):
    """Of those faces that are still found: others are refused for that."""
    mesh = FaceMesh()
    random = np.random.default_rng(7)
    noticed = []
    for picture in [presenter("idle_0", 0), *(draw_face(size=size) for size in (180, 230, 270))]:
        mesh.forget()
        landmarks = mesh.find(picture).landmarks
        found = 0
        for _ in range(4):
            covered = THINGS[thing](picture, landmarks, random)
            mesh.forget()
            face = mesh.find(covered)
            if face is not None and np.linalg.norm(face.landmarks[1] - landmarks[1]) < 40:
                noticed.append(look_at_mouth(covered, face.landmarks).visibility < 0)
                found += 1
            if found == 2:
                break
    assert len(noticed) >= 3
    assert np.mean(noticed) >= 0.75


def tongue_of(picture: np.ndarray) -> float:
    face = FaceMesh().find(np.ascontiguousarray(picture))
    assert face is not None
    return look_at_mouth(picture, face.landmarks).tongue


@pytest.mark.parametrize("changed", [np.array, dimmed, soft, small])
def test_a_tongue_is_noticed(changed):
    random = np.random.default_rng(3)
    noticed = []
    for picture in [presenter("idle_0", 0), *(draw_face(size=size) for size in (180, 230, 270))]:
        face = FaceMesh().find(picture)
        noticed += [
            tongue_of(changed(tongue(picture, face.landmarks, random))) > 0 for _ in range(3)
        ]
    assert np.mean(noticed) >= 0.75


@pytest.mark.parametrize("changed", [np.array, dimmed, gray, bluish, soft, small, bearded])
@pytest.mark.parametrize("mouth_open", [0.0, 0.5])
def test_no_tongue_is_seen_where_none_is(changed, mouth_open):
    assert tongue_of(changed(draw_face(mouth_open=mouth_open))) < -0.05


def test_the_presenter_shows_no_tongue():
    for clip in manifest.read(PRESENTER).clips[::5]:
        for index in (0, clip.frames // 2):
            assert tongue_of(presenter(clip.name, index)) < -0.05
