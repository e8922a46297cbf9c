import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.media.resampling import HALF_S, Resampler, mix_down

RATES = (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


def tones(rate: int, seconds: float) -> np.ndarray:
    """Three tones below the pass band's edge, int16."""
    t = np.arange(round(rate * seconds)) / rate
    waves = 8_000 * np.sin(2 * np.pi * 440 * t) + 4_000 * np.sin(2 * np.pi * 3_000 * t)
    if rate > 16_000:
        waves += 2_000 * np.sin(2 * np.pi * 6_500 * t)
    return waves.astype(np.int16)


def level_db(error: np.ndarray, reference: np.ndarray) -> float:
    power = np.mean(np.square(error, dtype=float)) / np.mean(np.square(reference, dtype=float))
    return float(10 * np.log10(power + 1e-20))


def in_one_pass(samples: np.ndarray, rate: int) -> np.ndarray:
    resampler = Resampler(rate)
    return np.concatenate([resampler.push(samples), resampler.flush()])


@pytest.mark.parametrize("rate", RATES)
@settings(max_examples=30)
@given(sizes=st.lists(st.integers(1, 4_800), min_size=1, max_size=20))
def test_how_the_input_is_cut_does_not_change_the_output(rate, sizes):
    samples = tones(rate, 0.1)
    resampler, pieces, at = Resampler(rate), [], 0
    while at < len(samples):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(resampler.push(samples[at : at + size]))
        at += size
    pieces.append(resampler.flush())
    whole = in_one_pass(samples, rate)
    cut = np.concatenate(pieces)
    assert len(cut) == len(whole)
    assert level_db(cut.astype(float) - whole, whole) < -80


@pytest.mark.parametrize("rate", RATES)
def test_the_output_is_that_of_a_reference_resampler(rate):
    samples = tones(rate, 1)
    ours = in_one_pass(samples, rate).astype(float)
    reference = soxr.resample(samples.astype(float), rate, 16_000, quality="VHQ")
    inner = slice(800, min(len(ours), len(reference)) - 800)
    assert level_db(ours[inner] - reference[inner], reference[inner]) < -75


@pytest.mark.parametrize("rate", [22_050, 24_000, 32_000, 44_100, 48_000])
def test_what_16_khz_cannot_hold_is_gone(rate):
    t = np.arange(rate) / rate
    tone = (8_000 * np.sin(2 * np.pi * min(9_500, rate / 2 - 500) * t)).astype(np.int16)
    assert level_db(in_one_pass(tone, rate)[800:-800], tone) < -75


@pytest.mark.parametrize("rate", RATES)
@given(samples=st.integers(1, 5_000))
def test_the_number_of_samples_is_exact(rate, samples):
    assert len(in_one_pass(np.ones(samples, np.int16), rate)) == -(-samples * 16_000 // rate)


@pytest.mark.parametrize(
    ("rate", "minutes"),
    [(44_100, 10), *(pytest.param(each, 60, marks=pytest.mark.lasting) for each in RATES)],
)
def test_the_number_of_samples_is_exact_over_a_long_time(rate, minutes):
    resampler, piece, count = Resampler(rate), np.zeros(4 * rate + 7, np.int16), 0
    sent = 0
    while sent < 60 * minutes * rate:
        count += len(resampler.push(piece))
        sent += len(piece)
    assert count + len(resampler.flush()) == -(-sent * 16_000 // rate)


@pytest.mark.parametrize("rate", RATES)
def test_no_more_than_5_ms_are_held_back(rate):
    resampler, sent, come = Resampler(rate), 0, 0
    for _ in range(50):
        come += len(resampler.push(np.ones(rate // 100, np.int16)))
        sent += rate // 100
        assert sent / rate - come / 16_000 <= HALF_S + 2 / 8_000 <= 0.005


@pytest.mark.parametrize("rate", RATES)
def test_input_may_continue_after_a_flush(rate):
    samples = tones(rate, 0.2)
    resampler = Resampler(rate)
    first = [resampler.push(samples[: rate // 10]), resampler.flush()]
    assert len(np.concatenate(first)) == 1_600
    rest = [resampler.push(samples[rate // 10 :]), resampler.flush()]
    joined, whole = np.concatenate(first + rest), in_one_pass(samples, rate)
    assert len(joined) == len(whole)
    after = slice(1_600, None)
    assert level_db(joined[after].astype(float) - whole[after], whole[after]) < -80


def test_full_scale_does_not_wrap():
    square = np.resize(np.repeat(np.array([32_767, -32_768], np.int16), 40), 24_000)
    out = in_one_pass(square, 24_000)
    assert np.sign(out[20:26]).tolist() == [1] * 6


def test_two_channels_are_mixed_down():
    left, right = (
        np.array([32_767, -32_768, 100], np.int16),
        np.array([32_767, -32_768, -100], np.int16),
    )
    stereo = np.stack([left, right], axis=1).astype("<i2").tobytes()
    assert mix_down(stereo, 2).tolist() == [32_767, -32_768, 0]
    assert mix_down(left.astype("<i2").tobytes(), 1).tolist() == left.tolist()
