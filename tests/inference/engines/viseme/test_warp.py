"""The warped mouth: still at rest, exact outside, continuous, and it opens when told to."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.assets.manifest import ClipEntry, Manifest, ProfileEntry
from inference.engines.viseme.renderers.face_frame import (
    COLUMN_X,
    COLUMNS,
    INNER_LOWER,
    INNER_UPPER,
    OUTER_LOWER,
    OUTER_UPPER,
    FaceFrame,
    face_frame,
)
from inference.engines.viseme.renderers.mouth_interior import Placement, Tint, paint_interior
from inference.engines.viseme.renderers.warp import WarpedMouth
from inference.engines.viseme.renderers.warp_field import ROWS, warp_field
from inference.engines.viseme.shape import MouthShape
from inference.errors import AvatarInvalid
from inference.faces.mesh import FaceMesh
from inference.media.types import Patch, Picture
from tests.drawn_face import draw_face

CLIP = "idle_0"
AA = MouthShape(open=0.95, wide=0.15, teeth=0.8)


def to_i420(rgb: np.ndarray) -> Picture:
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), np.uint8)


def to_rgb(picture: Picture) -> np.ndarray:
    return cv2.cvtColor(picture, cv2.COLOR_YUV2RGB_I420)


def paste(picture: Picture, patch: Patch) -> Picture:
    out = picture.copy()
    height, width = picture.shape[0] * 2 // 3, picture.shape[1]
    chroma = out[height:].reshape(2, height // 2, width // 2)
    h, w = patch.y_plane.shape
    out[patch.y : patch.y + h, patch.x : patch.x + w] = patch.y_plane
    rows = slice(patch.y // 2, patch.y // 2 + h // 2)
    columns = slice(patch.x // 2, patch.x // 2 + w // 2)
    chroma[0, rows, columns] = patch.u_plane
    chroma[1, rows, columns] = patch.v_plane
    return out


def lip_gap(picture: Picture) -> float:
    face = FaceMesh().find(to_rgb(picture))
    assert face is not None
    return float(np.linalg.norm(np.subtract(*face.landmarks[[13, 14], :2]))) / face.interocular


@pytest.fixture(scope="module")
def textured() -> Picture:
    """A drawn face with grain all over, so that any movement of pixels can be seen."""
    grain = np.random.default_rng(3).normal(0, 6, (512, 512, 1))
    return to_i420(np.clip(draw_face() + grain, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def landmarks() -> np.ndarray:
    closed = FaceMesh().find(draw_face())
    smiling = FaceMesh().find(draw_face(mouth_open=0.3))
    assert closed is not None
    assert smiling is not None
    return np.stack([closed.landmarks[:, :2], smiling.landmarks[:, :2]])


@pytest.fixture
def mouth(landmarks) -> WarpedMouth:
    return WarpedMouth({CLIP: landmarks})


def render(mouth: WarpedMouth, picture: Picture, shape: MouthShape, index: int = 0) -> Picture:
    patch = mouth.render(CLIP, index, picture, shape)
    return picture if patch is None else paste(picture, patch)


def test_the_rest_pose_is_the_picture_itself(mouth, textured):
    assert mouth.render(CLIP, 0, textured, MouthShape()) is None
    assert mouth.render(CLIP, 0, textured, MouthShape(teeth=1, tongue=1)) is None


def test_patch_is_even_inside_the_picture_and_of_matching_planes(mouth, textured):
    patch = mouth.render(CLIP, 0, textured, AA)

    assert patch is not None
    height, width = patch.y_plane.shape
    assert [v % 2 for v in (patch.x, patch.y, width, height)] == [0, 0, 0, 0]
    assert patch.x >= 0
    assert patch.y >= 0
    assert patch.x + width <= 512
    assert patch.y + height <= 512
    assert patch.u_plane.shape == patch.v_plane.shape == (height // 2, width // 2)
    assert {p.dtype for p in (patch.y_plane, patch.u_plane, patch.v_plane)} == {np.dtype(np.uint8)}
    assert all(p.flags.c_contiguous for p in (patch.y_plane, patch.u_plane, patch.v_plane))


def test_pixels_at_the_patch_edge_and_of_the_eyes_are_untouched(mouth, textured, landmarks):
    patch = mouth.render(CLIP, 0, textured, AA)
    assert patch is not None
    shown = paste(textured, patch)
    height, width = patch.y_plane.shape
    before = textured[patch.y : patch.y + height, patch.x : patch.x + width]

    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        np.testing.assert_array_equal(patch.y_plane[edge], before[edge])
    nose = int(landmarks[0, 2, 1])
    eyes = slice(0, int(landmarks[0, 195, 1]))
    np.testing.assert_array_equal(shown[eyes], textured[eyes])
    assert (shown[nose:512] != textured[nose:512]).any()


def test_the_picture_given_is_not_written_to(mouth, textured):
    before = textured.copy()
    mouth.render(CLIP, 0, textured, AA)
    np.testing.assert_array_equal(textured, before)


def test_the_gap_of_the_lips_follows_open(mouth):
    picture = to_i420(draw_face())
    gaps = [lip_gap(render(mouth, picture, MouthShape(open=o, teeth=0.5))) for o in (0, 0.4, 0.9)]

    assert gaps[0] < gaps[1] < gaps[2]
    assert gaps[2] > gaps[0] + 0.15


def test_press_shuts_an_open_mouth(mouth):
    picture = to_i420(draw_face(mouth_open=0.3))
    assert lip_gap(render(mouth, picture, MouthShape(press=1), index=1)) < 0.6 * lip_gap(picture)


def test_wide_and_round_move_the_corners_apart_and_together(mouth):
    picture = to_i420(draw_face())

    def width(shape: MouthShape) -> float:
        face = FaceMesh().find(to_rgb(render(mouth, picture, shape)))
        assert face is not None
        return float(np.linalg.norm(np.subtract(*face.landmarks[[61, 291], :2])))

    rest = width(MouthShape())
    assert width(MouthShape(wide=1)) > rest + 2
    assert width(MouthShape(open=0.2, wide=-0.7, round=1)) < rest - 4


@pytest.mark.parametrize(
    ("shape", "least", "most"),
    [
        (MouthShape(open=0.3, wide=0.6), 1.05, 1.12),
        (MouthShape(open=0.3, wide=-0.5, round=0.3), 0.80, 0.88),
        (MouthShape(open=0.3, wide=-0.5, round=1), 0.62, 0.70),
    ],
    ids=["spread", "a little round", "round"],
)
def test_the_corners_go_as_far_as_lips_of_people(landmarks, shape, least, most):
    """Less is lost to a viewer: of [i] and a weak [w] nobody saw which was which."""
    frame = face_frame(landmarks[0])
    assert frame is not None
    field = warp_field(frame, shape)
    height = round(-frame.y_range[0] / (frame.y_range[1] - frame.y_range[0]) * (ROWS - 1))
    left, right = np.interp(
        [frame.left, frame.right], COLUMN_X + field.across[height], COLUMN_X
    ).tolist()
    assert least < (right - left) / (frame.right - frame.left) < most


@pytest.mark.parametrize("shape", [MouthShape(open=0.3, wide=-0.5, round=1), MouthShape(wide=1)])
def test_the_nose_keeps_its_width(landmarks, shape):
    frame = face_frame(landmarks[0])
    assert frame is not None
    field = warp_field(frame, shape)
    rows = np.linspace(*frame.y_range, ROWS)[:, None]
    assert np.abs(field.across[rows < frame.curves[0]]).max() < 1e-6


@pytest.mark.parametrize(
    "also", [{"press": 0.4}, {"tuck": 0.5}, {"tuck": 1.0}], ids=["press", "half tuck", "tuck"]
)
def test_lips_that_begin_to_close_are_as_open_as_the_shape_says(landmarks, also):
    """What [p b m f v] close is in ``open`` already: it is not to be taken away twice."""
    frame = face_frame(landmarks[0])
    assert frame is not None

    def gap(shape: MouthShape) -> float:
        field = warp_field(frame, shape)
        return float((field.lower - field.upper).max())

    assert gap(MouthShape(open=0.3, **also)) == pytest.approx(gap(MouthShape(open=0.3)), rel=0.05)


unit = st.floats(0, 1, allow_subnormal=False)
either_way = st.floats(-1, 1, allow_subnormal=False)
shapes = st.builds(MouthShape, unit, either_way, unit, unit, unit, unit, unit, either_way)


@settings(max_examples=60)
@given(shape=shapes, other=shapes, index=st.sampled_from([0, 1]))
def test_a_small_step_of_the_shape_is_a_small_step_of_the_picture(
    landmarks, textured, shape, other, index
):
    """Continuity in all parameters, through rest, on a closed and on an open source mouth.

    Of the smaller step, the 32nd of a cell is left that OpenCV rounds to, at the edge of teeth.
    """
    mouth = WarpedMouth({CLIP: landmarks})
    smooth = cv2.GaussianBlur(textured, (0, 0), 3)
    here = render(mouth, smooth, shape, index).astype(int)
    for step in (0.002, 0.0002):
        near = MouthShape(*(a + step * (b - a) for a, b in zip(shape, other, strict=True)))
        there = render(mouth, smooth, near, index).astype(int)
        assert np.abs(here - there).max() <= 16, step


@pytest.mark.parametrize("lips", [{"press": 1.0}, {"tuck": 1.0, "open": 0.06}])
def test_lips_close_by_themselves_and_the_chin_does_not_follow(landmarks, lips):
    """The jaw hung on the lips: at every [p] the chin snapped up."""
    face = face_frame(landmarks[0])

    def moved(shape: MouthShape) -> np.ndarray:
        """How far what is on each row of the middle column has come down."""
        return -warp_field(face, shape).down[:, COLUMNS // 2]

    rows = np.linspace(*face.y_range, ROWS)
    chin = int(np.abs(rows - face.curves[5, COLUMNS // 2] - 0.05).argmin())
    alone, talking = moved(MouthShape(**lips)), moved(MouthShape(**lips, jaw=0.3))
    assert abs(alone[chin]) < 0.05
    assert 0.06 < talking[chin] < 0.2
    fields = [warp_field(face, MouthShape(**lips, jaw=jaw)) for jaw in (0.0, 0.3)]
    np.testing.assert_array_equal(fields[0].upper, fields[1].upper)
    np.testing.assert_array_equal(fields[0].lower, fields[1].lower)
    assert abs(talking[-1]) < 1e-6


@settings(max_examples=40)
@given(shape=shapes)
def test_any_shape_gives_a_patch_of_the_same_place(landmarks, textured, shape):
    patch = WarpedMouth({CLIP: landmarks}).render(CLIP, 0, textured, shape)
    full = WarpedMouth({CLIP: landmarks}).render(CLIP, 0, textured, AA)

    assert full is not None
    if patch is not None:
        assert (patch.x, patch.y, patch.y_plane.shape) == (full.x, full.y, full.y_plane.shape)


def test_a_face_at_the_picture_s_edge_gives_a_patch_inside_it():
    drawn = draw_face(x=60, y=440)
    face = FaceMesh().find(draw_face(x=256, y=250))
    assert face is not None
    moved = (face.landmarks[None, :, :2] + np.array([60 - 256, 440 - 250], np.float32)).astype(
        np.float32
    )

    patch = WarpedMouth({CLIP: moved}).render(CLIP, 0, to_i420(drawn), AA)

    assert patch is not None
    assert patch.x == 0
    assert patch.y + patch.y_plane.shape[0] == 512


def test_a_picture_without_a_face_is_left_alone(landmarks, textured):
    lost = landmarks.copy()
    lost[1] = np.nan
    mouth = WarpedMouth({CLIP: lost})

    assert mouth.render(CLIP, 1, textured, AA) is None
    assert mouth.render("action_1", 0, textured, AA) is None
    assert mouth.render(CLIP, 0, textured, AA) is not None


def test_threads_agree_with_one_another(landmarks, textured):
    alone = WarpedMouth({CLIP: landmarks}).render(CLIP, 0, textured, AA)
    mouth = WarpedMouth({CLIP: landmarks})
    with ThreadPoolExecutor(4) as pool:
        patches = list(pool.map(lambda i: mouth.render(CLIP, i % 2, textured, AA), range(32)))

    assert alone is not None
    for patch in patches[::2]:
        assert patch is not None
        np.testing.assert_array_equal(patch.y_plane, alone.y_plane)


def manifest(frames: int) -> Manifest:
    profile = ProfileEntry(512, 512, 25, 25, 21, 2500, "superfast", "3.0", "avc1.42C01E")
    clip = ClipEntry(CLIP, "idle", [1] * frames, [0], [frames])
    return Manifest(1, "v", "drawn", "warp", profile, [clip])


def test_open_reads_the_landmarks_of_an_asset_folder(tmp_path: Path, landmarks, textured):
    (tmp_path / "clips").mkdir()
    np.save(tmp_path / "clips" / f"{CLIP}.landmarks.npy", landmarks)

    patch = WarpedMouth.open(tmp_path, manifest(2)).render(CLIP, 0, textured, AA)

    expected = WarpedMouth({CLIP: landmarks}).render(CLIP, 0, textured, AA)
    assert patch is not None
    assert expected is not None
    np.testing.assert_array_equal(patch.y_plane, expected.y_plane)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path, points: None,
        lambda path, points: np.save(path, points[:1]),
        lambda path, points: np.save(path, points.astype(np.float64)),
        lambda path, points: np.save(path, np.array([object()]), allow_pickle=True),
        lambda path, points: path.write_bytes(b"\x93NUMPY"),
        lambda path, points: path.write_bytes(b""),
    ],
    ids=["missing", "too few", "wrong type", "pickled", "truncated", "empty"],
)
def test_open_refuses_landmarks_that_do_not_fit(tmp_path: Path, landmarks, damage):
    (tmp_path / "clips").mkdir()
    damage(tmp_path / "clips" / f"{CLIP}.landmarks.npy", landmarks)

    with pytest.raises(AvatarInvalid):
        WarpedMouth.open(tmp_path, manifest(2))


def corners_below_middle(points: np.ndarray, shape: MouthShape) -> float:
    """How far the mouth's corners are below the middle of its upper edge, in mouth widths."""
    frame = face_frame(points)
    assert frame is not None
    field = warp_field(frame, shape)
    left, middle, right = np.interp([frame.left, 0, frame.right], COLUMN_X, field.upper)
    return float((left + right) / 2 - middle)


