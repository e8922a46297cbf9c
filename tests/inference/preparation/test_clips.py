"""Clips come back to the rest picture, begin and end in it, and keep their mouths shut."""

from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from inference.engines.viseme.renderers.face_frame import INNER_LOWER, INNER_UPPER
from inference.engines.viseme.renderers.warp import LIDS
from inference.faces.mesh import FaceMesh
from inference.media.compositor import planes_of
from inference.preparation import cut as cutting
from inference.preparation.choose import BEND, LONGEST, SHORTEST, Appearance, choose, named
from inference.preparation.quiet import MouthCloser, shutting
from inference.preparation.still import MOTION_PRESETS, moved_landmarks, moved_pictures
from tests.drawn_face import draw_face, to_rgb


def appearance(sideways: np.ndarray, mouth: np.ndarray | None = None) -> Appearance:
    """A face that moves ``sideways`` pixels, picture by picture."""
    count = len(sideways)
    firm = np.random.default_rng(1).uniform(100, 400, 32).astype(np.float32)
    moved = np.tile(firm, (count, 1))
    moved[:, ::2] += sideways[:, None].astype(np.float32)
    return Appearance(
        firm=moved,
        surroundings=np.full((count, 4096), 99, np.uint8),
        mouth=np.zeros(count, np.float32) if mouth is None else mouth.astype(np.float32),
        eyes=np.ones(count, np.float32),
    )


def everywhere(count: int) -> np.ndarray:
    return np.ones(count, bool)


def nowhere(count: int) -> np.ndarray:
    return np.zeros(count, bool)


def picture(**drawn: Any) -> np.ndarray:
    return np.asarray(cv2.cvtColor(draw_face(**drawn), cv2.COLOR_RGB2YUV_I420), np.uint8)


def sway(count: int, period: float, reach: float = 12.0) -> np.ndarray:
    return reach * np.sin(2 * np.pi * np.arange(count) / period)


def test_stretches_lie_between_moments_at_rest_and_do_not_overlap():
    looks = appearance(sway(1000, period=90))

    choice = choose(looks, everywhere(1000), nowhere(1000))

    from_rest = looks.distances(choice.rest)
    assert len(choice.stretches) >= 6
    taken = np.zeros(1000, int)
    for stretch in choice.stretches:
        assert SHORTEST <= stretch.end - stretch.start <= LONGEST
        assert from_rest[stretch.start] < 4
        assert from_rest[stretch.end - 1] < 4
        taken[stretch.start : stretch.end] += 1
    assert taken.max() == 1


def test_no_stretch_crosses_a_cut_or_a_bad_picture():
    usable, cut = everywhere(600), nowhere(600)
    usable[200:230] = False
    cut[400] = True

    choice = choose(appearance(sway(600, period=70)), usable, cut)

    assert choice.stretches
    for stretch in choice.stretches:
        assert usable[stretch.start : stretch.end].all()
        assert not cut[stretch.start + 1 : stretch.end].any()


def test_the_rest_picture_is_in_the_usual_pose_with_the_mouth_shut():
    mouth = np.full(400, 0.4)
    mouth[220:240] = 0.0
    looks = appearance(np.where(np.arange(400) < 60, 40.0, 0.0), mouth)

    choice = choose(looks, everywhere(400), nowhere(400))

    assert 220 <= choice.rest < 240


def test_stretches_whose_lips_need_little_shutting_come_first():
    moved = np.concatenate([sway(600, 60, 6.0), sway(600, 60, 4.0)])  # who talks moves even less
    talks = np.where(np.arange(1200) >= 600, 0.25, 0.0)

    choice = choose(appearance(moved, talks), everywhere(1200), nowhere(1200))

    assert len(choice.stretches) >= 4
    assert all(stretch.end <= 625 for stretch in choice.stretches)
    assert {stretch.state for stretch in choice.stretches} == {"idle", "speaking"}

    # A hundred quiet pictures are the idle clip, and the rest is better than nothing.
    little = choose(appearance(moved[500:], talks[500:]), everywhere(700), nowhere(700))

    assert len(little.stretches) >= 4
    (first, *_) = [stretch for stretch in little.stretches if stretch.state == "idle"]
    assert first.end <= 125


