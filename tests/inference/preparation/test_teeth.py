"""A person's own teeth: found where they are plain to see, and nowhere else."""

import cv2
import numpy as np
import pytest

from inference.engines.viseme.renderers.face_frame import COLUMN_X, FaceFrame, face_frame
from inference.engines.viseme.renderers.mouth_textures import SIZE, OwnTeeth, upper_teeth
from inference.engines.viseme.renderers.warp import WarpedMouth
from inference.engines.viseme.shape import MouthShape
from inference.errors import AvatarInvalid
from inference.faces.mesh import FaceMesh
from inference.media.compositor import paste
from inference.media.types import Picture
from inference.preparation.teeth import open_mouths, own_teeth
from tests.drawn_face import draw_face

DARK, WHITE, PINK = (34, 18, 18), (236, 234, 224), (190, 96, 100)
LIT_LIP = (226, 172, 170)
LENGTH = 0.12
"""Of the drawn teeth, in mouth widths."""


def landmarks_of(rgb: np.ndarray) -> np.ndarray:
    face = FaceMesh().find(rgb)
    assert face is not None
    return np.ascontiguousarray(face.landmarks[:, :2])


def with_teeth(
    rgb: np.ndarray,
    landmarks: np.ndarray,
    color: tuple[int, int, int] = WHITE,
    length: float = LENGTH,
    reach: float = 0.42,
) -> np.ndarray:
    """Paint the opening dark, with a row of ``length`` hanging from the upper lip."""
    frame = face_frame(landmarks)
    assert isinstance(frame, FaceFrame)
    rows, columns = np.mgrid[: rgb.shape[0], : rgb.shape[1]]
    to_face = cv2.invertAffineTransform(frame.to_picture)
    x, y = (to_face[k, 0] * columns + to_face[k, 1] * rows + to_face[k, 2] for k in range(2))
    upper = np.interp(x, COLUMN_X, frame.inner_upper)
    lower = np.interp(x, COLUMN_X, frame.inner_lower)
    is_inside = (y > upper) & (y < lower) & (x > frame.left) & (x < frame.right)
    painted = rgb.copy()
    painted[is_inside] = DARK
    painted[is_inside & (y < upper + length) & (np.abs(x) < reach)] = color
    return painted


def to_i420(rgb: np.ndarray) -> Picture:
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), np.uint8)


@pytest.fixture(scope="module")
def laughing() -> tuple[np.ndarray, np.ndarray]:
    rgb = draw_face(size=300, mouth_open=1.0)
    return rgb, landmarks_of(rgb)


@pytest.fixture(scope="module")
def resting() -> tuple[np.ndarray, np.ndarray]:
    rgb = draw_face(size=300)
    return rgb, landmarks_of(rgb)


def teeth_of(rgb: np.ndarray, landmarks: np.ndarray) -> np.ndarray | None:
    return own_teeth([(to_i420(rgb), landmarks)], landmarks)


