"""The way from sound to pictures that the lip-sync score looks at, with an engine that is known."""

from typing import Any, cast

import cv2
import numpy as np
import pytest

from benchmarks import lipsync
from benchmarks.score import LipTruth, Score, lip_gap
from benchmarks.speaking import StreamBroken, speaking_in_process, speaking_pictures
from inference.assets.writer import AssetWriter
from inference.engines.viseme.renderers.warp import WarpedMouth
from inference.engines.viseme.shape import MouthShape
from inference.faces.mesh import FaceMesh
from inference.media.encoder import Encoder
from inference.media.profile import DEFAULT_PROFILE
from inference.media.types import AudioContext
from inference.timing import SAMPLES_PER_FRAME
from talking_avatar import Frame
from tests.drawn_face import draw_face

FRAMES = 60


class OpeningEngine:
    """Opens the mouth as loud as a frame is; hears its context or fails."""

    context = AudioContext(before=500, after=300)

    def open_avatar(self, folder, manifest):
        return WarpedMouth.open(folder, manifest)

    def listen(self, windows):
        (window,) = windows
        assert len(window.samples) == 500 + window.frames * SAMPLES_PER_FRAME + 300
        own = window.samples[500:-300].reshape(window.frames, -1)
        return [[MouthShape(open=float(v), teeth=0.5).to_features() for v in np.abs(own).max(1)]]

    def render(self, jobs):
        return [
            job.avatar.render(
                job.clip, job.index, job.picture, MouthShape.from_features(job.features)
            )
            for job in jobs
        ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    drawn = draw_face()
    marks = FaceMesh().find(drawn).landmarks[:, :2]
    picture = np.asarray(cv2.cvtColor(drawn, cv2.COLOR_RGB2YUV_I420), np.uint8)
    home = tmp_path_factory.mktemp("avatars") / "drawn"
    with AssetWriter(home, name="drawn", renderer="warp") as assets:
        assets.add_clip(
            "idle_0",
            "idle",
            [picture] * 10,
            frames=10,
            exits=[10],
            landmarks=np.repeat(marks[None], 10, axis=0),
        )
    return home


def test_each_frame_of_sound_gives_the_picture_that_shows_it(folder):
    loudness = 0.5 + 0.4 * np.sin(np.arange(FRAMES) / 3)
    samples = np.repeat(loudness, SAMPLES_PER_FRAME).astype(np.float32)
    mesh = FaceMesh()

    shown = list(speaking_in_process(cast(Any, OpeningEngine()), folder, samples))

    assert len(shown) == FRAMES
    gaps = [lip_gap(mesh.find(picture)) for picture in shown]
    assert np.corrcoef(gaps, loudness)[0, 1] > 0.9


def test_only_pictures_of_speech_are_taken_from_a_stream_but_all_are_decoded():
    encoder = Encoder(DEFAULT_PROFILE)
    frames = []
    for number in range(8):
        access_unit = encoder.encode(np.full((768, 512), 60 + 10 * number, np.uint8))
        spoken = (number - 3) * 40 if number >= 3 else None
        frames.append(Frame(access_unit, number * 40, number == 0, spoken))

    assert len(list(speaking_pictures(frames))) == 5
    with pytest.raises(StreamBroken, match="does not decode"):
        list(speaking_pictures(frames[2:]))


def score(**other) -> Score:
    good = {"correlation": 0.85, "lag": 0, "separation": 0.97, "wrong": 0.1}
    return Score(frames=500, missed=0.0, **(good | other))


@pytest.mark.parametrize(
    ("other", "short"),
    [
        ({}, []),
        ({"correlation": 0.7}, ["r 0.700"]),
        ({"lag": -2}, ["lag -2"]),
        ({"separation": 0.9}, ["AUC 0.900"]),
        ({"separation": float("nan")}, ["AUC nan"]),
        ({"wrong": 0.5}, ["right minus wrong 0.350"]),
        ({"correlation": 0.4, "lag": 3}, ["r 0.400", "lag 3", "right minus wrong 0.300"]),
    ],
)
def test_each_shortcoming_is_named(other, short):
    found = lipsync.shortcomings(score(**other))

    assert len(found) == len(short)
    assert all(words.startswith(expected) for words, expected in zip(found, short, strict=True))


def test_joined_truths_follow_each_other():
    parts = [LipTruth(np.array([0.1, 0.2]), np.array([True, False])) for _ in range(2)]

    whole = lipsync.joined(parts)

    assert whole.opening.tolist() == [0.1, 0.2, 0.1, 0.2]
    assert whole.is_bilabial.tolist() == [True, False, True, False]
