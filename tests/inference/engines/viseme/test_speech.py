"""Both synthesizers, where they are installed: what they say and when."""

import ctypes.util
import shutil

import numpy as np
import pytest

pytest.importorskip("scipy")

from inference.engines.viseme.training import speech

SENTENCE = "Papa may stop by a big apple tree."

needs_espeak = pytest.mark.skipif(
    not ctypes.util.find_library("espeak-ng"), reason="needs espeak-ng (Debian package espeak-ng)"
)
needs_flite = pytest.mark.skipif(
    not shutil.which("flite"), reason="needs flite (Debian package flite)"
)


def say_espeak() -> speech.Speech:
    return speech.espeak(SENTENCE, "en-us+m3")


def say_flite() -> speech.Speech:
    return speech.flite(SENTENCE, "slt")


speakers = pytest.mark.parametrize(
    "say",
    [pytest.param(say_espeak, marks=needs_espeak), pytest.param(say_flite, marks=needs_flite)],
)


def level(spoken: speech.Speech, start_s: float, end_s: float) -> float:
    part = spoken.samples[round(start_s * 16_000) : round(end_s * 16_000)]
    return float(np.sqrt(np.mean(np.square(part)))) if len(part) else 0.0


@speakers
def test_phonemes_follow_each_other_without_gaps(say):
    spoken = say()
    assert spoken.samples.dtype == np.float32
    for before, after in zip(spoken.phonemes, spoken.phonemes[1:], strict=False):
        assert before.start_s < before.end_s
        assert after.start_s == pytest.approx(before.end_s)
    assert spoken.phonemes[-1].end_s <= len(spoken.samples) / 16_000 + 0.01


@speakers
def test_the_closure_of_a_stop_is_quieter_than_the_vowels(say):
    spoken = say()
    closures = [
        level(spoken, p.start_s + 0.01, p.end_s - 0.02)
        for p in spoken.phonemes
        if p.symbol == "p" and p.end_s - p.start_s > 0.04
    ]
    vowels = [
        level(spoken, p.start_s, p.end_s)
        for p in spoken.phonemes
        if p.symbol[:1] in "aɑæeɪ" and p.symbol
    ]
    assert len(closures) >= 3
    assert np.median(closures) < 0.3 * np.median(vowels)


@needs_espeak
def test_the_same_bilabials_are_found_in_every_variant():
    def bilabials(voice: str) -> list[str]:
        spoken = speech.espeak(SENTENCE, voice)
        return [p.symbol for p in spoken.phonemes if p.symbol[:1] in tuple("pbm")]

    assert bilabials("en-us+f2") == bilabials("en-us+klatt2") == list("ppmpbbp")


@needs_espeak
def test_an_unknown_voice_is_reported():
    with pytest.raises(speech.SynthesisError, match="no voice"):
        speech.espeak(SENTENCE, "xx-nowhere")


@speakers
def test_padding_and_resizing_move_the_phonemes_with_the_sound(say):
    spoken = say()
    changed = speech.resized(speech.padded(spoken, 0.5, 0.25), 1.2)
    assert len(changed.samples) == pytest.approx((len(spoken.samples) + 12_000) * 1.2, abs=2)
    for before, after in zip(spoken.phonemes, changed.phonemes, strict=True):
        assert after.start_s == pytest.approx((before.start_s + 0.5) * 1.2)
        assert after.symbol == before.symbol
