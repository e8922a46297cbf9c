import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.engines.viseme import features
from inference.timing import SAMPLES_PER_FRAME


def sound(seed: int, steps: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    count = features.LEAD + steps * features.HOP
    envelope = 0.2 + np.abs(np.sin(np.arange(count) / 3_000))
    return (0.1 * envelope * generator.standard_normal(count)).astype(np.float32)[None]


def test_one_step_for_each_ten_milliseconds():
    assert features.log_mels(sound(0, 12)).shape == (1, 12, features.MELS)
    assert features.log_mels(sound(0, 12)).dtype == np.float32


@settings(max_examples=20)
@given(seed=st.integers(0, 1_000), gain_db=st.floats(-30, 15))
def test_loudness_makes_no_difference(seed, gain_db):
    heard = sound(seed, 8)
    louder = (heard * 10 ** (gain_db / 20)).astype(np.float32)
    np.testing.assert_allclose(features.log_mels(louder), features.log_mels(heard), atol=1e-3)


def heard_after(loud_s: float, ago_s: float, louder_db: float) -> float:
    """Return by how much, in dB, a step is heard quieter for something loud before it."""
    rng = np.random.default_rng(5)
    steady = (0.01 * rng.standard_normal(features.LEAD + features.HOP)).astype(np.float32)[None]
    end = steady.shape[1] - round(ago_s * 16_000)
    louder = steady.copy()
    louder[:, end - round(loud_s * 16_000) : end] *= 10 ** (louder_db / 20)
    plain, behind = (features.log_mels(one)[0, 0] for one in (steady, louder))
    return float(np.median(plain - behind)) * 10 / np.log(10)


@pytest.mark.parametrize("louder_db", [10, 20])
def test_a_loud_syllable_is_the_measure_of_those_around_it(louder_db):
    assert heard_after(0.2, 0.15, louder_db) == pytest.approx(louder_db, abs=1.5)


@pytest.mark.parametrize("loud_s", [0.03, 0.2])
@pytest.mark.parametrize("louder_db", [20, 30])
def test_what_was_loud_before_the_last_syllables_is_soon_forgotten(loud_s, louder_db):
    # What is over for .9 s has fallen by 32 dB; before, it hid all for a second.
    assert abs(heard_after(loud_s, 0.9, louder_db)) < 4.0


def test_a_step_depends_on_nothing_after_it():
    whole = sound(1, 20)
    part = whole[:, : features.LEAD + 12 * features.HOP]
    np.testing.assert_allclose(features.log_mels(whole)[:, :12], features.log_mels(part), atol=1e-5)


def test_a_step_depends_on_its_own_second_alone():
    whole = sound(2, 20)
    end = whole[:, 10 * features.HOP :]
    np.testing.assert_allclose(features.log_mels(whole)[:, 10:], features.log_mels(end), atol=1e-5)


def test_the_steps_of_a_frame_that_follows_are_those_of_its_own_window():
    whole = sound(3, 32)
    window = features.LEAD + 12 * features.HOP
    mels, energies = features.log_mels_and_energies(whole[:, :window])
    for end in range(window + SAMPLES_PER_FRAME, whole.shape[1] + 1, SAMPLES_PER_FRAME):
        mels, energies = features.next_log_mels(whole[:, end - features.TAIL : end], energies)
        alone = features.log_mels(whole[:, end - window : end])
        np.testing.assert_allclose(mels, alone[:, -4:], atol=1e-4)


def test_digital_silence_is_finite():
    silence = np.zeros((1, features.LEAD + features.HOP), np.float32)
    assert np.isfinite(features.log_mels(silence)).all()


@pytest.mark.parametrize(("pitch_hz", "lower", "higher"), [(200, 0, 15), (5_000, 15, 40)])
def test_a_tone_is_heard_in_its_band(pitch_hz, lower, higher):
    count = features.LEAD + features.HOP
    tone = np.sin(2 * np.pi * pitch_hz * np.arange(count) / 16_000).astype(np.float32)
    assert lower <= features.log_mels(tone[None])[0, 0].argmax() < higher


def test_windows_that_come_together_are_heard_as_alone():
    several = np.concatenate([sound(seed, 12) for seed in range(3)])
    alone = [features.log_mels(window[None])[0] for window in several]
    np.testing.assert_array_equal(features.log_mels(several), alone)


def test_differences_between_bands_are_those_of_a_plain_fourier_transform():
    heard = sound(4, 9)
    emphasised = np.append(0, heard[0, 1:] - 0.9 * heard[0, :-1].astype(np.float64))
    ends = features.LEAD + features.HOP * np.arange(1, 10)
    spans = np.stack([emphasised[end - 400 : end] for end in ends]) * np.hanning(400)
    powers = np.abs(np.fft.rfft(spans, 512)) ** 2
    lowest, highest = (2595 * np.log10(1 + hz / 700) for hz in (60, 7_600))
    corners = np.linspace(lowest, highest, features.MELS + 2)
    corners = 700 * (10 ** (corners / 2595) - 1) / 31.25
    bands = np.array([np.interp(np.arange(257), corners[i : i + 3], [0, 1, 0]) for i in range(40)])
    plain = np.log(powers @ bands.T)
    shown = np.log(np.exp(features.log_mels(heard)[0].astype(np.float64)) - 1e-6)
    np.testing.assert_allclose(np.diff(shown, axis=1), np.diff(plain, axis=1), atol=2e-3)


def test_a_strided_view_holds_the_elements_it_names():
    rows = np.arange(24, dtype=np.float32).reshape(2, 12)
    view = features.strided(rows, (3, 2), (4, 1), first=1)
    np.testing.assert_array_equal(view[0], [[1, 2], [5, 6], [9, 10]])
    np.testing.assert_array_equal(view[1], view[0] + 12)
