"""Phoneme times from the durations of a model's tokens."""

import numpy as np
import pytest

pytest.importorskip("scipy")

from inference.engines.viseme.training.onnx_voice import Token, timed

HOP_S = 0.01


def loud(*stretches: tuple[float, float]) -> np.ndarray:
    """Levels: each so loud for so many seconds."""
    return np.concatenate(
        [np.full(round(seconds / HOP_S), level, np.float32) for seconds, level in stretches]
    )


def times(
    tokens: list[Token], loudness: np.ndarray, **settings: float
) -> list[tuple[str, float, float]]:
    return [
        (phoneme.symbol, round(phoneme.start_s, 3), round(phoneme.end_s, 3))
        for phoneme in timed(tokens, loudness, HOP_S, **settings)
    ]


def test_sounds_follow_each_other():
    tokens = [Token("a", 0.2), Token("m", 0.1)]
    assert times(tokens, loud((0.3, 1))) == [("a", 0, 0.2), ("m", 0.2, 0.3)]


def test_stress_belongs_to_the_sound_after_it_and_length_to_the_one_before():
    tokens = [Token("m", 0.1), Token("ˈ", 0.05), Token("a", 0.1), Token("ː", 0.1)]
    assert times(tokens, loud((0.35, 1))) == [("m", 0, 0.1), ("a", 0.1, 0.35)]


@pytest.mark.parametrize(("share", "border"), [(0.0, 0.1), (0.5, 0.15), (1.0, 0.2)])
def test_a_space_that_sounds_is_shared(share, border):
    tokens = [Token("a", 0.1), Token(" ", 0.1), Token("m", 0.1)]
    found = times(tokens, loud((0.3, 1)), share=share)
    assert found == [("a", 0, border), ("m", border, 0.3)]


def test_a_space_that_is_silent_is_a_pause():
    tokens = [Token("a", 0.1), Token(" ", 0.2), Token("m", 0.1)]
    found = times(tokens, loud((0.1, 1), (0.2, 0), (0.1, 1)))
    assert found == [("a", 0, 0.1), ("", 0.1, 0.3), ("m", 0.3, 0.4)]


def test_silence_that_a_model_spends_on_a_vowel_is_a_pause():
    tokens = [Token("a", 0.4), Token("m", 0.1)]
    found = times(tokens, loud((0.2, 1), (0.2, 0), (0.1, 1)))
    assert found == [("a", 0, 0.2), ("", 0.2, 0.4), ("m", 0.4, 0.5)]


def test_the_silence_of_a_stop_is_its_own():
    found = times([Token("a", 0.1), Token("p", 0.1)], loud((0.1, 1), (0.1, 0)))
    assert found == [("a", 0, 0.1), ("p", 0.1, 0.2)]


def test_times_that_are_late_are_moved():
    tokens = [Token("_", 0.1), Token("a", 0.2)]
    found = times(tokens, loud((0.04, 0), (0.2, 1)), late_s=0.06)
    assert found == [("", -0.06, 0.04), ("a", 0.04, 0.24)]
