"""What happens to speech before it reaches a microphone's other end.

Synthetic voices are cleaner and more alike than any person's. So each utterance is colored,
reverberated, mixed with noise or music, band-limited, made loud, quiet or clipped, at random.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from inference.engines.viseme.training.opus import through_opus
from inference.engines.viseme.training.sounds import (
    TRAINING_INSTRUMENTS,
    Sound,
    ambience,
    breath,
    colored_noise,
    music,
    unknown_instrument,
)
from inference.timing import SAMPLE_RATE_HZ

_TELEPHONE_HZ = (300.0, 3_400.0)


def heard(generator: np.random.Generator, speech: Sound) -> Sound:
    """One way that this speech might arrive."""
    sound = colored(generator, speech)
    if generator.random() < 0.35:
        sound = _reverberated(generator, sound)
    chance = generator.random()
    if chance < 0.3:
        sound = mixed(sound, _some_music(generator, len(sound)), generator.uniform(4, 22))
    elif chance < 0.5:
        sound = mixed(sound, ambience(generator, len(sound)), generator.uniform(8, 30))
    elif chance < 0.85:
        added = colored_noise(generator, len(sound), generator.uniform(0, 2))
        sound = mixed(sound, added, generator.uniform(8, 50))
    if generator.random() < 0.12:
        sound = _band_limited(sound, *_TELEPHONE_HZ)
    if generator.random() < 0.1:
        sound = through_opus(sound, int(generator.integers(8, 33)) * 1_000)
    return at_random_level(generator, sound)


def not_speech(generator: np.random.Generator, count: int) -> Sound:
    """Something to stay silent at."""
    chance = generator.random()
    if chance < 0.5:
        sound = _some_music(generator, count)
        if generator.random() < 0.5:
            sound = mixed(sound, ambience(generator, count), generator.uniform(0, 20))
    elif chance < 0.65:
        sound = colored_noise(generator, count, generator.uniform(-0.5, 2))
    elif chance < 0.8:
        sound = breath(generator, count)
    else:
        sound = ambience(generator, count)
    return at_random_level(generator, colored(generator, sound) * np.float32(0.1))


def mixed(speech: Sound, added: Sound, ratio_db: float) -> Sound:
    """Speech with something added, at a signal-to-noise ratio."""
    level = np.sqrt(np.mean(np.square(speech)) / (np.mean(np.square(added)) + 1e-12))
    return np.asarray(speech + added * level * 10 ** (-ratio_db / 20), np.float32)


def at_random_level(generator: np.random.Generator, sound: Sound) -> Sound:
    """Louder or quieter, and now and then clipped."""
    sound = sound / (np.abs(sound).max() + 1e-9)
    gain_db = generator.uniform(-30, -1) if generator.random() < 0.95 else generator.uniform(0, 9)
    clipped: NDArray[np.float32] = np.clip(sound * 10 ** (gain_db / 20), -1, 1)
    return clipped.astype(np.float32)


def colored(generator: np.random.Generator, sound: Sound) -> Sound:
    """As another microphone would hear it: a random smooth frequency response of ±7 dB."""
    spectrum = np.fft.rfft(sound)
    places = np.linspace(0, 1, len(spectrum))
    knots_db = generator.uniform(-7, 7, 7)
    response_db = np.interp(places, np.linspace(0, 1, 7) ** 1.7, knots_db)
    return np.fft.irfft(spectrum * 10 ** (response_db / 20), len(sound)).astype(np.float32)


def _some_music(generator: np.random.Generator, count: int) -> Sound:
    unknown = [unknown_instrument(generator) for _ in TRAINING_INSTRUMENTS]
    return music(generator, count, [*TRAINING_INSTRUMENTS, *unknown])


def _reverberated(generator: np.random.Generator, sound: Sound) -> Sound:
    length = int(generator.uniform(0.05, 0.3) * SAMPLE_RATE_HZ)
    response = generator.standard_normal(length) * np.exp(-np.arange(length) * 6 / length)
    response *= generator.uniform(0.05, 0.4) / np.sqrt(np.square(response).sum())
    response[0] = 1.0
    return np.asarray(fftconvolve(sound, response)[: len(sound)], np.float32)


def _band_limited(sound: Sound, lowest_hz: float, highest_hz: float) -> Sound:
    spectrum = np.fft.rfft(sound)
    frequencies = np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE_HZ)
    spectrum[(frequencies < lowest_hz) | (frequencies > highest_hz)] *= 0.01
    return np.fft.irfft(spectrum, len(sound)).astype(np.float32)
