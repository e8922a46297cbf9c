"""The scores of the clips: alike at every beat, alive in between, and never abrupt."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.assets.manifest import STANDARD_CLIPS
from inference.presenter.clips import CLIPS
from inference.presenter.motion import BEAT, ClipMotion, lobes, pose_at, poses, window
from inference.presenter.pose import Pose, move_with_head

IDS = [motion.name for motion in CLIPS]
heights = st.lists(st.floats(-5, 5), min_size=1, max_size=6)


def track(motion: ClipMotion, joint: str) -> np.ndarray:
    return np.array([getattr(pose, joint) for pose in poses(motion)])


@given(heights=heights, beat=st.integers(0, 12), per_beat=st.integers(1, 3))
def test_lobes_pass_through_rest_at_every_beat(
    heights: list[float], beat: int, per_beat: int
) -> None:
    assert lobes(beat * BEAT, heights, per_beat) == pytest.approx(0, abs=1e-9)


@given(heights=heights, frame=st.floats(0, 200), per_beat=st.integers(1, 3))
def test_lobes_keep_their_height_and_have_no_kinks(
    heights: list[float], frame: float, per_beat: int
) -> None:
    highest = max(abs(height) for height in heights)
    now, soon = lobes(frame, heights, per_beat), lobes(frame + 0.01, heights, per_beat)
    assert abs(now) <= highest + 1e-9
    assert abs(soon - now) <= 0.01 * highest * np.pi * (per_beat + 1) / BEAT + 1e-9


def test_a_window_rises_holds_and_falls() -> None:
    values = [window(frame, ((10, 40, 2.0),)) for frame in range(50)]
    assert values[10] == values[40] == 0
    assert values[25] == 2.0
    assert values[:26] == sorted(values[:26])


def test_the_clips_are_the_standard_ones() -> None:
    assert [name for names in STANDARD_CLIPS.values() for name in names] == IDS


@pytest.mark.parametrize("motion", CLIPS, ids=IDS)
def test_every_clip_begins_with_the_very_same_pose(motion: ClipMotion) -> None:
    assert pose_at(motion, 0) == Pose()


@pytest.mark.parametrize("motion", CLIPS, ids=IDS)
def test_a_loop_closes(motion: ClipMotion) -> None:
    for joint in dataclasses.fields(Pose):
        values = track(motion, joint.name)
        inner = np.abs(np.diff(values)).max()
        assert abs(values[0] - values[-1]) <= max(inner, 1e-9)


@pytest.mark.parametrize("motion", [m for m in CLIPS if m.state != "action"], ids=IDS[:15])
def test_eyes_are_open_and_the_head_is_at_rest_where_a_clip_may_be_left(
    motion: ClipMotion,
) -> None:
    for beat in range(0, motion.frames, BEAT):
        for frame in (beat, (beat - 1) % motion.frames):
            assert pose_at(motion, frame).blink == 0
        pose = pose_at(motion, beat)
        assert max(abs(pose.yaw), abs(pose.pitch), abs(pose.roll)) < 0.1
        assert abs(pose.sway) < 1e-6


@pytest.mark.parametrize("motion", CLIPS, ids=IDS)
def test_everybody_blinks(motion: ClipMotion) -> None:
    blink = track(motion, "blink")
    assert blink.max() == 1.0
    assert blink[-1] == 0


def test_no_two_clips_are_alike() -> None:
    scores = [tuple(np.round(track(motion, "yaw")[:44], 3)) for motion in CLIPS]
    assert len(set(scores)) == len(CLIPS)


def test_the_rest_pose_moves_nothing() -> None:
    points = np.array([[200.0, 180.0], [300.0, 300.0], [256.0, 90.0]])
    moved = move_with_head(Pose(), points, np.array([10.0, 50.0, 90.0]))
    assert np.allclose(moved, points)


def test_what_is_nearer_travels_further() -> None:
    points = np.array([[256.0, 240.0], [256.0, 240.0], [256.0, 240.0]])
    moved = move_with_head(Pose(yaw=8), points, np.array([-40.0, 20.0, 100.0]))
    behind, side, nose = moved[:, 0] - 256
    assert behind < 0 < side < nose
