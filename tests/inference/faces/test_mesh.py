"""Faces are found where they were drawn, followed when they move, and not found where none is."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from inference.faces import mesh as faces
from inference.faces.detector import FaceDetector
from inference.faces.mesh import Crop, Face, FaceMesh
from tests.drawn_face import draw_face

UPPER_LIP, LOWER_LIP, NOSE_TIP, CHIN = 13, 14, 1, 152


@pytest.fixture
def mesh() -> FaceMesh:
    return FaceMesh()


def gap(face: Face) -> float:
    return float(np.linalg.norm(np.subtract(*face.landmarks[[UPPER_LIP, LOWER_LIP], :2])))


@pytest.mark.parametrize(
    ("width", "height", "x", "y", "size"),
    [(512, 512, 256, 250, 230), (960, 540, 700, 270, 200), (360, 640, 170, 300, 120)],
)
def test_landmarks_lie_where_the_face_was_drawn(mesh, width, height, x, y, size):
    face = mesh.find(draw_face(width=width, height=height, x=x, y=y, size=size))

    assert face is not None
    assert face.score > 0.9
    assert face.landmarks.shape == (faces.LANDMARK_COUNT, 3)
    assert face.landmarks.dtype == np.float32
    nose, chin = face.landmarks[NOSE_TIP], face.landmarks[CHIN]
    assert nose[0] == pytest.approx(x, abs=0.04 * size)
    assert chin[0] == pytest.approx(x, abs=0.04 * size)
    assert chin[1] == pytest.approx(y + 0.5 * size, abs=0.06 * size)


def test_a_tilted_face_has_tilted_eyes(mesh):
    face = mesh.find(draw_face(tilt_deg=20, size=180))

    assert face is not None
    right, down = (
        face.landmarks[faces.RIGHT_EYE_OUTER, :2] - face.landmarks[faces.LEFT_EYE_OUTER, :2]
    )
    assert np.degrees(np.arctan2(down, right)) == pytest.approx(20, abs=3)


def test_the_gap_of_the_lips_grows_with_the_drawn_mouth(mesh):
    gaps = [gap(mesh.find(draw_face(mouth_open=opening))) for opening in (0, 0.35, 0.7, 1.0)]

    assert gaps == sorted(gaps)
    assert gaps[-1] > 5 * gaps[0]


def test_a_moving_face_is_followed_without_the_detector(mesh, monkeypatch):
    mesh.find(draw_face(x=220))
    monkeypatch.setattr(FaceDetector, "detect", lambda *_: pytest.fail("asked the detector"))

    for x in range(224, 260, 4):
        face = mesh.find(draw_face(x=x))
        assert face is not None
        assert face.landmarks[NOSE_TIP, 0] == pytest.approx(x, abs=6)


def test_tracked_and_found_landmarks_agree(mesh):
    mesh.find(draw_face(x=250))
    tracked = mesh.find(draw_face(x=254))
    found = FaceMesh().find(draw_face(x=254))

    assert tracked is not None
    assert found is not None
    assert np.abs(tracked.landmarks - found.landmarks)[:, :2].max() < 3


@pytest.mark.parametrize("crop", [Crop(), Crop(0.03, -0.03, 1.06, 0.05), Crop(zoom=0.92)])
def test_another_look_at_a_face_agrees_with_the_first(mesh, crop):
    picture = draw_face()
    first = mesh.find(picture)
    again = mesh.find_again(picture, first, crop)

    assert again is not None
    assert np.abs(again.landmarks - first.landmarks)[:, :2].max() < 6


def test_a_face_that_jumps_across_the_picture_is_found_again(mesh):
    mesh.find(draw_face(width=960, x=200, size=180))
    face = mesh.find(draw_face(width=960, x=760, size=180))

    assert face is not None
    assert face.landmarks[NOSE_TIP, 0] == pytest.approx(760, abs=8)


def test_no_face_is_none_and_is_forgotten(mesh):
    mesh.find(draw_face())
    noise = np.random.default_rng(7).integers(0, 256, (512, 512, 3), np.uint8)

    assert mesh.find(noise) is None
    assert mesh.find(np.full((40, 30, 3), 128, np.uint8)) is None
    assert mesh.find(draw_face(x=330, size=150)) is not None


def test_two_faces_are_both_detected_largest_first():
    picture = np.hstack(
        [
            draw_face(width=320, height=512, x=160, y=240, size=140),
            draw_face(width=320, height=512, x=160, y=240, size=220),
        ]
    )

    near, far = FaceDetector().detect(picture)

    assert near.size > far.size
    assert near.x == pytest.approx(480, abs=25)
    assert far.x == pytest.approx(160, abs=25)


def test_size_and_interocular_scale_with_the_face(mesh):
    small = mesh.find(draw_face(size=120))
    mesh.forget()
    large = mesh.find(draw_face(size=240))

    assert small is not None
    assert large is not None
    assert large.size == pytest.approx(2 * small.size, rel=0.1)
    assert large.interocular == pytest.approx(2 * small.interocular, rel=0.1)


def test_the_nets_are_the_ones_the_notice_names():
    nets = Path(faces.__file__).parent / "nets"
    notice = (nets / "NOTICE").read_text()

    for net in nets.glob("*.tflite"):
        assert f"{hashlib.sha256(net.read_bytes()).hexdigest()}  {net.name}" in notice
