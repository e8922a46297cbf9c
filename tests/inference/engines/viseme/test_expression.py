"""The upper face: moved by as much as is asked for, where it should, and nowhere else."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from inference.engines.viseme.emphasis import Emphasis
from inference.engines.viseme.renderers.expression import express, face_place, is_seen
from inference.engines.viseme.renderers.eyelids import Eye, shut_eye
from inference.media.compositor import paste, planes_of
from inference.media.types import Patch

RANDOM = np.random.default_rng(4)
LEFT, RIGHT = np.array([196.0, 200.0], np.float32), np.array([316.0, 200.0], np.float32)


def eye(x: float) -> Eye:
    along = np.linspace(-1, 1, 7)
    upper = np.stack([x + 18 * along, 200 - 8 * (1 - along**2)], 1)
    lower = np.stack([x + 18 * along, 200 + 6 * (1 - along**2)], 1)
    return Eye(upper.astype(np.float32), lower.astype(np.float32))


FACE = face_place(LEFT, RIGHT, (eye(214), eye(298)))


def bands() -> np.ndarray:
    """A picture of horizontal bands: what moves up or down changes, what moves aside does not."""
    picture = np.full((768, 512), 128, np.uint8)
    picture[:512] = (128 + 80 * np.sin(np.arange(512) / 5))[:, None].astype(np.uint8)
    return picture


def changed(emphasis: Emphasis, mouth: Patch | None = None) -> np.ndarray:
    """Rows and columns of the luma that differ, ``[n, 2]``."""
    picture = bands()
    patch = express(picture, mouth, FACE, emphasis)
    if patch is None:
        return np.empty((0, 2), int)
    return np.argwhere(np.abs(paste(picture, patch)[:512].astype(int) - picture[:512]) > 3)


def mouth_patch() -> Patch:
    return Patch(
        220, 280, *(np.full(size, 200, np.uint8) for size in ((60, 72), (30, 36), (30, 36)))
    )


def test_nothing_is_asked_for_and_nothing_is_made() -> None:
    assert express(bands(), None, FACE, Emphasis()) is None
    mouth = mouth_patch()
    assert express(bands(), mouth, FACE, Emphasis(0.1, 0.1, 0.01)) is mouth


def test_brows_move_above_the_eyes_alone() -> None:
    rows, columns = changed(Emphasis(brows=1)).T
    assert rows.min() > 200 - 0.65 * 120
    assert rows.max() < 200 - 8
    assert columns.min() > 256 - 0.75 * 120
    assert columns.max() < 256 + 0.75 * 120


def test_brows_rise_and_do_not_sink() -> None:
    picture = bands()
    picture[:512] = 200
    picture[172:178] = 40  # a brow
    patch = express(picture, None, FACE, Emphasis(brows=1))
    assert patch is not None
    column = paste(picture, patch)[:512, 220].astype(float)
    middle = float((np.arange(512) * (200 - column)).sum() / (200 - column).sum())
    assert 174.5 - 6 < middle < 174.5 - 2


def test_a_nod_moves_the_features_down_and_leaves_the_outline() -> None:
    rows, columns = changed(Emphasis(nod=1)).T
    assert rows.max() > 300
    assert columns.min() > 256 - 0.8 * 120
    assert columns.max() < 256 + 0.8 * 120


def test_a_blink_moves_the_eyes_alone() -> None:
    rows, columns = changed(Emphasis(blink=1)).T
    assert rows.min() > 170
    assert rows.max() < 212
    assert not ((columns > 236) & (columns < 276)).any()


def one_eye(x: float, y: float, width: float, rise: float, sink: float) -> Eye:
    along = np.linspace(-1, 1, 9)
    upper = np.stack([x + width / 2 * along, y - rise * width * (1 - along**2)], 1)
    lower = np.stack([x + width / 2 * along, y + sink * width * (1 - along**2)], 1)
    return Eye(upper.astype(np.float32), lower.astype(np.float32))


eyes = st.builds(
    one_eye,
    x=st.floats(100, 400),
    y=st.floats(100, 400),
    width=st.floats(24, 90),
    rise=st.floats(0.05, 0.35),
    sink=st.floats(0.02, 0.2),
)


def shut(picture: np.ndarray, eye: Eye, amount: float) -> np.ndarray:
    result = picture.copy()
    shut_eye(Patch(0, 0, *planes_of(result)), eye, amount)
    return result


@settings(max_examples=60)
@given(eye=eyes, seed=st.integers(0, 2**32 - 1))
@example(eye=one_eye(x=100.0, y=100.0, width=39.0, rise=0.25, sink=0.1953125), seed=0)
def test_nothing_of_an_eye_is_seen_under_its_shut_lid(eye: Eye, seed: int) -> None:
    """Whatever color it has: no specks along the line of the lids."""
    picture, other = bands(), bands()
    rows, columns = np.mgrid[:512, :512]
    (left, right), width = eye.upper[[0, -1], 0], np.ptp(eye.upper[:, 0])
    within = np.minimum(columns - left, right - columns) > 0.1 * width
    within &= rows > np.interp(columns, *eye.upper.T) + 3
    within &= rows < np.interp(columns, *eye.lower.T) - 1
    noise = np.random.default_rng(seed)
    for plane, step in zip(planes_of(other), (1, 2, 2), strict=True):
        inner = within[::step, ::step] & within[step - 1 :: step, step - 1 :: step]
        plane[inner] = noise.integers(0, 256, int(inner.sum()))

    np.testing.assert_array_equal(shut(other, eye, 1), shut(picture, eye, 1))


@settings(max_examples=40)
@given(x=st.floats(150, 350), width=st.floats(40, 90), rise=st.floats(0.15, 0.35))
def test_lashes_are_not_drawn_out_to_stripes_on_a_shut_lid(
    x: float, width: float, rise: float
) -> None:
    picture = np.full((768, 512), 128, np.uint8)
    picture[:512] = 170
    eye = one_eye(x, 250, width, rise, 0.1)
    top = 250 - rise * width
    # Lashes as far above the eye as its lid is drawn out of.
    for place in range(int(x - width / 2), int(x + width / 2), 6):
        picture[round(top - 0.3 * width) : round(top - 0.15 * width), place] = 60

    lid = shut(picture, eye, 1)[:512].astype(float)

    row = lid[round(250 - 0.5 * rise * width), round(x - width / 5) : round(x + width / 5)]
    assert np.ptp(row) < 25


@given(
    x=st.floats(180, 330),
    width=st.floats(40, 120),
    rise=st.floats(0.1, 0.25),
    high=st.floats(0.22, 0.28),
)
def test_the_rim_of_glasses_stays_straight_above_a_shut_lid(
    x: float, width: float, rise: float, high: float
) -> None:
    """It was drawn down with the skin."""
    picture = np.full((768, 512), 128, np.uint8)
    picture[:512] = 170
    bottom = round(250 - rise * width - high * width)
    picture[bottom - 12 : bottom] = 40

    result = shut(picture, one_eye(x, 250, width, rise, 0.1), 1.0)

    below = result[bottom + 2 : bottom + 6, round(x) - 4 : round(x) + 4]
    assert below.min() > 130
    moved = result[bottom - 12 : bottom - 2].astype(int) - picture[bottom - 12 : bottom - 2]
    assert np.abs(moved).max() <= 12


@pytest.mark.parametrize("shadow", [55, 80, 110])
def test_a_shut_lid_is_no_dark_hole_in_the_shadow_of_the_brow(shadow: int) -> None:
    picture = np.full((768, 512), 128, np.uint8)
    picture[:512] = 170
    picture[200:250, 180:340] = shadow

    result = shut(picture, one_eye(256, 250, 100, 0.2, 0.1), 1.0)

    lid = result[225:240, 236:276]
    assert 0.68 * 170 < lid.mean() < 170


@settings(max_examples=60)
@given(eye=eyes, amount=st.floats(0, 1))
def test_a_lid_moves_smoothly_and_from_nothing(eye: Eye, amount: float) -> None:
    picture = bands()
    np.testing.assert_array_equal(shut(picture, eye, 0), picture)
    here = shut(picture, eye, amount).astype(int)
    there = shut(picture, eye, min(amount + 0.002, 1.0)).astype(int)
    assert np.abs(here - there).max() <= 16


@pytest.mark.parametrize(("x", "y"), [(0, 0), (511, 300), (250, 511), (-60, 100), (600, 600)])
def test_an_eye_at_the_picture_s_edge_is_shut_as_far_as_it_is_in_it(x: float, y: float) -> None:
    picture = bands()
    moved = np.argwhere(shut(picture, one_eye(x, y, 60, 0.2, 0.1), 1) != picture)
    assert len(moved) == 0 or -40 < x < 552


def test_the_mouth_moves_along() -> None:
    mouth = mouth_patch()
    patch = express(bands(), mouth, FACE, Emphasis(nod=1))
    assert patch is not None
    shown = paste(bands(), patch)
    assert (shown[310, 230:280] == 200).all()
    assert shown[280, 256] < 200  # the skin above has come down


@pytest.mark.parametrize("shift", [(-200, -150), (190, 260), (0, 300)])
def test_a_face_at_the_edge_stays_inside_the_picture(shift: tuple[int, int]) -> None:
    offset = np.array(shift, np.float32)
    face = face_place(LEFT + offset, RIGHT + offset)
    patch = express(bands(), None, face, Emphasis(1, 1, 1))
    if patch is not None:
        height, width = patch.y_plane.shape
        assert patch.x >= 0 <= patch.y
        assert patch.x + width <= 512 >= patch.y + height
        assert not any(value % 2 for value in (patch.x, patch.y, width, height))


def test_the_patch_has_no_edge() -> None:
    picture = bands()
    patch = express(picture, None, FACE, Emphasis(1, 1, 1))
    assert patch is not None
    height, width = patch.y_plane.shape
    box = picture[patch.y : patch.y + height, patch.x : patch.x + width].astype(int)
    difference = np.abs(patch.y_plane - box)
    rim = np.concatenate([difference[0], difference[-1], difference[:, 0], difference[:, -1]])
    assert rim.max() <= 1


@pytest.mark.parametrize("nod", [0.36, 0.5, 0.7])
def test_a_small_nod_moves_a_smaller_part_of_the_face(nod: float) -> None:
    small, large = (express(bands(), None, FACE, Emphasis(nod=strength)) for strength in (nod, 1.0))
    assert large is not None
    if small is not None:
        assert small.y_plane.size < large.y_plane.size


def test_what_nobody_sees_is_not_drawn() -> None:
    far = face_place(np.array([250.0, 200.0], np.float32), np.array([262.0, 200.0], np.float32))
    assert express(bands(), None, far, Emphasis(brows=0.5, nod=0.6)) is None
    assert not is_seen(Emphasis(0.1, 0.1, 0.01))
    assert all(map(is_seen, (Emphasis(brows=0.3), Emphasis(nod=0.5), Emphasis(blink=0.1))))
