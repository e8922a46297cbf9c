"""One face is followed through a video, in step with its pictures, and held steady."""

import numpy as np
import pytest

from benchmarks.occlusions import THINGS
from inference.errors import PreparationError
from inference.faces.mesh import INNER_UPPER_LIP, FaceMesh, lip_gaps
from inference.preparation.track import follow, smoothed
from tests.drawn_face import draw_face
from tests.videos import person


def nothing() -> np.ndarray:
    return np.full((320, 320, 3), 120, np.uint8)


def behind_a_hand(picture: np.ndarray) -> np.ndarray:
    """A hand so large that the mesh sees no face."""
    return THINGS["hand"](picture, FaceMesh().find(picture).landmarks, np.random.default_rng(0))


def ignore(_: int) -> None:
    pass


def test_every_picture_has_a_row_and_those_without_a_face_are_nan():
    video = [*person(6), nothing(), nothing(), *person(4)]
    told: list[int] = []

    track = follow(video, told.append)

    assert told == list(range(1, 13))
    assert len(track) == 12
    assert track.is_found.tolist() == [True] * 6 + [False] * 2 + [True] * 4
    for rows in (track.sharpness, track.brightness, track.mouth_visibility, track.thumbnails):
        assert len(rows) == 12
    assert np.isfinite(track.sharpness[track.is_found]).all()


def test_a_video_that_begins_without_a_face_is_in_step_too():
    track = follow([nothing(), nothing(), *person(4)], ignore)

    assert track.is_found.tolist() == [False, False, True, True, True, True]
    assert len(track.thumbnails) == 6


def test_a_picture_that_is_repeated_is_looked_at_once(monkeypatch):
    looks = 0
    find = FaceMesh.find

    def counted(self, *args, **kwargs):
        nonlocal looks
        looks += 1
        return find(self, *args, **kwargs)

    monkeypatch.setattr(FaceMesh, "find", counted)
    first, second = draw_face(), draw_face(x=258)
    track = follow([first] * 10 + [second] * 3, ignore)
    assert (len(track), looks) == (13, 2)
    assert (track.landmarks[:10] == track.landmarks[0]).all()
    assert not track.is_cut.any()
    assert len(track.thumbnails) == len(track.sharpness) == len(track.mouth_visibility) == 13


def test_landmarks_are_in_pixels_of_the_full_picture():
    large = draw_face(width=1600, height=1600, x=800, y=760, size=700)

    track = follow([large], ignore)

    assert track.landmarks[0, 1, 0] == pytest.approx(800, abs=15)
    assert track.landmarks[0, 152, 1] == pytest.approx(760 + 350, abs=45)


def test_no_face_at_all_is_refused_with_a_remedy():
    with pytest.raises(PreparationError, match="head and shoulders") as caught:
        follow([nothing()] * 3, ignore)
    assert caught.value.reason == "no_face"


def test_a_face_behind_a_hand_has_a_reason_of_its_own():
    with pytest.raises(PreparationError, match="no hand") as caught:
        follow([behind_a_hand(draw_face(size=230))] * 3, ignore)
    assert caught.value.reason == "face_covered"
    with pytest.raises(PreparationError) as caught:
        follow([behind_a_hand(draw_face(size=230)), nothing(), nothing()], ignore)
    assert caught.value.reason == "no_face"


def test_of_two_people_the_larger_is_followed_and_both_are_counted():
    def both(step: int) -> np.ndarray:
        near = draw_face(width=320, height=400, x=160 + step, y=200, size=190)
        far = draw_face(width=320, height=400, x=160, y=200, size=120)
        return np.hstack([far, near])

    track = follow([both(step) for step in range(0, 12, 2)], ignore)

    assert track.people == 2
    assert track.landmarks[:, 1, 0] == pytest.approx(480 + np.arange(0, 12, 2), abs=8)


def test_the_same_person_is_found_again_though_another_is_larger():
    def alone(x: int, size: int) -> np.ndarray:
        return draw_face(width=640, height=400, x=x, y=200, size=size)

    beside = np.where(np.arange(640)[None, :, None] < 320, alone(160, 200), alone(480, 150)).astype(
        np.uint8
    )
    track = follow([alone(480, 150), np.full_like(beside, 120), beside], ignore)

    assert track.landmarks[2, 1, 0] == pytest.approx(480, abs=10)