def smiling(points: np.ndarray) -> np.ndarray:
    """Raise the corners of the mouth, and what is beside them, by a twelfth of its width."""
    lips = points[[*OUTER_UPPER, *OUTER_LOWER, *INNER_UPPER, *INNER_LOWER]]
    width = float(np.ptp(lips[:, 0]))
    raised = points.copy()
    for line in (OUTER_UPPER, OUTER_LOWER, INNER_UPPER, INNER_LOWER):
        across = (points[line, 0] - lips[:, 0].mean()) / (width / 2)
        raised[line, 1] -= width / 12 * across**2
    return raised


def test_a_smile_is_gone_from_a_wide_open_mouth_and_stays_in_a_spread_one(landmarks):
    plain, smile = landmarks[0], smiling(landmarks[0])
    spread = MouthShape(open=0.25, wide=1, teeth=0.7)

    assert corners_below_middle(smile, AA) > 0.1
    assert corners_below_middle(plain, AA) - corners_below_middle(smile, AA) < 0.05
    assert corners_below_middle(plain, spread) - corners_below_middle(smile, spread) > 0.05


def test_rounded_lips_meet_beside_the_opening(landmarks):
    frame = face_frame(landmarks[0])
    assert frame is not None

    def share_open(shape: MouthShape) -> float:
        field = warp_field(frame, shape)
        gap = (field.lower - field.upper)[(frame.left < COLUMN_X) & (frame.right > COLUMN_X)]
        return float((gap > 0.1 * gap.max()).mean())

    assert share_open(MouthShape(open=0.3, wide=-0.5, round=1)) < 0.7
    # Others meet beside it too, but not so far; only spread ones are open from end to end.
    assert 0.7 < share_open(MouthShape(open=0.3)) < 0.9
    assert share_open(MouthShape(open=0.3, wide=1)) > 0.9


