"""What happens to speech in time: its level falls, something bangs, it begins in a vowel.

The level of the sound before decides how a sound looks to the net (`features`). So it must learn
that speech is speech 30 dB below what came before, and right after a bang, and that a vowel may be
the first thing that it ever hears.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from inference.engines.viseme.training import phonetics
from inference.engines.viseme.training.sounds import Sound
from inference.engines.viseme.training.speech import Phoneme, Speech
from inference.timing import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

_STEP_DB = (10.0, 32.0)
_BANG_DB = (6.0, 30.0)
_VOWELS = ("aa", "E", "I", "O", "U")
_SHORTEST_HELD_S = 0.07
_HELD_S = (0.3, 1.6)
_GRAIN = 640
"""Samples of a grain of a held vowel: some periods of any voice."""
_SEARCH = 160
"""How far a grain is moved to fit the end of the one before: a period of 100 Hz."""


def stepped(generator: np.random.Generator, sound: Sound) -> Sound:
    """Suddenly quieter, mostly, or louder."""
    change_db = generator.uniform(*_STEP_DB) * (-1 if generator.random() < 0.8 else 1)
    at = int(generator.uniform(0.15, 0.75) * len(sound))
    ramp = int(generator.integers(16, 800))
    rise = np.clip((np.arange(len(sound)) - at) / ramp, 0, 1)
    return np.asarray(sound * 10 ** (change_db / 20 * rise), np.float32)


def banged(generator: np.random.Generator, sound: Sound) -> Sound:
    """With a pop, a click or a knock louder than the speech."""
    length = int(generator.integers(32, 1_600))
    at = int(generator.integers(0, max(len(sound) - length, 1)))
    bang = generator.standard_normal(length) * np.exp(-np.arange(length) * 5 / length)
    if generator.random() < 0.5:
        pitch_hz = generator.uniform(40, 300)
        bang = np.sin(2 * np.pi * pitch_hz * np.arange(length) / SAMPLE_RATE_HZ) * np.exp(
            -np.arange(length) * 5 / length
        )
    loud = float(np.abs(sound).max()) * 10 ** (generator.uniform(*_BANG_DB) / 20)
    mixed = sound.copy()
    mixed[at : at + length] += (bang * loud / (np.abs(bang).max() + 1e-9))[: len(sound) - at]
    return np.asarray(mixed, np.float32)


def first_frame_in_a_vowel(generator: np.random.Generator, truth: phonetics.Truth) -> int:
    """A frame in the middle of a vowel; 0 if there is none."""
    vowels = [phonetics.VISEMES.index(name) for name in _VOWELS]
    is_vowel = np.isin(truth.visemes, vowels)
    middles = np.flatnonzero(is_vowel[1:-1] & is_vowel[:-2] & is_vowel[2:]) + 1
    return int(generator.choice(middles)) if len(middles) else 0


def begun_at(frame: int, sound: Sound, truth: phonetics.Truth) -> tuple[Sound, phonetics.Truth]:
    """As if nothing had been heard before ``frame``."""
    sound = sound.copy()
    sound[: frame * SAMPLES_PER_FRAME] = 0
    later = np.arange(len(truth.visemes)) >= frame
    return sound, phonetics.Truth(
        truth.shapes * later[:, None].astype(np.float32),
        truth.visemes * later,
        truth.closed * later.astype(np.float32),
        truth.speaking * later.astype(np.float32),
    )


def held(generator: np.random.Generator, speech: Speech) -> Speech:
    """The same with one of its vowels held; as it is if none is long enough."""
    places = [
        number
        for number, phoneme in enumerate(speech.phonemes)
        if phoneme.end_s - phoneme.start_s >= _SHORTEST_HELD_S
        and len(_viseme_names(phoneme, speech)) == 1
        and _viseme_names(phoneme, speech)[0] in _VOWELS
    ]
    if not places:
        return speech
    place = int(generator.choice(places))
    vowel = speech.phonemes[place]
    middle = round((vowel.start_s + vowel.end_s) / 2 * SAMPLE_RATE_HZ)
    half = round(0.3 * (vowel.end_s - vowel.start_s) * SAMPLE_RATE_HZ)
    source = speech.samples[middle - half - _GRAIN // 2 : middle + half + _GRAIN // 2]
    if len(source) <= _GRAIN:
        return speech
    longer_s = generator.uniform(*_HELD_S)
    sustained = _sustained(generator, source, round(longer_s * SAMPLE_RATE_HZ))
    samples = np.concatenate([speech.samples[:middle], sustained, speech.samples[middle:]])
    longer_s = len(sustained) / SAMPLE_RATE_HZ
    phonemes = [
        *speech.phonemes[:place],
        Phoneme(vowel.start_s, vowel.end_s + longer_s, vowel.symbol),
        *(
            Phoneme(p.start_s + longer_s, p.end_s + longer_s, p.symbol)
            for p in speech.phonemes[place + 1 :]
        ),
    ]
    return replace(speech, samples=samples.astype(np.float32), phonemes=tuple(phonemes))


def _viseme_names(phoneme: Phoneme, speech: Speech) -> list[str]:
    targets = phonetics.targets_of(phoneme.symbol, arpabet=speech.alphabet == "arpabet")
    return [target.viseme for _, target in targets]


def _sustained(generator: np.random.Generator, source: Sound, count: int) -> NDArray[np.float64]:
    """``count`` samples of grains of ``source``, each laid where it fits the one before.

    Waveform-similarity overlap-add (Verhelst and Roelands 1993), at random places instead of
    consecutive ones.
    """
    half = _GRAIN // 2
    window = np.hanning(_GRAIN + 1)[:-1]
    sound = np.zeros(count + 2 * _GRAIN)
    last = len(source) - _GRAIN
    expected = source[:half].astype(np.float64)
    for at in range(0, count + half, half):
        start = int(generator.integers(0, last + 1))
        first, end = max(start - _SEARCH, 0), min(start + _SEARCH, last)
        fits = np.correlate(source[first : end + half], expected, "valid")
        start = first + int(np.argmax(fits))
        sound[at : at + _GRAIN] += source[start : start + _GRAIN] * window
        expected = source[start + half : start + _GRAIN].astype(np.float64)
    return sound[half : half + count]
