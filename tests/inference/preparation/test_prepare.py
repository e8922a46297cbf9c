"""From video to avatar: what comes out can be streamed; what goes wrong leaves nothing behind."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from inference.assets import manifest
from inference.assets.clips import AvatarClips, PictureCache
from inference.engines.viseme.renderers.warp import WarpedMouth
from inference.engines.viseme.shape import MouthShape
from inference.errors import PreparationError
from inference.faces.mesh import FaceMesh
from inference.media.profile import DEFAULT_PROFILE
from inference.preparation.prepare import prepare
from tests.drawn_face import draw_face
from tests.videos import person, write_video


def opened(folder: Path) -> AvatarClips:
    return AvatarClips(folder, PictureCache(64_000_000), profile=DEFAULT_PROFILE)


def to_rgb(picture: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(picture, cv2.COLOR_YUV2RGB_I420)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A talking person, filmed at 30 fps, lying on her side."""
    home = tmp_path_factory.mktemp("prepared")
    lying = (np.rot90(picture) for picture in person(165, period=70, talking=True, has_teeth=True))
    video = write_video(home / "video.mp4", lying, rate=30, turned_deg=90)
    told: list[tuple[str, float]] = []
    prepare(video, home / "avatars" / "her", lambda *progress: told.append(progress))
    (home / "told.json").write_text(json.dumps(told))
    return home / "avatars" / "her"


def test_the_folder_can_be_streamed(prepared):
    clips = opened(prepared)
    mouth = WarpedMouth.open(prepared, clips.manifest)

    assert clips.manifest.renderer == "warp"
    assert clips.manifest.name == "her"
    for entry in clips.manifest.clips:
        picture = clips[entry.name].picture(0)
        assert picture.shape == (768, 512)
        assert mouth.render(entry.name, 0, picture, MouthShape(open=0.6)) is not None