@pytest.fixture
def thin_lips(landmarks) -> FaceFrame:
    """A face whose lips end in the corners of the mouth, as people's do."""
    frame = face_frame(landmarks[0])
    assert frame is not None
    profile = np.clip(1 - (COLUMN_X / frame.right) ** 2, 0, 1).astype(np.float32)
    line = np.zeros_like(profile)
    curves = frame.curves.copy()
    curves[1:5] = -0.10 * profile, line, line, 0.12 * profile
    return replace(frame, left=-frame.right, curves=curves)


def lower_lip(points: np.ndarray, shape: MouthShape) -> tuple[np.ndarray, float]:
    """How thick the lower lip is over `COLUMN_X`, and half of the opening's width."""
    face = face_frame(points)
    assert face is not None
    field = warp_field(face, shape)
    rows = np.linspace(*face.y_range, ROWS)
    edge = np.empty(COLUMNS)
    for column, x in enumerate(COLUMN_X):
        across, down = field.across[:, column], field.down[:, column]
        source = np.interp(x + across, COLUMN_X, face.curves[4])
        edge[column] = np.interp(0, rows + down - source, rows)
    return edge - field.lower, float(COLUMN_X[field.lower - field.upper > 0.02].max())


@pytest.mark.parametrize(("opening", "rounding"), [(0.68, 0.86), (0.6, 1.0), (0.5, 0.7)])
def test_the_lower_lip_of_rounded_open_lips_is_no_bucket(landmarks, opening, rounding):
    usual, _ = lower_lip(landmarks[0], MouthShape(open=opening))
    lip, half = lower_lip(landmarks[0], MouthShape(open=opening, round=rounding))
    middle, beside = np.interp([0, 1.2 * half], COLUMN_X, lip)
    assert middle < 1.15 * usual[COLUMNS // 2]
    assert beside > 0.6 * middle, "it runs on beside the opening"


def test_the_sides_of_an_opening_have_no_stairs(thin_lips):
    """Distances from its edge are straight across it, so it is as soft where it is steep."""
    field = warp_field(thin_lips, MouthShape(open=0.95))

    inside = np.minimum(field.below_upper, field.above_lower)
    low, high = thin_lips.y_range
    step = (high - low) / (len(inside) - 1), COLUMN_X[1] - COLUMN_X[0]
    steepness = np.hypot(*np.gradient(inside, *step))
    assert steepness[np.abs(inside) < 0.03].max() < 1.4


@pytest.mark.parametrize("shape", [MouthShape(open=0.95), MouthShape(open=0.5)])
def test_lips_run_round_the_opening(thin_lips, shape):
    """Beside an open mouth there is lip, as above and below it, and not at once the cheek."""
    field = warp_field(thin_lips, shape)

    low, high = thin_lips.y_range
    y = np.linspace(low, high, len(field.down))[:, None]
    source_x, source_y = COLUMN_X + field.across, y + field.down
    top, bottom = (np.interp(source_x, COLUMN_X, edge) for edge in thin_lips.curves[[1, 4]])
    is_lip = (top < source_y) & (source_y < bottom)
    is_open = field.lower - field.upper > 0.02
    for edge, part in ((field.upper, y < field.upper), (field.lower, y > field.lower)):
        downwards = (is_lip & part).sum(0) * (y[1] - y[0])
        across = downwards / np.hypot(1, np.gradient(edge, COLUMN_X))
        assert across[is_open].min() > 0.02


def test_shutting_takes_the_dark_corners_of_an_open_mouth_along(landmarks):
    """The dark between the lips reaches past the landmarks of the corners; no dot may be left."""
    points = landmarks[1]
    frame = face_frame(points)
    assert frame is not None
    picture = np.full((768, 512), 128, np.uint8)
    picture[:512] = 180
    corner = points[78]
    inward = 0.06 * frame.unit
    cv2.circle(picture[:512], (round(corner[0] + inward), round(corner[1])), 3, 30, -1)

    shown = render(WarpedMouth({CLIP: landmarks}), picture, MouthShape(press=0.12), 1)

    beside = shown[round(corner[1]) - 8 : round(corner[1]) + 9, round(corner[0]) - 6 :][:, :6]
    assert int(picture[:512].min()) == 30
    assert int(beside.min()) > 90


@pytest.mark.parametrize(
    ("gap", "tuck", "least", "most"),
    [(0.14, 0, 0.6, 1.0), (0.05, 0, 0.2, 0.5), (0.05, 1, 0.5, 1.0)],
)
def test_teeth_between_parted_lips_are_light_in_the_middle_and_dark_in_the_corners(
    gap, tuck, least, most
):
    """Lips that just part show a shadow, not a white line; in the corners it is dark anyway.

    Teeth that rest on the lower lip are in front of it, in the light.
    """
    below = np.tile(np.concatenate([np.linspace(0, gap, 30), np.linspace(gap, 0, 30)]), (21, 1))
    down = np.linspace(0, 1, 21)[:, None]
    skin, lip = np.array([180, 110, 150], np.float32), np.array([120, 110, 160], np.float32)
    tint = Tint.of_face(skin, lip)
    to_face = np.array([[1 / 60, 0, -0.5], [0, gap / 20, 0.0]])
    place = Placement(
        to_face, (below * down).astype(np.float32), (below * (1 - down)).astype(np.float32)
    )

    painted = paint_interior(
        place, MouthShape(open=0.25, wide=0.8, tuck=tuck, teeth=1), tint, lip_line=0.0, floor=gap
    )[0]

    assert least < painted[0, 28:32].mean() / tint.teeth[0] < most
    assert painted[:, [0, -1]].max() < tint.dark[0] + 1
