"""Speech whose level changes, that is banged over, that begins in a vowel or holds one."""

import numpy as np
import pytest

pytest.importorskip("scipy")

from inference.engines.viseme.training import disturbances, phonetics, sounds
from inference.engines.viseme.training.opus import through_opus
from inference.engines.viseme.training.speech import Phoneme, Speech

PITCH = 160
"""Samples of a period: 100 Hz."""


def buzzing(seconds: float) -> np.ndarray:
    """A pulse train, which has a waveform to compare."""
    count = round(seconds * 16_000)
    return 0.5 * np.exp(-(np.arange(count) % PITCH) / 20).astype(np.float32)


def spoken() -> Speech:
    phonemes = (Phoneme(0.0, 0.2, "m"), Phoneme(0.2, 0.5, "a"), Phoneme(0.5, 0.7, "m"))
    return Speech(buzzing(0.7), phonemes, "ipa", "nobody")


def level(sound: np.ndarray) -> float:
    return float(np.sqrt(np.square(sound).mean()))


@pytest.mark.parametrize("seed", range(12))
def test_a_step_changes_the_level_by_ten_to_thirty_two_decibels(seed):
    sound = buzzing(2.0)
    stepped = disturbances.stepped(np.random.default_rng(seed), sound)
    change_db = 20 * np.log10(level(stepped[-3_200:]) / level(sound[-3_200:]))
    assert 9.9 < abs(change_db) < 32.1
    np.testing.assert_array_equal(stepped[:1_600], sound[:1_600])


@pytest.mark.parametrize("seed", range(12))
def test_a_bang_is_short_and_louder_than_the_speech(seed):
    sound = buzzing(2.0)
    banged = disturbances.banged(np.random.default_rng(seed), sound)
    differs = np.flatnonzero(banged != sound)
    assert np.abs(banged).max() > 1.5 * np.abs(sound).max()
    assert differs[-1] - differs[0] < 1_600


def test_speech_that_begins_in_a_vowel_has_no_mouth_before():
    speech = spoken()
    truth = phonetics.truth(speech, 17)
    frame = disturbances.first_frame_in_a_vowel(np.random.default_rng(0), truth)
    sound, later = disturbances.begun_at(frame, speech.samples, truth)
    assert 5 < frame < 12
    assert not sound[: frame * 640].any()
    assert not later.shapes[:frame].any()
    assert not later.speaking[:frame].any()
    np.testing.assert_array_equal(later.shapes[frame:], truth.shapes[frame:])
    assert truth.shapes[frame, 0] > 0.9


def test_without_a_vowel_it_begins_at_the_beginning():
    silence = phonetics.truth(Speech(buzzing(0.4), (Phoneme(0, 0.4, ""),), "ipa", "nobody"), 10)
    assert disturbances.first_frame_in_a_vowel(np.random.default_rng(0), silence) == 0


def test_a_held_vowel_lasts_and_what_follows_comes_later():
    speech = spoken()
    held = disturbances.held(np.random.default_rng(4), speech)
    longer_s = (len(held.samples) - len(speech.samples)) / 16_000
    assert 0.25 < longer_s < 1.65
    assert [phoneme.symbol for phoneme in held.phonemes] == ["m", "a", "m"]
    assert held.phonemes[1].end_s == pytest.approx(0.5 + longer_s)
    assert held.phonemes[2].end_s == pytest.approx(len(held.samples) / 16_000)
    # The grains meet in phase: the voice stays as loud, and keeps its pitch.
    middle = held.samples[7_000 : 7_000 + round(longer_s * 16_000) - 1_000]
    assert level(middle) == pytest.approx(level(speech.samples[4_000:7_000]), rel=0.15)
    assert np.corrcoef(middle[:-PITCH], middle[PITCH:])[0, 1] > 0.9


def test_speech_without_a_long_vowel_is_left_as_it_is():
    short = Speech(buzzing(0.3), (Phoneme(0.0, 0.3, "m"),), "ipa", "nobody")
    assert disturbances.held(np.random.default_rng(0), short) is short


def test_opus_keeps_the_place_and_the_level():
    generator = np.random.default_rng(6)
    noise = sounds.colored_noise(generator, 16_123, 2)
    sound = np.concatenate([np.zeros(4_000, np.float32), 0.1 * noise.astype(np.float32)])
    coded = through_opus(sound, 16_000)
    assert len(coded) == len(sound)
    assert np.corrcoef(coded, sound)[0, 1] > 0.8
    assert level(coded) == pytest.approx(level(sound), rel=0.2)


def test_breath_swells_and_ebbs():
    breath = sounds.breath(np.random.default_rng(7), 64_000)
    assert len(breath) == 64_000
    assert level(breath) == pytest.approx(1, abs=0.01)
    blocks = np.sqrt(np.square(breath.reshape(-1, 800)).mean(1))
    assert blocks.min() < 0.1 * blocks.max()
