import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.engines.viseme import features


def sound(seed: int, steps: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    count = features.LEAD + steps * features.HOP
    envelope = 0.2 + np.abs(np.sin(np.arange(count) / 3_000))
    return (0.1 * envelope * generator.standard_normal(count)).astype(np.float32)[None]


def test_one_step_for_each_ten_milliseconds():
    assert features.log_mels(sound(0, 12)).shape == (1, 12, features.MELS)
    assert features.log_mels(sound(0, 12)).dtype == np.float32


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1_000), gain_db=st.floats(-30, 15))
def test_loudness_makes_no_difference(seed, gain_db):
    heard = sound(seed, 8)
    louder = (heard * 10 ** (gain_db / 20)).astype(np.float32)
    np.testing.assert_allclose(features.log_mels(louder), features.log_mels(heard), atol=1e-3)


def test_a_step_depends_on_nothing_after_it():
    whole = sound(1, 20)
    part = whole[:, : features.LEAD + 12 * features.HOP]
    np.testing.assert_allclose(features.log_mels(whole)[:, :12], features.log_mels(part), atol=1e-5)


def test_a_step_depends_on_its_own_second_alone():
    whole = sound(2, 20)
    end = whole[:, 10 * features.HOP :]
    np.testing.assert_allclose(features.log_mels(whole)[:, 10:], features.log_mels(end), atol=1e-5)


def test_digital_silence_is_finite():
    silence = np.zeros((1, features.LEAD + features.HOP), np.float32)
    assert np.isfinite(features.log_mels(silence)).all()


@pytest.mark.parametrize(("pitch_hz", "lower", "higher"), [(200, 0, 15), (5_000, 15, 40)])
def test_a_tone_is_heard_in_its_band(pitch_hz, lower, higher):
    count = features.LEAD + features.HOP
    tone = np.sin(2 * np.pi * pitch_hz * np.arange(count) / 16_000).astype(np.float32)
    assert lower <= features.log_mels(tone[None])[0, 0].argmax() < higher
