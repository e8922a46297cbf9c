"""Counting frames, cutting windows, boxing faces, telling silence: the small rules."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from inference.engines.musetalk import networks
from inference.engines.musetalk.audio import speech
from inference.engines.musetalk.audio.mel import log_mel
from inference.engines.musetalk.audio.silence_gate import REACH_SAMPLES, speech_weight
from inference.engines.musetalk.face import boxes, masks
from inference.engines.musetalk.face.boxes import Box
from inference.engines.musetalk.weights import find_tree

WEIGHTS = Path(__file__).parents[3] / "data" / "musetalk" / "weights"


@pytest.fixture(scope="module")
def encoder():
    return networks.load_networks(find_tree(WEIGHTS)).whisper


@pytest.mark.parametrize(
    ("samples", "frames"), [(0, 0), (639, 0), (640, 1), (18_560, 28), (36_480, 56), (640_000, 1000)]
)
def test_frames_are_counted_by_the_references_floats(samples, frames):
    """29 x 640 samples are 28 frames there: 1.16 x 25 is a little less than 29."""
    assert speech.frame_count(samples) == frames


def noise(count: int) -> Any:
    return torch.randn(2, count, generator=torch.Generator().manual_seed(1)) * 0.1


def test_a_window_hears_just_its_look_ahead(encoder):
    window = speech.StreamingWindow(before=6_400)
    samples = noise(6_400 + 640 + 1_480)
    with torch.inference_mode():
        found = window.tokens(encoder, samples, 1)
    assert found.shape == (2, 1, 50, 32)
    last = samples.clone()
    last[:, -1] += 0.5  # the very last sample of the exact look-ahead is heard
    with torch.inference_mode():
        assert not torch.equal(window.tokens(encoder, last, 1), found)


def test_less_look_ahead_is_silence_in_its_place(encoder):
    short = speech.StreamingWindow(before=6_400, after=640)
    exact = speech.StreamingWindow(before=6_400)
    samples = noise(6_400 + 640 + 1_480)
    quiet = samples.clone()
    quiet[:, 6_400 + 640 + 640 :] = 0
    with torch.inference_mode():
        found = short.tokens(encoder, samples[:, : 6_400 + 640 + 640], 1)
        torch.testing.assert_close(found, exact.tokens(encoder, quiet, 1))


def test_another_place_in_the_30_s_is_heard_otherwise(encoder):
    samples = noise(6_400 + 640 + 1_480)
    first, second = (
        speech.StreamingWindow(before=6_400, first_position=place) for place in (0, 700)
    )
    with torch.inference_mode():
        assert not torch.allclose(
            first.tokens(encoder, samples, 1), second.tokens(encoder, samples, 1)
        )


def test_a_floor_of_the_mels_maximum_flattens_what_is_quiet():
    quiet = noise(16_000) * 1e-4
    free = log_mel(quiet)
    held = log_mel(quiet, torch.full((2,), 1.5))
    assert free.std() > 5 * held.std()
    assert held.min() == pytest.approx((1.5 - 8 + 4) / 4)


@pytest.mark.parametrize("before", [960, 6_401, 0])
def test_windows_that_do_not_fall_on_features_are_refused(before):
    with pytest.raises(ValueError, match="multiple of 320"):
        speech.StreamingWindow(before=before)


def points_of(box: Box) -> "np.ndarray":
    return np.array([[box.x1, box.y1], [box.x2 + 0.9, box.y2 + 0.9]], np.float32)


def test_the_bridge_of_the_nose_is_the_middle_of_the_box():
    box = boxes.landmark_box(points_of(Box(100, 80, 200, 260)), bridge_y=180.7)
    assert box == (100, 100, 200, 260)
    assert boxes.with_margin(box, 512, 512) == (100, 100, 200, 270)
    assert boxes.with_margin(box, 180, 265) == (100, 100, 180, 265)


def test_the_box_starts_at_the_pictures_top_at_the_highest():
    assert boxes.landmark_box(points_of(Box(10, 0, 60, 120)), bridge_y=50) == (10, 0, 60, 120)


@pytest.mark.parametrize("points", [Box(-5, 80, 200, 260), Box(100, 80, 100, 260)])
def test_no_box_for_a_face_cut_by_the_left_edge_or_without_width(points):
    points = points_of(points)
    points[1, 0] = max(points[1, 0] - 0.9, 0)
    assert boxes.landmark_box(points, bridge_y=180) is None


def test_the_oval_covers_the_face_and_not_the_hair():
    mesh = np.full((468, 2), 256, np.float32)
    angles = np.linspace(0, 2 * np.pi, len(masks.FACE_OVAL), endpoint=False)
    mesh[list(masks.FACE_OVAL)] = 256 + 80 * np.stack([np.sin(angles), -np.cos(angles)], -1)
    crop = Box(106, 106, 406, 406)
    region = masks.oval_region(mesh, crop)
    assert region[256, 256] == 255
    assert region[:100].max() == 0
    assert region.mean() / 255 == pytest.approx(np.pi * 80**2 / 300**2, rel=0.05)


def burst(begin: int, end: int, level: float = 0.1) -> "np.ndarray":
    samples = np.zeros(40 * 640, np.float32)
    samples[begin * 640 : end * 640] = level
    return samples


def weights(samples) -> list[float]:
    """Of every frame, with the exact look-ahead."""
    return [
        speech_weight(samples[: (n + 1) * 640 + 1_480], n * 640, (n + 1) * 640) for n in range(40)
    ]


def test_the_mouth_comes_before_the_sound_and_leaves_after_it():
    found = weights(burst(10, 20))
    assert found[10:22] == [1.0] * 12
    assert found[9] == 1.0
    assert found[:8] == [0.0] * 8
    assert found[25:] == [0.0] * 15
    assert 0 < found[23] < found[22] <= 1


def test_what_is_very_quiet_is_silence():
    assert max(weights(burst(10, 20, level=0.001))) == 0
    assert max(weights(np.zeros(40 * 640, np.float32))) == 0
    assert speech_weight(np.zeros(0, np.float32), 0, 0) == 0


def test_sound_beyond_the_gates_reach_changes_nothing():
    before = 32_000
    for seed in range(200):
        noise = np.random.default_rng(seed)
        sound = np.zeros(before + 640 + 1_280, np.float32)
        begin = noise.integers(before - 2 * REACH_SAMPLES, len(sound))
        sound[begin : begin + noise.integers(1, 2_000)] = 0.1
        near = sound[before - REACH_SAMPLES :]
        assert speech_weight(near, REACH_SAMPLES, REACH_SAMPLES + 640) == speech_weight(
            sound, before, before + 640
        )
