"""The parts of the training that need no synthesizer."""

from random import Random

import numpy as np
import pytest

pytest.importorskip("scipy")

from inference.engines.viseme.shape import MouthShape
from inference.engines.viseme.training import (
    augmentation,
    corpus,
    phonetics,
    scores,
    sentences,
    sounds,
    speech,
)

OPEN, _, ROUND, PRESS, TUCK, *_rest = range(len(MouthShape._fields))


def said(*timed: tuple[str, float], alphabet: speech.Alphabet = "ipa") -> speech.Speech:
    """Phonemes and their durations."""
    phonemes = []
    start_s = 0.0
    for symbol, duration_s in timed:
        phonemes.append(speech.Phoneme(start_s, start_s + duration_s, symbol))
        start_s += duration_s
    samples = np.zeros(round(start_s * 16_000), np.float32)
    return speech.Speech(samples, tuple(phonemes), alphabet, "nobody")


class TestTruth:
    def test_silence_is_the_rest_pose(self):
        truth = phonetics.truth(said(("", 0.4)), 10)
        assert not truth.shapes.any()
        assert not truth.speaking.any()

    def test_a_long_vowel_opens_wide(self):
        truth = phonetics.truth(said(("", 0.2), ("ɑː", 0.4), ("", 0.2)), 20)
        assert truth.shapes[8:12, OPEN].min() > 0.9
        assert truth.shapes[0, OPEN] < 0.05

    @pytest.mark.parametrize("start_s", np.linspace(0.2, 0.24, 9))
    @pytest.mark.parametrize("labial", ["p", "b", "m"])
    def test_even_a_short_bilabial_shuts_a_whole_frame(self, labial, start_s):
        truth = phonetics.truth(said(("a", start_s), (labial, 0.045), ("a", 0.3)), 12)
        assert truth.shapes[:, OPEN].min() == 0
        assert truth.shapes[:, PRESS].max() == 1

    def test_a_labiodental_tucks_the_lip(self):
        truth = phonetics.truth(said(("a", 0.2), ("f", 0.1), ("a", 0.2)), 12)
        assert truth.shapes[:, TUCK].max() == 1
        assert truth.shapes[truth.shapes[:, TUCK].argmax(), OPEN] < 0.15

    def test_a_diphthong_moves(self):
        truth = phonetics.truth(said(("aʊ", 0.4)), 10)
        assert truth.shapes[1, OPEN] > 0.8
        assert truth.shapes[-1, ROUND] > 0.8

    def test_both_alphabets_name_the_same_mouths(self):
        ipa = phonetics.truth(said(("tʃ", 0.2), ("eɪ", 0.2), ("m", 0.2)), 15)
        arpabet = phonetics.truth(
            said(("ch", 0.2), ("ey", 0.2), ("m", 0.2), alphabet="arpabet"), 15
        )
        np.testing.assert_array_equal(ipa.shapes, arpabet.shapes)

    @pytest.mark.parametrize("symbol", ["ɔ̃", "ä", "tɕh", "ɯᵝ", "uo", "ɐ̃ʊ̃", "oːɹ", "bʰ"])
    def test_diacritics_do_not_hide_a_sound(self, symbol):
        assert phonetics.targets_of(symbol)


class TestScores:
    truth = phonetics.truth(
        said(*(pair for _ in range(12) for pair in (("a", 0.2), ("m", 0.08), ("i", 0.15)))), 125
    )
    opening = truth.shapes[:, OPEN]

    def test_the_truth_scores_fully_against_itself(self):
        assert scores.correlation(self.opening, self.opening) == pytest.approx(1)
        assert scores.best_lag(self.opening, self.opening)[0] == 0
        assert scores.separation(self.opening, self.truth) > 0.99
        hits, total = scores.closures(self.opening, self.truth)
        assert hits == total == 12
        assert scores.wrongly_closed(self.opening, self.truth) == 0

    def test_a_late_mouth_lags(self):
        assert scores.best_lag(np.roll(self.opening, 2), self.opening)[0] == 2

    def test_a_mouth_that_never_closes_is_reported(self):
        half_open = np.maximum(self.opening, 0.3)
        assert scores.closures(half_open, self.truth)[0] == 0

    def test_a_mouth_that_does_not_move_follows_nothing(self):
        still = np.full_like(self.opening, 0.4)
        assert scores.correlation(still, self.opening) == 0
        assert scores.separation(still, self.truth) == pytest.approx(0.5)