def test_someone_who_never_comes_back_runs_forth_and_back():
    choice = choose(appearance(np.linspace(0, 400, 80)), everywhere(80), nowhere(80))

    (stretch,) = choice.stretches
    assert stretch.is_mirrored
    assert stretch.state == "idle"
    order = [mix.source for mix in cutting.cut(stretch, choice.rest)]
    assert order[0] == choice.rest
    assert abs(order[-1] - order[0]) == 1
    assert max(abs(a - b) for a, b in pairwise(order)) == 1


def test_the_calm_idle_the_lively_speak_and_the_far_act():
    calm, lively = sway(600, 60, 3.0), sway(600, 40, 8.0)
    moved = np.concatenate([calm, lively, calm])
    moved[1400:1440] += 60 * np.sin(np.linspace(0, np.pi, 40))

    choice = choose(appearance(moved), everywhere(1800), nowhere(1800))

    idle, speaking, action = (
        [s for s in choice.stretches if s.state == state]
        for state in ("idle", "speaking", "action")
    )
    assert max(s.liveliness for s in idle) <= min(s.liveliness for s in speaking)
    assert all(s.end <= 640 or s.start >= 1160 for s in idle)
    assert any(s.start < 1420 < s.end for s in action)


def test_named_clips_keep_their_names_and_their_whole_length():
    choice = named(
        appearance(sway(300, 60)),
        everywhere(300),
        nowhere(300),
        [(0, 100), (100, 180), (180, 300)],
        ["speaking_2", "idle_0", "action_1"],
    )

    assert [s.state for s in choice.stretches] == ["speaking", "idle", "action"]
    assert [(s.start, s.end) for s in choice.stretches] == [(0, 100), (100, 180), (180, 300)]
    assert 100 <= choice.rest < 180


def test_a_named_clip_with_a_cut_in_it_is_its_longer_part():
    cut = nowhere(200)
    cut[[40, 100]] = True
    choice = named(
        appearance(sway(200, 60)), everywhere(200), cut, [(0, 100), (100, 200)], ["idle_0"] * 2
    )
    assert [(s.start, s.end) for s in choice.stretches] == [(40, 100), (100, 200)]


@settings(max_examples=25)
@given(
    st.integers(120, 500),
    st.floats(20, 160),
    st.floats(0, 60),
    st.lists(st.integers(0, 499), max_size=6),
)
def test_whatever_is_filmed_clips_begin_and_end_at_rest(count, period, reach, cuts):
    cut = nowhere(count)
    cut[[c for c in cuts if 0 < c < count]] = True
    usable = everywhere(count)
    cut[: 2 * SHORTEST] = False
    choice = choose(appearance(sway(count, period, reach)), usable, cut)

    assert any(s.state == "idle" for s in choice.stretches)
    for stretch in choice.stretches:
        mixes = cutting.cut(stretch, choice.rest)
        assert all(0 <= mix.source < count for mix in mixes)
        assert all(0 <= mix.towards < count for mix in mixes)
        first, last = mixes[0], mixes[-1]
        assert (first.towards if first.weight else first.source) == choice.rest
        if not stretch.is_mirrored:
            assert last.weight == 1
            assert last.towards == choice.rest - 1
            assert len(mixes) >= 2 * BEND


def test_a_morph_moves_the_face_instead_of_showing_it_twice():
    left, right = picture(x=250), picture(x=262)

    middle = cutting.morph(left, right, 0.5)

    exact = picture(x=256)

    def sharp(p: np.ndarray) -> float:
        return float(cv2.Laplacian(p[:512], cv2.CV_32F).var())

    faded = cv2.addWeighted(left, 0.5, right, 0.5, 0)
    assert (
        np.abs(middle.astype(int) - exact).mean() < 0.5 * np.abs(faded.astype(int) - exact).mean()
    )
    assert sharp(middle) > 0.75 * sharp(exact)