def test_a_row_before_the_dark_is_cut_out_along_its_edge(laughing):
    rgb, landmarks = laughing
    texture = teeth_of(with_teeth(rgb, landmarks), landmarks)
    assert texture is not None
    assert texture.shape == (SIZE[1], SIZE[0], 4)
    opacity = texture[..., 3].astype(np.float32)
    middle = slice(SIZE[0] // 2 - 15, SIZE[0] // 2 + 15)
    # The tips lie on the middle line: all above it, nothing below.
    assert opacity[: SIZE[1] // 2 - 4, middle].min() > 0.98
    assert opacity[SIZE[1] // 2 + 4 :, middle].max() < 0.02
    # And the row ends at its sides.
    assert opacity[:, :8].max() == opacity[:, -8:].max() == 0


def test_they_have_their_own_color(laughing):
    rgb, landmarks = laughing
    for color in (WHITE, (214, 200, 160)):
        texture = teeth_of(with_teeth(rgb, landmarks, color), landmarks)
        assert texture is not None
        expected = cv2.cvtColor(np.full((2, 2, 3), color, np.uint8), cv2.COLOR_RGB2YUV_I420)
        _, u, v = OwnTeeth.of(texture.astype(np.float32)).color
        assert (u, v) == pytest.approx(expected[2, [0, 1]].tolist(), abs=4)


def test_light_on_the_face_is_light_on_the_teeth(laughing):
    rgb, landmarks = laughing
    bright = with_teeth(rgb, landmarks)
    dim = np.rint(bright * 0.6).astype(np.uint8)
    textures = [teeth_of(picture, landmarks) for picture in (bright, dim)]
    assert textures[0] is not None
    assert textures[1] is not None
    first, second = (OwnTeeth.of(texture.astype(np.float32)) for texture in textures)
    assert first.color[0] == pytest.approx(second.color[0], abs=0.08)


@pytest.mark.parametrize(
    ("color", "length", "reach"),
    [
        pytest.param(DARK, LENGTH, 0.42, id="an empty mouth"),
        pytest.param(PINK, LENGTH, 0.42, id="a tongue"),
        pytest.param(LIT_LIP, LENGTH, 0.42, id="a lip in the light"),
        pytest.param((60, 90, 200), LENGTH, 0.42, id="something blue"),
        pytest.param((110, 108, 104), LENGTH, 0.42, id="something gray"),
        pytest.param(WHITE, 1.0, 0.42, id="clenched teeth that touch the lower lip"),
        pytest.param(WHITE, 0.03, 0.42, id="a gleam"),
        pytest.param(WHITE, LENGTH, 0.08, id="one tooth"),
    ],
)
def test_what_is_not_a_row_is_not_taken(laughing, color, length, reach):
    rgb, landmarks = laughing
    assert teeth_of(with_teeth(rgb, landmarks, color, length, reach), landmarks) is None


def test_teeth_behind_a_microphone_are_not_taken(laughing):
    rgb, landmarks = laughing
    shown = with_teeth(rgb, landmarks, length=0.15)
    width = float(landmarks[291, 0] - landmarks[61, 0])
    x, y = landmarks[13]
    radius = 0.3 * width
    middle = round(float(x)), round(float(y) + 0.09 * width + radius)
    held = cv2.circle(shown.copy(), middle, round(radius), DARK, -1)
    assert teeth_of(shown, landmarks) is not None
    assert teeth_of(held, landmarks) is None


@pytest.mark.parametrize(("below", "reach"), [(0.0, 0.9), (0.03, 0.9), (0.08, 0.42)])
def test_a_white_pen_is_not_taken_for_teeth(laughing, below, reach):
    rgb, landmarks = laughing
    shown = with_teeth(rgb, landmarks, DARK)
    width = float(landmarks[291, 0] - landmarks[61, 0])
    x, y = landmarks[13]
    left, right = round(float(x - reach * width)), round(float(x + reach * width))
    top, bottom = round(float(y + below * width)), round(float(y + (below + 0.09) * width))
    cv2.rectangle(shown, (left, top), (right, bottom), WHITE, -1)
    assert teeth_of(shown, landmarks) is None


def test_a_gap_between_two_teeth_is_no_dark_stripe(laughing):
    rgb, landmarks = laughing
    shown = with_teeth(rgb, landmarks)
    width = float(landmarks[291, 0] - landmarks[61, 0])
    x = round(float(landmarks[13, 0] + 0.2 * width))
    is_tooth = (shown[:, x : x + 3] == WHITE).all(2)
    shown[:, x : x + 3][is_tooth] = (150, 146, 138)
    texture, even = (teeth_of(rgb, landmarks) for rgb in (shown, with_teeth(rgb, landmarks)))
    assert texture is not None
    assert even is not None
    row = slice(SIZE[1] // 2 - 12, SIZE[1] // 2 - 4)
    light, expected = (
        one[row, SIZE[0] // 2 - 30 : SIZE[0] // 2 + 30, 0].astype(float).mean(0)
        for one in (texture, even)
    )
    assert 0.8 < (light / expected).min() < 0.95


@pytest.mark.parametrize("edge", ["left", "right", "bottom"])
def test_a_mouth_at_the_edge_of_the_picture_has_none(laughing, edge):
    rgb, landmarks = laughing
    shown = with_teeth(rgb, landmarks)
    x, y = (round(float(k) / 2) * 2 for k in landmarks[[13, 14]].mean(0))
    y = round(float(landmarks[13, 1]) / 2) * 2 + 4
    if edge == "left":
        shown, landmarks = shown[:, x:], landmarks - np.array([x, 0], np.float32)
    elif edge == "right":
        shown = shown[:, :x]
    else:
        shown = shown[:y]
    assert teeth_of(np.ascontiguousarray(shown), landmarks) is None


def test_a_shut_mouth_shows_none(resting):
    assert teeth_of(*resting) is None


def test_the_picture_that_shows_most_is_taken(laughing, resting):
    rgb, landmarks = laughing
    pictures = [
        (to_i420(resting[0]), resting[1]),
        (to_i420(with_teeth(rgb, landmarks, reach=0.3)), landmarks),
        (to_i420(with_teeth(rgb, landmarks)), landmarks),
    ]
    best = own_teeth(pictures, resting[1])
    alone = own_teeth(pictures[2:], resting[1])
    assert best is not None
    assert alone is not None
    np.testing.assert_array_equal(best, alone)


def test_a_face_further_away_has_teeth_of_the_same_size(laughing):
    rgb, landmarks = laughing
    texture = teeth_of(with_teeth(rgb, landmarks), landmarks)
    small = cv2.resize(with_teeth(rgb, landmarks), None, fx=0.7, fy=0.7)
    small = small[: small.shape[0] // 2 * 2, : small.shape[1] // 2 * 2]
    smaller = own_teeth([(to_i420(small), landmarks * 0.7)], landmarks)
    assert texture is not None
    assert smaller is not None
    seen, seen_smaller = (one[..., 3].astype(np.float32).sum() for one in (texture, smaller))
    assert seen_smaller == pytest.approx(seen, rel=0.05)


def test_drawn_teeth_beside_them_are_as_light(laughing):
    rgb, landmarks = laughing
    texture = teeth_of(with_teeth(rgb, landmarks), landmarks)
    assert texture is not None
    own = OwnTeeth.of(texture.astype(np.float32))
    shade, opacity = upper_teeth()
    both = (own.texture[..., 3] > 0.9) & (opacity > 0.9)
    lights = own.texture[..., 0][both].mean(), own.color[0] * shade[both].mean()
    assert lights[1] == pytest.approx(lights[0], rel=0.08)


def test_open_mouths_are_seen_from_the_front(laughing, resting):
    landmarks = np.stack([resting[1], laughing[1], laughing[1], laughing[1]])
    pose = np.zeros((4, 3), np.float32)
    pose[2] = 30, 0, 0
    is_usable = np.array([True, True, True, False])
    assert open_mouths(landmarks, is_usable, pose) == [1]


def test_open_mouths_are_some_pictures_apart(laughing):
    landmarks = np.repeat(laughing[1][None], 100, 0)
    chosen = open_mouths(landmarks, np.ones(100, bool), np.zeros((100, 3), np.float32))
    assert len(chosen) == 12
    assert min(abs(a - b) for a in chosen for b in chosen if a != b) >= 5


def test_a_mouth_that_opens_shows_them(laughing, resting):
    rgb, landmarks = laughing
    texture = own_teeth(
        [(to_i420(with_teeth(rgb, landmarks, (214, 200, 160))), landmarks)], resting[1]
    )
    assert texture is not None
    picture, place = to_i420(resting[0]), resting[1][None]
    shape = MouthShape(open=0.9, teeth=0.8)
    lips_x, lips_y = resting[1][[13, 14]].mean(0).round().astype(int)
    seen = []
    for teeth in (None, OwnTeeth.of(texture.astype(np.float32))):
        patch = WarpedMouth({"": place}, teeth).render("", 0, picture, shape)
        assert patch is not None
        shown = cv2.cvtColor(paste(picture, patch), cv2.COLOR_YUV2RGB_I420)
        seen.append(shown[lips_y - 2 : lips_y + 2, lips_x - 8 : lips_x + 8].mean((0, 1)))
    drawn, own = seen
    # Yellowish teeth: less blue against red than drawn ones.
    assert own[2] / own[0] < drawn[2] / drawn[0] - 0.08


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "teeth.npy"
    assert OwnTeeth.read(path) is None
    wrong: list[np.ndarray] = [
        np.zeros((SIZE[1], SIZE[0], 3), np.float16),
        np.zeros((SIZE[1], SIZE[0], 4), np.float32),
        np.full((SIZE[1], SIZE[0], 4), np.nan, np.float16),
        np.full((SIZE[1], SIZE[0], 4), np.inf, np.float16),
        np.full((SIZE[1], SIZE[0], 4), 60_000, np.float16),
        np.full((SIZE[1], SIZE[0], 4), -1, np.float16),
    ]
    for values in wrong:
        np.save(path, values)
        with pytest.raises(AvatarInvalid, match=r"teeth\.npy"):
            OwnTeeth.read(path)
    path.write_bytes(b"no array")
    with pytest.raises(AvatarInvalid, match=r"teeth\.npy"):
        OwnTeeth.read(path)
