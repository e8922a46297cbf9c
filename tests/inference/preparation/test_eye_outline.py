"""Eyes that are larger than their landmarks, as drawn figures have them."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.engines.viseme.renderers.warp import LIDS
from inference.faces.mesh import FaceMesh
from inference.media.types import Picture
from inference.preparation.eye_outline import on_eye_outlines
from tests.drawn_face import draw_face

_LID_POINTS = sorted({point for lids in LIDS for lid in lids for point in lid})


@pytest.fixture(scope="module")
def landmarks() -> np.ndarray:
    """Return those of the face below, float32 ``[468, 2]``."""
    face = FaceMesh().find(draw_face(size=400))
    assert face is not None
    return face.landmarks[:, :2].copy()


def with_eyes(landmarks: np.ndarray, wider: float, higher: float) -> tuple[Picture, np.ndarray]:
    """Draw eyes that are so much larger than their landmarks; return where they are, too."""
    rgb = draw_face(size=400)
    skin = rgb[300, 256].tolist()
    eyes = np.zeros(rgb.shape[:2], np.uint8)
    for upper, lower in LIDS:
        outline = landmarks[[*upper, *lower]]
        middle, half = (outline.max(0) + outline.min(0)) / 2, np.ptp(outline, axis=0) / 2
        place = int(middle[0]), int(middle[1])
        cv2.ellipse(rgb, place, (70, 60), 0, 0, 360, skin, -1)
        size = round(half[0] * wider), round(half[1] * higher)
        for picture, color in ((rgb, (240, 240, 245)), (eyes, 1)):
            cv2.ellipse(picture, place, size, 0, 0, 360, color, -1)
        cv2.circle(rgb, place, round(size[1] * 0.8), (60, 90, 150), -1)
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), np.uint8), eyes


def left_open(landmarks: np.ndarray, eyes: np.ndarray) -> float:
    """Return which share of the eyes is below their lower lids."""
    rows, columns = np.indices(eyes.shape)
    below = 0
    for _, lower in LIDS:
        x, y = landmarks[lower][np.argsort(landmarks[lower][:, 0])].T
        near = np.abs(columns - x.mean()) < np.ptp(x)
        below += int((eyes.astype(bool) & near & (rows > np.interp(columns, x, y) + 1)).sum())
    return below / int(eyes.sum())


@settings(max_examples=10)
@given(wider=st.floats(1.1, 1.2), higher=st.floats(1.8, 2.4))
def test_lids_go_round_the_whole_of_a_large_eye(landmarks, wider, higher):
    picture, eyes = with_eyes(landmarks, wider, higher)

    found = on_eye_outlines(picture, landmarks)

    assert left_open(found, eyes) < 0.03 < left_open(landmarks, eyes)
    others = np.setdiff1d(np.arange(468), _LID_POINTS)
    np.testing.assert_array_equal(found[others], landmarks[others])
    np.testing.assert_array_equal(found, on_eye_outlines(picture, landmarks))


@settings(max_examples=10)
@given(size=st.floats(0.8, 1.05))
def test_lids_of_eyes_like_peoples_stay(landmarks, size):
    picture, _ = with_eyes(landmarks, size, size)
    np.testing.assert_allclose(on_eye_outlines(picture, landmarks), landmarks, atol=1e-3)


def test_one_large_eye_alone_is_a_shadow(landmarks):
    picture, _ = with_eyes(landmarks, 1.15, 2.1)
    other, _ = with_eyes(landmarks, 1, 1)
    picture[:512, 256:] = other[:512, 256:]
    planes, others = (every[512:].reshape(2, 256, 256) for every in (picture, other))
    planes[:, :, 128:] = others[:, :, 128:]
    np.testing.assert_allclose(on_eye_outlines(picture, landmarks), landmarks, atol=1e-3)


def test_what_shows_no_eyes_leaves_the_landmarks(landmarks):
    flat = np.full((768, 512), 128, np.uint8)
    np.testing.assert_allclose(on_eye_outlines(flat, landmarks), landmarks, atol=1e-3)
    turned = landmarks.copy()
    turned[:, 0] = 512 - turned[:, 0]
    np.testing.assert_array_equal(on_eye_outlines(flat, turned), turned)