def test_a_clip_s_pictures_and_landmarks_start_and_end_in_the_rest_picture():
    shown = {k: picture(x=250 + 0.8 * abs(30 - k % 60)) for k in range(60)}
    marks = np.arange(60, dtype=np.float32)[:, None, None] * np.ones((1, 468, 2), np.float32)
    looks = appearance(0.8 * np.abs(30 - np.arange(60) % 60.0))
    choice = choose(looks, everywhere(60), nowhere(60))
    mixes = cutting.cut(choice.stretches[0], choice.rest)

    clip = list(cutting.assemble(mixes, shown.__getitem__))

    np.testing.assert_array_equal(clip[0], shown[choice.rest])
    np.testing.assert_array_equal(mixes[0].landmarks(marks), marks[choice.rest])
    steps = [np.abs(a.astype(int) - b).mean() for a, b in pairwise(clip)]
    seam = np.abs(clip[-1].astype(int) - clip[0]).mean()
    assert seam <= np.percentile(steps, 99) + 1e-6


def test_exits_are_where_the_rest_picture_is_a_step_away():
    assert cutting.exits(np.array([0, 1, 5, 9, 2, 1, 6], np.float32), 3.0) == [1, 2, 5, 6, 7]


def test_open_mouths_are_shut_and_shut_ones_left_alone():
    shown = picture(mouth_open=0.5)
    open_ = FaceMesh().find(draw_face(mouth_open=0.5)).landmarks[:, :2]
    shut = open_.copy()
    shut[INNER_LOWER] = shut[INNER_UPPER]
    of_open, of_shut = (MouthCloser(np.repeat(marks[None], 9, axis=0)) for marks in (open_, shut))

    def gap(shown: np.ndarray) -> float:
        face = FaceMesh().find(to_rgb(shown))
        return float(np.linalg.norm(face.landmarks[13, :2] - face.landmarks[14, :2]))

    assert gap(of_open.shut(4, shown)) < 0.5 * gap(shown)
    np.testing.assert_array_equal(of_shut.shut(4, shown), shown)
    np.testing.assert_array_equal(of_shut.landmarks()[4], shut)
    moved = of_open.landmarks()[4]
    assert np.linalg.norm(moved[13] - moved[14]) < 0.1 * np.linalg.norm(open_[13] - open_[14])
    np.testing.assert_array_equal(moved[[61, 291, 1, 152]], open_[[61, 291, 1, 152]])


@settings(max_examples=25)
@given(
    mouth_open=st.floats(0.35, 1),
    size=st.integers(120, 260),
    tilt_deg=st.floats(-15, 15),
    seed=st.integers(0, 2**32 - 1),
)
@example(mouth_open=0.5, size=196, tilt_deg=0.5, seed=0)  # the landmark of a corner was left out
def test_nothing_is_left_of_what_an_open_mouth_showed(mouth_open, size, tilt_deg, seed):
    """Teeth, a tongue, the dark: whatever was between the lips, the shut mouth is the same."""
    shown = draw_face(mouth_open=mouth_open, size=size, tilt_deg=tilt_deg)
    points = FaceMesh().find(shown).landmarks[:, :2]
    one = picture(mouth_open=mouth_open, size=size, tilt_deg=tilt_deg)
    other = one.copy()
    outline = np.concatenate([points[INNER_UPPER], points[INNER_LOWER][::-1]])
    inside = cv2.fillPoly(np.zeros(shown.shape[:2], np.uint8), [np.rint(outline).astype(int)], 1)
    noise = np.random.default_rng(seed)
    for plane, step in zip(planes_of(other), (1, 2, 2), strict=True):
        within = inside[::step, ::step] > 0
        plane[within] = noise.integers(0, 256, int(within.sum()))
    closer = MouthCloser(points[None])
    assert closer.amount[0] == 1

    np.testing.assert_array_equal(closer.shut(0, other), closer.shut(0, one))


