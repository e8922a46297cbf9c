"""Brows, nods and blinks: after what stands out of the speech, smooth, and never without it."""

import numpy as np
import pytest

from inference.engines.viseme.emphasis import (
    BLINK,
    HEARD,
    TAIL,
    Emphasis,
    _blink,
    emphasis,
    melody,
    next_melody,
)
from inference.timing import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

AFTER = 640
FRAMES = 100


def voice(pitches_hz: np.ndarray, levels: np.ndarray, *, rate: int = SAMPLE_RATE_HZ) -> np.ndarray:
    """A buzz whose pitch and level are given frame by frame; float32."""
    pitch = np.repeat(pitches_hz, SAMPLES_PER_FRAME)
    level = np.convolve(np.repeat(levels, SAMPLES_PER_FRAME), np.ones(320) / 320, "same")
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    return (level * sum(np.sin(n * phase) / n for n in range(1, 12))).astype(np.float32)


def syllables(accent: int | None = None, *, frames: int = FRAMES, base_hz: float = 120.0):
    """Syllables of five frames; the one that begins at frame ``accent`` is louder and higher."""
    at = np.arange(frames)
    levels = np.where(at % 5 < 4, 0.08, 0.02)
    pitches = np.full(frames, base_hz)
    if accent is not None:
        levels[accent : accent + 4] = 0.25
        pitches[accent : accent + 4] = 1.35 * base_hz
    return voice(pitches, levels)


def windows(sound: np.ndarray) -> list[np.ndarray]:
    """The window of each frame of ``sound``."""
    known = np.pad(sound, (HEARD * SAMPLES_PER_FRAME, AFTER))
    size = HEARD * SAMPLES_PER_FRAME + AFTER
    starts = range(SAMPLES_PER_FRAME, len(sound) + 1, SAMPLES_PER_FRAME)
    return [known[start : start + size] for start in starts]


def over_time(sound: np.ndarray) -> np.ndarray:
    """`Emphasis` of each frame of ``sound``, ``[frames, 3]``."""
    return np.array([emphasis(melody(window, AFTER))[0] for window in windows(sound)])


def test_silence_moves_nothing() -> None:
    assert not over_time(np.zeros(40 * SAMPLES_PER_FRAME, np.float32)).any()


def test_a_stressed_syllable_raises_the_brows_and_dips_the_head() -> None:
    moved = over_time(syllables(accent=60))
    plain = over_time(syllables())
    for joint in (0, 1):
        peak = int(moved[:, joint].argmax())
        assert 60 <= peak <= 70
        assert moved[peak, joint] > 0.3
        assert moved[:58, joint].max() < 0.15 > plain[40:, joint].max()
        assert moved[-1, joint] < 0.1


@pytest.mark.parametrize("gain", [0.1, 3.0])
def test_the_level_does_not_matter(gain: float) -> None:
    sound = syllables(accent=60)
    np.testing.assert_allclose(over_time(gain * sound), over_time(sound), atol=0.08)


def test_a_noise_that_swells_is_no_stress() -> None:
    random = np.random.default_rng(1)
    noise = random.normal(0, 0.02, FRAMES * SAMPLES_PER_FRAME).astype(np.float32)
    noise[60 * SAMPLES_PER_FRAME : 64 * SAMPLES_PER_FRAME] *= 4
    assert over_time(noise)[:, :2].max() < 0.2


def test_no_frame_jumps_from_the_one_before() -> None:
    steps = np.abs(np.diff(over_time(syllables(accent=60))[:, :2], axis=0))
    assert steps.max() < 0.3


def test_the_eyes_blink_once_at_the_end_of_a_phrase() -> None:
    sound = np.concatenate([syllables(frames=50), np.zeros(40 * SAMPLES_PER_FRAME, np.float32)])
    shut = over_time(sound)[:, 2]
    first = int(np.flatnonzero(shut)[0])
    assert 50 <= first <= 56
    np.testing.assert_allclose(shut[first : first + len(BLINK)], BLINK)
    assert not shut[first + len(BLINK) :].any()


@pytest.mark.parametrize("pause", range(1, 8))
def test_a_blink_that_has_begun_is_completed(pause: int) -> None:
    """Whatever follows: a single frame with half-shut eyes is a flicker."""
    is_sound = [False] * HEARD + [True] * 20 + [False] * pause + [True] * 20
    ends = range(HEARD, len(is_sound) + 1)
    shut = [blink for end in ends if (blink := _blink(is_sound[end - HEARD : end]))]
    assert shut in ([], list(BLINK))
    assert bool(shut) == (pause >= 4)


def test_a_frame_after_another_is_heard_as_alone() -> None:
    sound = syllables(accent=30, frames=60)
    first, *others = windows(sound)
    followed = melody(first, AFTER)
    for window in others:
        followed = next_melody(window[-TAIL - AFTER :], AFTER, followed)
        np.testing.assert_allclose(
            emphasis(followed)[0], emphasis(melody(window, AFTER))[0], atol=1e-5
        )
    assert len(emphasis(followed)[0]) == len(Emphasis._fields)


@pytest.mark.parametrize(
    ("level_db", "wanted"),
    [(-50, 0.8), (-40, 0.86), (-26, 1.0), (-20, 1.0), (-12, 1.1), (-6, 1.15)],
)
def test_a_whisper_opens_the_mouth_less_and_a_shout_more(level_db: float, wanted: float) -> None:
    sound = voice(np.full(HEARD + 1, 120.0), np.full(HEARD + 1, 1.0))
    sound *= 10 ** (level_db / 20) / np.sqrt(np.mean(sound**2))
    _, effort = emphasis(melody(sound, AFTER))
    assert effort == pytest.approx(wanted, abs=0.03)
