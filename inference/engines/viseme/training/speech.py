"""Speech with known phonemes: espeak-ng through its library's events, flite through its timings.

Both synthesizers know to the sample when each phoneme begins, which no recording of a person can
tell. They are called as they come from the distribution (Debian packages ``espeak-ng`` and
``flite``).
"""

import subprocess
import tempfile
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import gcd
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from inference.engines.viseme.training.espeak_library import Espeak, SynthesisError
from inference.timing import SAMPLE_RATE_HZ

Alphabet = Literal["ipa", "arpabet"]

_STOPS = "pbtdkgɡqcɟʈɖ"
_ASPIRATED = ("p", "t", "k")
_CLOSED_SHARE = 0.75
"""How much of flite's voiceless stops is closure; the rest is burst and breath."""
_CLOSURE_S = (0.03, 0.07)
"""Shortest and longest closure of a stop."""
_BURST_S = 0.01
_PAUSE_S = 0.05
"""An event without a name shorter than this is an off-glide, not a pause."""


@dataclass(frozen=True, slots=True)
class Phoneme:
    """``symbol`` sounds from ``start_s`` to ``end_s``; an empty symbol is a pause."""

    start_s: float
    end_s: float
    symbol: str


@dataclass(frozen=True, slots=True, eq=False)
class Speech:
    """One utterance: ``samples`` float32 16 kHz mono in -1..1, and what is said when."""

    samples: NDArray[np.float32]
    phonemes: tuple[Phoneme, ...]
    alphabet: Alphabet
    voice: str


@cache
def _espeak() -> Espeak:
    return Espeak()


def espeak(
    text: str, voice: str, *, rate: int = 165, pitch: int = 50, pitch_range: int = 50
) -> Speech:
    """Speak with espeak-ng.

    Args:
        text: what to say, in the voice's language.
        voice: language and variant, as ``en-us+m3``.
        rate: words a minute.
        pitch: 0..99.
        pitch_range: 0..99, monotonous to lively.

    Raises:
        SynthesisError: no espeak-ng, no such voice, or nothing to say.
    """
    library = _espeak()
    spoken, events = library.speak(text, voice, rate, pitch, pitch_range)
    samples = resampled(_from_pcm(spoken), library.rate_hz)
    starts = [start / library.rate_hz for start, _ in events]
    ends = [*starts[1:], _end_of_sound_s(samples)]
    phonemes: list[Phoneme] = []
    for start, end, (_, symbol) in zip(starts, ends, events, strict=True):
        if end <= start or symbol.startswith("("):
            continue
        is_glide = not symbol and (end - start < _PAUSE_S or not _is_silent(samples, start, end))
        if is_glide and phonemes:
            phonemes[-1] = Phoneme(phonemes[-1].start_s, end, phonemes[-1].symbol)
        else:
            phonemes.append(Phoneme(start, end, symbol))
    return Speech(samples, tuple(_with_closures(phonemes, samples)), "ipa", f"espeak {voice}")


def flite(text: str, voice: str, *, stretch: float = 1.0, pitch_hz: float | None = None) -> Speech:
    """Speak English with flite.

    Args:
        text: what to say.
        voice: ``slt``, ``rms``, ``awb``, ``kal16``.
        stretch: of all durations, above 1 is slower.
        pitch_hz: mean fundamental; None leaves the voice's own.

    Raises:
        SynthesisError: no flite, or no such voice.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        command = ["flite", "-voice", voice, "--setf", f"duration_stretch={stretch:.3f}"]
        if pitch_hz is not None:
            command += ["--setf", f"int_f0_target_mean={pitch_hz:.1f}"]
        command += ["-psdur", "-t", text, "-o", str(path)]
        try:
            # Fixed program, own arguments, no shell.
            done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
        except (OSError, subprocess.CalledProcessError) as error:
            raise SynthesisError(f"flite failed: {error}") from error
        with wave.open(str(path)) as reader:
            rate_hz = reader.getframerate()
            spoken = np.frombuffer(reader.readframes(reader.getnframes()), np.int16)
    samples = resampled(_from_pcm(spoken), rate_hz)
    phonemes: list[Phoneme] = []
    start_s = 0.0
    for word in done.stdout.split():
        symbol, _, end = word.rpartition(":")
        end_s = float(end)
        if end_s > start_s:
            phonemes.append(Phoneme(start_s, end_s, "" if symbol == "pau" else symbol))
        start_s = end_s
    return Speech(samples, tuple(released(phonemes, "hh")), "arpabet", f"flite {voice}")


def espeak_ipa(text: str, voice: str) -> str:
    """How espeak-ng's ``voice`` would say a clause, in IPA."""
    return _espeak().ipa(text, voice)