def test_of_a_wide_open_mouth_nothing_is_left_beside_its_landmarks_either():
    """They are further off there: a sliver of teeth was seen between the lips that were shut."""
    shown = picture(mouth_open=1.0)
    points = FaceMesh().find(draw_face(mouth_open=1.0)).landmarks[:, :2]
    outline = np.concatenate([points[INNER_UPPER], points[INNER_LOWER][::-1]])
    mask = cv2.fillPoly(np.zeros((512, 512), np.uint8), [np.rint(outline).astype(int)], 1)
    middle = np.abs(np.arange(512) - points[13, 0]) < 10
    sliver = (cv2.dilate(mask, np.ones((5, 5), np.uint8)) > 0) & middle
    other = shown.copy()
    planes_of(other)[0][sliver] = 250
    closer = MouthCloser(points[None])

    shut, without = (planes_of(closer.shut(0, one))[0].astype(int) for one in (other, shown))

    assert np.abs(shut - without).max() < 20


def corner_of_a_wide_mouth(luma_px: int) -> tuple[np.ndarray, np.ndarray, tuple[slice, slice]]:
    """Return a picture, its landmarks, and what is at a corner: a spot of ``luma_px`` there."""
    points = FaceMesh().find(draw_face(mouth_open=0.8)).landmarks[:, :2]
    shown = picture(mouth_open=0.8)
    x, y = (round(float(v)) for v in points[78])
    spot = np.zeros(planes_of(shown)[0].shape, np.uint8)
    cv2.ellipse(spot, (x - 2, y), (4, 4), 0, 0, 360, 1, -1)
    planes_of(shown)[0][spot > 0] = luma_px
    return shown, points, (slice(y - 12, y + 13), slice(x - 12, x + 1))


def test_the_dark_beside_the_landmarks_of_a_corner_is_taken_with_the_opening():
    """A dot was left there when the mouth was shut."""
    shown, points, corner = corner_of_a_wide_mouth(20)

    shut = MouthCloser(points[None]).shut(0, shown)

    assert planes_of(shown)[0][corner].min() == 20
    assert planes_of(shut)[0][corner].min() > 70


@given(st.lists(st.floats(0, 0.6), min_size=10, max_size=80))
def test_shutting_never_flickers_and_is_full_where_it_must_be(gaps):
    amount = shutting(np.array(gaps, np.float32))

    assert np.abs(np.diff(amount)).max(initial=0) < 0.25
    wide = np.array(gaps) > 0.12
    assert (amount[wide] > 0.9).all()


@pytest.mark.parametrize(
    "preset", MOTION_PRESETS[2:5:2], ids=lambda preset: f"{preset.state} {preset.frames}"
)
def test_a_still_picture_lives_and_comes_back_to_itself(preset):
    still = picture()
    marks = FaceMesh().find(draw_face()).landmarks[:, :2]

    pictures = list(moved_pictures(still, marks, preset))
    landmarks = moved_landmarks(marks, preset)

    assert len(pictures) == len(landmarks) == preset.frames
    assert np.abs(pictures[0].astype(int) - still).max() <= 1
    np.testing.assert_allclose(landmarks[0], marks, atol=0.05)
    steps = [np.abs(a.astype(int) - b).mean() for a, b in pairwise(pictures)]
    assert max(steps) > 0.02
    assert np.abs(pictures[-1].astype(int) - pictures[0]).mean() <= np.percentile(steps, 99)
    far = int(np.abs(landmarks - marks).max(axis=(1, 2)).argmax())
    found = FaceMesh().find(to_rgb(pictures[far]))
    assert np.abs(found.landmarks[:, :2] - landmarks[far]).mean() < 2.0


def test_a_blink_shuts_the_eyes():
    marks = FaceMesh().find(draw_face()).landmarks[:, :2]
    still = np.full((768, 512), 128, np.uint8)
    for upper, lower in LIDS:
        eye = np.concatenate([marks[upper], marks[lower][::-1]]).round().astype(np.int32)
        cv2.fillPoly(still[:512], [eye], 255)
    preset = MOTION_PRESETS[0]
    shown = list(moved_pictures(still, marks, preset))

    def white(p: np.ndarray) -> int:
        return int((p[:512] > 200).sum())

    assert white(shown[0]) == white(still)
    assert white(shown[preset.blinks[0] + 2]) < 0.25 * white(still)
