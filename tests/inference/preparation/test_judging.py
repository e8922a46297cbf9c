"""The frame holds head and shoulders; faults are named, and too many of them refuse the video."""

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from benchmarks.occlusions import THINGS, tongue
from inference.errors import PreparationError
from inference.preparation.framing import FACE_HEIGHT, choose_frame, face_heights
from inference.preparation.quality import (
    Finding,
    file_findings,
    head_pose,
    judge,
    longest_run,
    runs,
)
from inference.preparation.track import follow, smoothed
from tests.drawn_face import draw_face, to_rgb
from tests.videos import person


def looked_at(video):
    video = list(video)
    track = follow(video, lambda _: None)
    landmarks = smoothed(track.landmarks, track.is_cut)
    height, width = video[0].shape[:2]
    frame = choose_frame(landmarks, width, height)
    return judge(track, landmarks, frame, (width, height), fewest=8)


def reasons(judgement) -> set[str]:
    return {finding.reason for finding in judgement.findings}


def refused(video) -> str:
    with pytest.raises(PreparationError) as caught:
        looked_at(video)
    return caught.value.reason


def test_a_tongue_that_is_put_out_for_a_while_is_left_out_and_in_a_still_refused():
    video = list(person(24, size=190))
    landmarks = follow(video[:1], lambda _: None).landmarks[0]
    chance = np.random.default_rng(1)
    shown = [tongue(picture, landmarks, chance) for picture in video[:10]]

    judgement = looked_at([*shown, *video[10:]])

    assert "tongue_out" in reasons(judgement)
    assert not judgement.is_usable[2:8].any()
    assert judgement.is_usable[14:].all()
    assert refused([shown[0]] * 12) == "tongue_out"


def test_a_face_that_is_hidden_for_a_while_has_a_finding_of_its_own():
    video = list(person(24, size=190))
    landmarks = follow(video[:1], lambda _: None).landmarks[0]
    hand = np.random.default_rng(1)
    video[:8] = [THINGS["hand"](picture, landmarks, hand) for picture in video[:8]]
    video[-6:] = [np.full_like(video[0], 120)] * 6

    judgement = looked_at(video)

    assert {"face_covered", "no_face"} <= reasons(judgement)
    assert judgement.is_usable[9:18].all()


@pytest.mark.parametrize(("width", "height", "size"), [(960, 540, 250), (540, 960, 250)])
def test_the_framed_face_has_the_wanted_height_and_its_landmarks_fit(width, height, size):
    picture = draw_face(width=width, height=height, x=width / 2, y=height * 0.45, size=size)
    landmarks = follow([picture], lambda _: None).landmarks

    frame = choose_frame(landmarks, width, height)

    framed = frame.to_frame(landmarks)
    assert float(face_heights(framed)[0]) == pytest.approx(FACE_HEIGHT, rel=0.02)
    shown = to_rgb(frame.cut(picture))
    assert shown.shape == (512, 512, 3)
    seen_again = follow([shown], lambda _: None).landmarks
    assert np.abs(seen_again - framed)[..., :2].mean() < 2


def test_a_frame_never_leaves_the_picture():
    landmarks = follow([draw_face(x=60, y=90, size=200)], lambda _: None).landmarks
    frame = choose_frame(landmarks, 512, 512)

    assert frame.x == frame.y == 0
    assert frame.side <= 512


def test_a_good_video_has_no_findings():
    judgement = looked_at(person(10, size=190))

    assert judgement.is_usable.all()
    assert judgement.findings == []


def test_dark_blurred_and_empty_pictures_are_not_used_and_are_named():
    video = list(person(40, size=190))
    for k in range(4):
        video[k] = (video[k] * 0.15).astype(np.uint8)
        video[10 + k] = cv2.GaussianBlur(video[10 + k], (0, 0), 9)
        video[-1 - k] = np.full_like(video[0], 120)

    judgement = looked_at(video)

    assert {"too_dark", "blurred", "no_face"} <= reasons(judgement)
    assert not judgement.is_usable[[1, 2, 11, 12, -1]].any()
    assert judgement.is_usable[20:32].all()


def test_a_hand_before_the_mouth_is_noticed():
    video = list(person(20, size=190))
    for picture in video[:6]:
        # A hand: skin, with fingers as darker lines.
        cv2.ellipse(picture, (160, 205), (48, 30), 0, 0, 360, (226, 180, 150), -1)
        for x in (135, 150, 165, 180):
            cv2.line(picture, (x, 182), (x, 222), (196, 148, 120), 2)

    judgement = looked_at(video)

    assert "mouth_covered" in reasons(judgement)
    assert not judgement.is_usable[2]
    assert judgement.is_usable[8:].all()


def test_whole_videos_are_refused_by_their_gravest_fault():
    assert refused((p * 0.15).astype(np.uint8) for p in person(12)) == "too_dark"
    assert refused(person(12, width=640, height=640, x=320, y=300, size=62)) == "too_small"
    assert refused(person(12, size=400, y=190)) in ("too_large", "cut_off")


def test_small_large_and_several_are_warnings():
    assert "too_small" in reasons(looked_at(person(10, size=110)))
    two = [
        np.hstack([a, b]) for a, b in zip(person(10, size=190), person(10, size=120), strict=True)
    ]
    assert "several_people" in reasons(looked_at(two))


def test_a_mouth_that_is_wide_open_is_refused_and_one_that_talks_is_not():
    assert refused(person(12, size=190, mouth_open=1.6)) == "mouth_open"
    talking = looked_at(person(50, size=190, talking=True))
    assert "mouth_open" not in reasons(talking)
    ajar = looked_at(person(12, size=190, mouth_open=0.8))
    assert [(one.reason, one.share) for one in ajar.findings] == [("mouth_open", 1.0)]
    assert ajar.is_usable.all()


def of_file(
    *,
    is_hdr: bool = False,
    is_turned: bool = False,
    has_changed_size: bool = False,
    damaged_s: Sequence[float] = (),
) -> list[Finding]:
    return file_findings(
        is_hdr=is_hdr,
        is_turned=is_turned,
        has_changed_size=has_changed_size,
        damaged_s=damaged_s,
    )


def test_findings_of_the_file_name_the_times_of_damage():
    assert of_file() == []
    found = [
        of_file(is_hdr=True),
        of_file(is_turned=True),
        of_file(has_changed_size=True),
    ]
    assert [[one.reason for one in each] for each in found] == [["hdr"], ["turned"], ["sizes"]]
    (few,) = of_file(damaged_s=[7.04, 2.8])
    assert few.message == "the file is damaged at 2.8, 7.0 s: that was left out"
    (many,) = of_file(damaged_s=[1, 2, 3, 4])
    assert "at 1.0, 2.0, 3.0 s and later" in many.message


def test_roll_and_yaw_are_read_off_the_landmarks():
    straight, tilted = (
        head_pose(follow([draw_face(tilt_deg=t)], lambda _: None).landmarks)[0] for t in (0, 15)
    )
    assert straight[2] == pytest.approx(0, abs=2)
    assert tilted[2] == pytest.approx(15, abs=3)
    assert abs(straight[0]) < 6


def test_runs_break_at_cuts_and_gaps():
    usable = np.array([1, 1, 0, 1, 1, 1, 1, 0], bool)
    cut = np.array([0, 0, 0, 0, 0, 1, 0, 0], bool)

    assert runs(usable, cut) == [(0, 2), (3, 5), (5, 7)]
    assert longest_run(usable, cut) == 2
    assert longest_run(np.zeros(3, bool), np.zeros(3, bool)) == 0