def released(phonemes: Sequence[Phoneme], breath: str) -> list[Phoneme]:
    """The same, voiceless stops followed by their ``breath``: timings count it with the closure."""
    found: list[Phoneme] = []
    for phoneme in phonemes:
        if phoneme.symbol in _ASPIRATED:
            release_s = phoneme.start_s + _CLOSED_SHARE * (phoneme.end_s - phoneme.start_s)
            found.append(Phoneme(phoneme.start_s, release_s, phoneme.symbol))
            found.append(Phoneme(release_s, phoneme.end_s, breath))
        else:
            found.append(phoneme)
    return found


def _with_closures(phonemes: list[Phoneme], samples: NDArray[np.float32]) -> list[Phoneme]:
    """Give each stop the silence before its burst, and take from it the breath after.

    espeak-ng's event of a stop marks the burst, measured over all its voices; the closure before
    it, 30 to 50 ms, is counted with the sound before. flite's timings begin with the closure.
    """
    corrected: list[Phoneme] = []
    for phoneme in phonemes:
        if not phoneme.symbol or phoneme.symbol[0] not in _STOPS:
            corrected.append(phoneme)
            continue
        closure = _closure_before_s(samples, phoneme.start_s)
        if corrected:
            last = corrected[-1]
            closure = min(closure, 0.6 * (last.end_s - last.start_s))
            corrected[-1] = Phoneme(last.start_s, last.end_s - closure, last.symbol)
        start_s = max(0.0, phoneme.start_s - closure)
        corrected += _released(start_s, phoneme.start_s + _BURST_S, phoneme.end_s, phoneme.symbol)
    return corrected


def _released(start_s: float, release_s: float, end_s: float, symbol: str) -> list[Phoneme]:
    """Return a stop that opens at ``release_s``; what follows is breath, or an affricate's hiss."""
    if end_s - release_s < _BURST_S:
        return [Phoneme(start_s, end_s, symbol)]
    after = symbol[1:] if symbol[1:2] in tuple("ʃʒɕʑszf") else "h"
    return [Phoneme(start_s, release_s, symbol), Phoneme(release_s, end_s, after)]


def _closure_before_s(samples: NDArray[np.float32], burst_s: float) -> float:
    """How long the sound has been much weaker than before, at the burst of a stop."""
    step = SAMPLE_RATE_HZ // 200
    shortest, longest = _CLOSURE_S
    end = round(burst_s * SAMPLE_RATE_HZ)
    steps = min(end // step, 30)
    if steps < 4:
        return 0.0
    blocks = samples[end - steps * step : end].reshape(steps, step)
    levels = np.sqrt(np.mean(np.square(blocks), 1))
    weak = levels < 0.2 * levels.max()
    length_s = (steps if weak.all() else int(np.argmin(weak[::-1]))) * step / SAMPLE_RATE_HZ
    return min(max(length_s, shortest), longest)


def padded(speech: Speech, before_s: float, after_s: float) -> Speech:
    """Return the same utterance with silence around it."""
    before = round(before_s * SAMPLE_RATE_HZ)
    after = round(after_s * SAMPLE_RATE_HZ)
    moved = tuple(
        Phoneme(p.start_s + before / SAMPLE_RATE_HZ, p.end_s + before / SAMPLE_RATE_HZ, p.symbol)
        for p in speech.phonemes
    )
    samples = np.pad(speech.samples, (before, after))
    return Speech(samples, moved, speech.alphabet, speech.voice)


def resized(speech: Speech, factor: float) -> Speech:
    """Return the utterance by a larger (factor > 1: slower and lower) or smaller head."""
    count = round(len(speech.samples) * factor)
    places = np.arange(count) / factor
    samples = np.interp(places, np.arange(len(speech.samples)), speech.samples)
    phonemes = tuple(
        Phoneme(p.start_s * factor, p.end_s * factor, p.symbol) for p in speech.phonemes
    )
    return Speech(samples.astype(np.float32), phonemes, speech.alphabet, speech.voice)


def _from_pcm(pcm: NDArray[np.int16]) -> NDArray[np.float32]:
    return pcm.astype(np.float32) / np.float32(32768)


def resampled(samples: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """A sound of ``rate_hz`` at 16 kHz."""
    if rate_hz == SAMPLE_RATE_HZ:
        return samples
    divisor = gcd(rate_hz, SAMPLE_RATE_HZ)
    found = resample_poly(samples, SAMPLE_RATE_HZ // divisor, rate_hz // divisor)
    return np.asarray(found, np.float32)


def _is_silent(samples: NDArray[np.float32], start_s: float, end_s: float) -> bool:
    part = samples[round(start_s * SAMPLE_RATE_HZ) : round(end_s * SAMPLE_RATE_HZ)]
    return len(part) == 0 or float(np.abs(part).max()) < 0.02 * float(np.abs(samples).max())


def _end_of_sound_s(samples: NDArray[np.float32]) -> float:
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    return float(loud[-1] + 1) / SAMPLE_RATE_HZ if len(loud) else 0.0