def test_a_cut_is_seen_and_a_moving_person_is_none():
    track = follow([*person(5), *person(5, background=(20, 20, 20))], ignore)

    assert np.flatnonzero(track.is_cut).tolist() == [5]


def test_a_person_who_jumps_in_the_same_scene_was_edited():
    whole = list(person(60, sway=12))
    track = follow(whole[:12] + whole[37:49], ignore)
    assert np.flatnonzero(track.is_cut).tolist() == [12]


def test_a_person_who_moves_fast_or_at_few_pictures_a_second_does_not_jump():
    nod = list(person(24, sway=30, period=12))
    slow = [nod[n // 3 * 3] for n in range(len(nod))]
    for pictures in (nod, slow):
        assert not follow(pictures, ignore).is_cut.any()


def tremble(frames: int, seed: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """A face that drifts slowly, exactly and as the nets would see it."""
    random = np.random.default_rng(seed)
    face = random.uniform(-100, 100, (468, 3))
    drift = np.stack([np.linspace(0, 30, frames), np.zeros(frames), np.zeros(frames)], axis=1)
    exact = (face[None] + drift[:, None]).astype(np.float32)
    return exact, (exact + random.normal(0, 0.6, exact.shape)).astype(np.float32)


def test_smoothing_takes_the_tremble_and_leaves_the_movement():
    exact, seen = tremble(60)

    smooth = smoothed(seen, np.zeros(60, bool))

    assert np.abs(smooth - exact)[..., :2].mean() < 0.5 * np.abs(seen - exact)[..., :2].mean()
    assert np.abs((smooth - exact)[..., :2].mean(axis=1)).max() < 0.25


def test_lips_that_close_for_a_picture_or_two_are_closed_and_do_not_tremble_at_rest():
    """Smoothed like the face, a [p] amid speech stayed half open, and its lips were cut away."""
    shut, open_ = (FaceMesh().find(draw_face(mouth_open=gap)).landmarks for gap in (0, 0.8))
    opening = np.ones(60)
    opening[20:22] = opening[40] = 0
    opening[50:] = 0
    exact = (shut + (open_ - shut) * opening[:, None, None]).astype(np.float32)
    noise = np.random.default_rng(1).normal(0, 0.25, exact.shape)
    seen = (exact + noise).astype(np.float32)

    smooth = smoothed(seen, np.zeros(60, bool))

    assert np.abs(lip_gaps(smooth) - lip_gaps(exact)).max() < 0.03
    steps = [np.abs(np.diff(marks[52:, INNER_UPPER_LIP, 1])).mean() for marks in (smooth, seen)]
    assert steps[0] < 0.2 * steps[1]


def test_short_gaps_are_bridged_and_long_ones_stay():
    exact, seen = tremble(60)
    seen[10:13] = np.nan
    seen[30:40] = np.nan

    smooth = smoothed(seen, np.zeros(60, bool))

    assert np.abs(smooth[10:13] - exact[10:13]).mean() < 0.6
    assert np.isnan(smooth[30:40]).all()
    assert np.isfinite(smooth[:30]).all()


def test_nothing_is_carried_across_a_cut():
    exact, _ = tremble(20)
    jumped = exact.copy()
    jumped[10:] += 300
    cut = np.zeros(20, bool)
    cut[10] = True
    jumped[9] = np.nan

    smooth = smoothed(jumped, cut)

    assert np.isnan(smooth[9]).all()
    np.testing.assert_allclose(smooth[[8, 10]], jumped[[8, 10]], atol=0.6)


def test_a_still_head_stays_within_a_pixel():
    _, seen = tremble(50)
    still = seen - np.linspace(0, 30, 50)[:, None, None] * np.array([1, 0, 0], np.float32)

    box = smoothed(still.astype(np.float32), np.zeros(50, bool))[..., :2]

    assert np.ptp(box.min(axis=1), axis=0).max() < 1.8
    assert np.abs(np.diff(box.mean(axis=1), axis=0)).max() < 0.1
