"""What is not speech: noise, and music played by a few synthetic instruments.

All of it float32 at 16 kHz, scaled to a root mean square of 1; the caller sets the level.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.timing import SAMPLE_RATE_HZ

Sound = NDArray[np.float32]
_MAJOR, _MINOR = (0, 4, 7, 12), (0, 3, 7, 12)
_PROGRESSIONS = ((0, 5, 7, 0), (0, 9, 5, 7), (9, 5, 0, 7), (2, 7, 0, 9))
_HIGHEST_HZ = 7_000.0


def colored_noise(generator: np.random.Generator, count: int, exponent: float) -> Sound:
    """Noise with power falling as frequency to the ``exponent``: 0 white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(generator.standard_normal(count))
    frequencies = np.maximum(np.fft.rfftfreq(count, 1 / SAMPLE_RATE_HZ), 20.0)
    return _normal(np.fft.irfft(spectrum * frequencies ** (-exponent / 2), count))


def ambience(generator: np.random.Generator, count: int) -> Sound:
    """Something a microphone hears in a room: noise that swells, hum, clicks, beeps."""
    kind = generator.integers(5)
    sound: NDArray[Any] = np.zeros(count)
    seconds = np.arange(count) / SAMPLE_RATE_HZ
    if kind == 0:
        rate_hz = generator.uniform(0.3, 8)
        swell = 0.5 + 0.5 * np.sin(2 * np.pi * (rate_hz * seconds + generator.random()))
        sound = colored_noise(generator, count, generator.uniform(0, 2)) * swell**2
    elif kind == 1:
        hum_hz = generator.choice([50.0, 60.0, 100.0, 120.0])
        harmonics = [
            generator.uniform(0, 1) / n * np.sin(2 * np.pi * n * hum_hz * seconds)
            for n in range(1, 12)
        ]
        sound = np.asarray(np.sum(harmonics, 0) + 0.05 * generator.standard_normal(count))
    elif kind == 2:
        for _ in range(max(1, count // 4_000)):
            length = int(generator.integers(40, 2_000))
            start = int(generator.integers(max(1, count - length)))
            click = generator.standard_normal(length) * np.exp(-np.arange(length) * 6 / length)
            sound[start : start + length] += click[: count - start]
    elif kind == 3:
        switch = np.repeat(generator.random(count // 3_200 + 1) < 0.5, 3_200)[:count]
        sound = switch * np.sin(2 * np.pi * generator.uniform(200, 3_000) * seconds)
        sound = sound + 0.01 * generator.standard_normal(count)
    else:
        sound = colored_noise(generator, count, generator.uniform(0, 2))
    return _normal(sound)


def breath(generator: np.random.Generator, count: int) -> Sound:
    """A person breathes in and out: noise through a throat without voice, swelling and ebbing."""
    sound = np.zeros(count)
    at = int(generator.integers(0, SAMPLE_RATE_HZ))
    while at < count:
        length = int(generator.uniform(0.25, 1.6) * SAMPLE_RATE_HZ)
        spectrum = np.fft.rfft(generator.standard_normal(length))
        hertz = np.fft.rfftfreq(length, 1 / SAMPLE_RATE_HZ)
        throat = generator.uniform(0.8, 1.2)
        response = 0.02 + sum(
            strength / (1 + ((hertz / throat - center_hz) / width_hz) ** 2)
            for center_hz, width_hz, strength in zip(
                (550, 1_500, 2_500, 4_000), (200, 250, 350, 600), generator.random(4), strict=True
            )
        )
        piece = np.fft.irfft(spectrum * response, length)
        peak = generator.uniform(0.2, 0.8)
        places = np.linspace(0, 1, length)
        swell = np.minimum(places / peak, (1 - places) / (1 - peak)) ** generator.uniform(0.7, 2)
        end = min(at + length, count)
        sound[at:end] += (piece * swell)[: end - at] * generator.uniform(0.4, 1)
        at += length + int(generator.uniform(0.05, 1.5) * SAMPLE_RATE_HZ)
    return _normal(sound + 1e-4 * generator.standard_normal(count))


def _decay(seconds: NDArray[np.float64], time_s: float) -> NDArray[np.float64]:
    return np.asarray(np.exp(-seconds / time_s) * np.minimum(1, seconds / 0.004))


def _held(seconds: NDArray[np.float64], attack_s: float) -> NDArray[np.float64]:
    end_s = seconds[-1] if len(seconds) else 0.0
    return np.asarray(np.minimum(1, seconds / attack_s) * np.minimum(1, (end_s - seconds) / 0.05))


def _harmonics(
    seconds: NDArray[np.float64], pitch_hz: float, weights: Sequence[float], stretch: float = 1.0
) -> NDArray[np.float64]:
    total = np.zeros_like(seconds)
    for n, weight in enumerate(weights, 1):
        if weight and n**stretch * pitch_hz < _HIGHEST_HZ:
            total += weight * np.sin(2 * np.pi * n**stretch * pitch_hz * seconds)
    return total


def _piano(seconds: NDArray[np.float64], pitch_hz: float) -> NDArray[np.float64]:
    return _harmonics(seconds, pitch_hz, [1 / n**1.3 for n in range(1, 10)]) * _decay(seconds, 0.4)


def _strings(seconds: NDArray[np.float64], pitch_hz: float) -> NDArray[np.float64]:
    wobble = seconds + 0.0006 * np.sin(2 * np.pi * 5.5 * seconds) / (2 * np.pi)
    return _harmonics(wobble, pitch_hz, [1 / n for n in range(1, 16)]) * _held(seconds, 0.08)


def _square(seconds: NDArray[np.float64], pitch_hz: float) -> NDArray[np.float64]:
    odd = [1 / n if n % 2 else 0.0 for n in range(1, 14)]
    return _harmonics(seconds, pitch_hz, odd) * _held(seconds, 0.01)


def _guitar(seconds: NDArray[np.float64], pitch_hz: float) -> NDArray[np.float64]:
    plucked = [abs(np.sin(0.8 * n)) / n for n in range(1, 14)]
    return _harmonics(seconds, pitch_hz, plucked, 1.002) * _decay(seconds, 0.25)


def _organ(seconds: NDArray[np.float64], pitch_hz: float) -> NDArray[np.float64]:
    return _harmonics(seconds, pitch_hz, (1, 0.8, 0.5, 0.6, 0, 0.3, 0, 0.3)) * _held(seconds, 0.02)


def _bell(seconds: NDArray[np.float64], pitch_hz: float) -> NDArray[np.float64]:
    return _harmonics(seconds, 2 * pitch_hz, (1, 0.6, 0.4, 0.2), 1.4) * _decay(seconds, 0.8)


Instrument = Callable[[NDArray[np.float64], float], NDArray[np.float64]]
TRAINING_INSTRUMENTS: tuple[Instrument, ...] = (_piano, _strings, _square, _guitar)
HELD_OUT_INSTRUMENTS: tuple[Instrument, ...] = (_organ, _bell)


def unknown_instrument(generator: np.random.Generator) -> Instrument:
    """One with random overtones, struck or blown, so that no net can learn them all by heart."""
    weights = [generator.random() ** 2 / n ** generator.uniform(0.3, 1.5) for n in range(1, 14)]
    stretch = 1.0 if generator.random() < 0.7 else generator.uniform(1.0, 1.3)
    time_s = generator.uniform(0.1, 1.0)
    is_struck = generator.random() < 0.5

    def play(seconds: NDArray[np.float64], pitch_hz: float) -> NDArray[np.float64]:
        shape = _decay(seconds, time_s) if is_struck else _held(seconds, time_s / 8)
        return _harmonics(seconds, pitch_hz, weights, stretch) * shape

    return play


def music(generator: np.random.Generator, count: int, instruments: Sequence[Instrument]) -> Sound:
    """Chords, an arpeggio or a melody above them, a bass, and mostly drums."""
    beat = int(SAMPLE_RATE_HZ * 60 / generator.uniform(70, 150))
    sound = np.zeros(count + 8 * beat)
    root = int(generator.integers(45, 57))
    progression = _PROGRESSIONS[generator.integers(len(_PROGRESSIONS))]
    chord_player, lead_player = generator.choice(np.array([*instruments], object), 2)
    has_drums, has_lead = generator.random(2) < 0.7
    for bar, start in enumerate(range(0, count, 4 * beat)):
        key = root + progression[bar % 4]
        chord = _MINOR if progression[bar % 4] in (2, 9) else _MAJOR
        for interval in chord[:3]:
            _play(sound, chord_player, start, 4 * beat, key + interval, 0.3)
        for quarter in range(4):
            _play(sound, chord_player, start + quarter * beat, beat, key - 12, 0.5)
        if has_lead:
            for eighth in range(8):
                note = key + 12 + chord[int(generator.integers(4))]
                _play(sound, lead_player, start + eighth * beat // 2, beat // 2, note, 0.5)
        if has_drums:
            _drums(generator, sound, start, beat)
    return _normal(sound[:count])


def _play(
    sound: NDArray[np.float64],
    instrument: Instrument,
    start: int,
    length: int,
    midi_note: int,
    volume: float,
) -> None:
    seconds = np.arange(length) / SAMPLE_RATE_HZ
    pitch_hz = 440.0 * 2 ** ((midi_note - 69) / 12)
    sound[start : start + length] += volume * instrument(seconds, pitch_hz)


def _drums(
    generator: np.random.Generator, sound: NDArray[np.float64], start: int, beat: int
) -> None:
    length = min(beat // 2, 3_000)
    seconds = np.arange(length) / SAMPLE_RATE_HZ
    for eighth in range(8):
        here = slice(start + eighth * beat // 2, start + eighth * beat // 2 + length)
        hiss = np.diff(generator.standard_normal(length + 1))
        sound[here] += 0.2 * hiss * np.exp(-seconds / 0.02)
        if eighth % 4 == 0:
            sound[here] += 1.2 * np.sin(2 * np.pi * 55 * seconds) * np.exp(-seconds / 0.06)
        if eighth % 4 == 2:
            snare = generator.standard_normal(length) + np.sin(2 * np.pi * 190 * seconds)
            sound[here] += 0.6 * snare * np.exp(-seconds / 0.05)


def _normal(sound: NDArray[np.floating]) -> Sound:
    return np.asarray(sound / (np.sqrt(np.mean(np.square(sound))) + 1e-9), np.float32)
