"""Something to say: real synthesized speech where a synthesizer is installed, else babble.

What a mouth costs does not depend on what it says, but an engine may do nothing for silence, so
the sound has to be like speech: vowels, consonants, pauses.
"""

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.timing import BYTES_PER_SAMPLE, SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from talking_avatar.sound_files import read_speech

TEXT = (
    "A talking avatar listens to the sound of a voice and moves its lips as a speaker would. "
    "Papa bought a map of the bay, and Mama began to hum a happy tune. "
    "Five warm waves rolled over the wide sand while we watched the ships go by. "
    "How do you do? I would like to show you around; please follow me to the open window."
)
FRAME_BYTES = SAMPLES_PER_FRAME * BYTES_PER_SAMPLE

_BABBLE_S = 20
_PITCH_HZ = 120.0
_VOWEL_FORMANTS_HZ = ((730, 1090), (270, 2290), (300, 870), (530, 1840), (570, 840))
_SYLLABLE_S = 0.22


@dataclass(frozen=True, slots=True)
class Speech:
    """``pcm``: s16le, 16 kHz, mono, whole frames. ``source``: where it is from, for the table."""

    pcm: bytes
    source: str

    @property
    def frames(self) -> int:
        return len(self.pcm) // FRAME_BYTES

    def part(self, first_frame: int, frames: int) -> bytes:
        """``frames`` of it from ``first_frame`` on; at its end it begins again."""
        start = first_frame % self.frames * FRAME_BYTES
        rounds = -(-(start + frames * FRAME_BYTES) // len(self.pcm))
        return (self.pcm * rounds)[start : start + frames * FRAME_BYTES]


def speech() -> Speech:
    """By espeak-ng or flite if one is installed, else made here."""
    commands = {
        "espeak-ng": ["espeak-ng", "-v", "en-us", "-s", "160", "-w", "{file}", TEXT],
        "flite": ["flite", "-t", TEXT, "-o", "{file}"],
    }
    for name, command in commands.items():
        if shutil.which(name):
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "speech.wav"
                words = [word.replace("{file}", str(file)) for word in command]
                subprocess.run(words, check=True, capture_output=True)
                return Speech(_whole_frames(read_speech(file)), f"speech by {name}")
    return Speech(babble(_BABBLE_S), "babble of vowels (neither espeak-ng nor flite is installed)")


def babble(seconds: int) -> bytes:
    """Vowels, one after the other, each beginning and ending softly; every sixth is a pause."""
    time_s = np.arange(int(_SYLLABLE_S * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    swell = np.sin(np.pi * time_s / _SYLLABLE_S) ** 0.5
    syllables: list[NDArray[np.float64]] = []
    for number in range(round(seconds / _SYLLABLE_S)):
        if number % 6 == 5:
            syllables.append(np.zeros_like(time_s))
        else:
            formants = _VOWEL_FORMANTS_HZ[number * 2 % len(_VOWEL_FORMANTS_HZ)]
            syllables.append(swell * _vowel(time_s, formants))
    wave = np.concatenate(syllables)
    return _whole_frames((wave / np.abs(wave).max() * 12_000).astype("<i2").tobytes())


def _vowel(time_s: NDArray[np.float64], formants_hz: tuple[int, int]) -> NDArray[np.float64]:
    """Harmonics of the voice, each as strong as the nearest formant lets it be."""
    wave = np.zeros_like(time_s)
    for harmonic in range(1, 30):
        frequency_hz = harmonic * _PITCH_HZ
        strength = sum(
            weight / (1 + ((frequency_hz - formant_hz) / 90) ** 2)
            for formant_hz, weight in zip(formants_hz, (1.0, 0.5), strict=True)
        )
        wave += strength * np.sin(2 * np.pi * frequency_hz * time_s)
    return wave


def _whole_frames(pcm: bytes) -> bytes:
    return pcm + bytes(-len(pcm) % FRAME_BYTES)