def test_the_face_stands_upright_at_its_size_and_landmarks_fit_the_pictures(prepared):
    clips = opened(prepared)
    for entry in clips.manifest.clips:
        marks = np.load(prepared / "clips" / f"{entry.name}.landmarks.npy")
        for index in (0, entry.frames // 2, entry.frames - 1):
            face = FaceMesh().find(to_rgb(clips[entry.name].picture(index)))
            assert face is not None
            assert np.abs(face.landmarks[:, :2] - marks[index]).mean() < 3
            assert 200 < np.linalg.norm(marks[index, 10] - marks[index, 152]) < 280


def test_every_clip_has_a_title_of_its_own(prepared):
    titles = [entry.title for entry in manifest.read(prepared).clips]
    assert all(titles)
    assert len(set(titles)) == len(titles)


def test_all_clips_begin_alike_and_seams_are_no_larger_than_steps(prepared):
    clips = opened(prepared)
    first = clips["idle_0"].picture(0).astype(int)
    for entry in clips.manifest.clips:
        shown = [clips[entry.name].picture(k).astype(int) for k in range(entry.frames)]
        steps = [np.abs(a - b).mean() for a, b in pairwise(shown)]
        limit = np.percentile(steps, 99) + 0.3  # what encoding adds
        assert np.abs(shown[0] - first).mean() < limit
        for exit_ in entry.exits:
            assert np.abs(shown[exit_ - 1] - first).mean() < limit


def test_a_talking_person_s_mouth_rests(prepared):
    def gap(rgb: np.ndarray) -> float:
        face = FaceMesh().find(rgb)
        return float(np.linalg.norm(face.landmarks[13] - face.landmarks[14])) / face.interocular

    clips = opened(prepared)
    gaps = [
        gap(to_rgb(clips[entry.name].picture(index)))
        for entry in clips.manifest.clips
        for index in range(0, entry.frames, 7)
    ]
    assert np.percentile(gaps, 95) < 0.5 * gap(draw_face(mouth_open=1.0))


def test_her_own_teeth_are_kept_and_shown(prepared):
    clips = opened(prepared)
    picture, shape = clips["idle_0"].picture(0), MouthShape(open=0.8, teeth=0.8)
    marks = np.load(prepared / "clips" / "idle_0.landmarks.npy")
    own = WarpedMouth.open(prepared, clips.manifest)
    drawn = WarpedMouth({"idle_0": marks})
    x, y = marks[0][[13, 14]].mean(0).round().astype(int)
    seen = []
    for mouth in (own, drawn):
        patch = mouth.render("idle_0", 0, picture, shape)
        assert patch is not None
        seen.append(float(patch.y_plane[y - patch.y - 1 : y - patch.y + 3, x - patch.x].mean()))

    assert clips.manifest.report["teeth"] == "own"
    # They were filmed lighter than teeth that follow from the skin.
    assert seen[0] > seen[1] + 8


def test_the_report_tells_what_was_done(prepared):
    report: Any = manifest.read(prepared).report

    assert report["found"] == 1.0
    assert report["pictures"] == pytest.approx(137, abs=3)
    assert {clip["name"] for clip in report["clips"]} == {
        entry.name for entry in manifest.read(prepared).clips
    }
    assert all(clip["seam_px"] <= clip["usual_step_px"] for clip in report["clips"])
    sheet = cv2.imread(str(prepared / "report.png"))
    assert sheet.shape[0] > 160 * len(report["clips"])


def test_the_preview_speaks(prepared):
    with av.open(str(prepared / "preview.mp4")) as video:
        pictures = [
            np.asarray(f.to_ndarray(format="rgb24"), np.uint8) for f in video.decode(video=0)
        ]
        video.seek(0)
        sound = np.concatenate([f.to_ndarray().ravel() for f in video.decode(audio=0)])
    mesh = FaceMesh()
    gaps = [
        np.linalg.norm(f.landmarks[13] - f.landmarks[14]) / f.interocular
        for f in map(mesh.find, pictures[::2])
    ]

    assert len(pictures) == pytest.approx(4.2 * 25, abs=3)
    assert len(sound) / 16_000 == pytest.approx(len(pictures) / 25, abs=0.2)
    assert np.abs(sound).max() > 0.1
    assert max(gaps) > min(gaps) + 0.08


def test_progress_goes_from_nothing_to_all_through_every_stage(prepared):
    told = json.loads((prepared.parent.parent / "told.json").read_text())
    percents = [percent for _, percent in told]

    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert list(dict.fromkeys(stage for stage, _ in told)) == [
        "look",
        "choose",
        "take",
        "cut",
        "show",
    ]
    assert len(told) < 130


def test_nothing_else_is_left_beside_the_folder(prepared):
    assert [path.name for path in prepared.parent.iterdir()] == ["her"]


@pytest.mark.lasting
def test_a_still_picture_becomes_an_avatar(tmp_path):
    photo = draw_face(width=640, height=800, x=320, y=360, size=330)
    cv2.imwrite(str(tmp_path / "photo.jpg"), cv2.cvtColor(photo, cv2.COLOR_RGB2BGR))

    prepare(tmp_path / "photo.jpg", tmp_path / "still")

    clips = opened(tmp_path / "still")
    assert {"idle_0", "speaking_0", "action_1"} <= set(clips.manifest.clip_names())
    for entry in clips.manifest.clips:
        marks = np.load(tmp_path / "still" / "clips" / f"{entry.name}.landmarks.npy")
        face = FaceMesh().find(to_rgb(clips[entry.name].picture(entry.frames // 3)))
        assert np.abs(face.landmarks[:, :2] - marks[entry.frames // 3]).mean() < 3


@pytest.mark.lasting
def test_named_clips_become_those_clips(tmp_path):
    videos = {
        name: write_video(tmp_path / f"{name}.mp4", person(60, period=60, sway=reach))
        for name, reach in (("idle_0", 2.0), ("speaking_3", 4.0))
    }

    prepare(videos, tmp_path / "named", name="Ann")

    found = manifest.read(tmp_path / "named")
    assert found.name == "Ann"
    assert found.clip_names() == ["idle_0", "speaking_3"]


def test_a_video_without_a_face_leaves_nothing_behind(tmp_path):
    gray = (np.full((240, 320, 3), 90, np.uint8) for _ in range(60))
    video = write_video(tmp_path / "gray.mp4", gray)

    with pytest.raises(PreparationError) as caught:
        prepare(video, tmp_path / "avatars" / "nobody")

    assert caught.value.reason == "no_face"
    assert list((tmp_path / "avatars").iterdir()) == []


def test_a_failure_late_keeps_the_avatar_that_was_there(tmp_path, monkeypatch):
    home = tmp_path / "avatars" / "her"
    home.mkdir(parents=True)
    (home / "old").write_text("still here")
    video = write_video(tmp_path / "video.mp4", person(60))
    monkeypatch.setattr(
        "inference.preparation.prepare.write_preview",
        lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")),
    )

    with pytest.raises(OSError, match="No space left"):
        prepare(video, home)

    assert [path.name for path in home.parent.iterdir()] == ["her"]
    assert (home / "old").read_text() == "still here"