class TestSentences:
    def test_a_seed_says_the_same_again(self):
        first, second = (
            [sentences.training_sentence("de", random) for _ in range(5)]
            for random in (Random(3), Random(3))
        )
        assert first == second

    def test_spanish_is_not_among_the_languages(self):
        assert not any(language.startswith("es") for language in sentences.languages())

    def test_no_voice_that_is_held_out_is_trained_on(self):
        assert not set(corpus.HELD_OUT_VARIANTS) & set(corpus.VARIANTS.split())
        assert "awb" not in corpus.FLITE_PITCH_HZ


class TestSounds:
    @pytest.mark.parametrize("exponent", [0, 1, 2])
    def test_noise_has_its_color(self, exponent):
        noise = sounds.colored_noise(np.random.default_rng(0), 64_000, exponent)
        power = np.abs(np.fft.rfft(noise)) ** 2
        low, high = power[2_000:4_000].mean(), power[16_000:32_000].mean()
        octaves = 3
        assert 10 * np.log10(low / high) == pytest.approx(3 * exponent * octaves, abs=1)

    def test_music_is_sound_at_the_level_it_says(self):
        played = sounds.music(np.random.default_rng(1), 32_000, sounds.TRAINING_INSTRUMENTS)
        assert len(played) == 32_000
        assert np.sqrt(np.mean(played**2)) == pytest.approx(1, abs=0.01)

    def test_no_instrument_of_the_evaluation_is_trained_on(self):
        assert not set(sounds.HELD_OUT_INSTRUMENTS) & set(sounds.TRAINING_INSTRUMENTS)

    def test_mixing_keeps_the_ratio(self):
        generator = np.random.default_rng(2)
        speech_like, noise = (sounds.colored_noise(generator, 16_000, n) for n in (1, 0))
        added = augmentation.mixed(speech_like, noise, 10) - speech_like
        ratio = np.mean(speech_like**2) / np.mean(added**2)
        assert 10 * np.log10(ratio) == pytest.approx(10, abs=0.01)


class TestFit:
    """What of the fit can be said without fitting."""

    def test_a_bilabial_that_stays_open_costs_and_a_frame_early_or_late_does_not(self):
        torch = pytest.importorskip("torch")
        from inference.engines.viseme.training import fit

        press = torch.zeros(1, 12)
        press[0, 5] = 1.0
        shut = torch.full((1, 12), 0.5)
        assert float(fit._left_open(shut, press)) > 0.2
        for frame in (4, 5, 6):
            closing = shut.clone()
            closing[0, frame] = 0.02
            assert float(fit._left_open(closing, press)) == 0
        assert float(fit._left_open(shut, torch.zeros(1, 12))) == 0

    def test_weights_lie_between_those_they_were_fitted_from_and_the_fit(self, tmp_path):
        torch = pytest.importorskip("torch")
        from inference.engines.viseme.training import fit

        torch.manual_seed(1)
        first, second = (fit.TrainedNet(torch.zeros(40), torch.ones(40)) for _ in range(2))
        for net in (first, second):
            net.eval()
        fit.export(first, tmp_path / "first.npz", 640)
        fit.export(second, tmp_path / "second.npz", 640)
        fit.export(second, tmp_path / "between.npz", 640, tmp_path / "first.npz", 0.25)
        weights = [np.load(tmp_path / f"{name}.npz") for name in ("first", "second", "between")]
        old, new, between = (one["kernel_2"].astype(np.float32) for one in weights)
        np.testing.assert_allclose(between, 0.25 * old + 0.75 * new, atol=1e-3)
        assert int(weights[2]["after"]) == 640
