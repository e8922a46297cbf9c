"""Whether the mouth is right soon after a change of level, a bang, or a vowel out of nothing.

The reference is the net itself, on the same speech left as it was: what is lost is lost to the
disturbance alone.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from inference.engines.viseme.engine import VisemeEngine
from inference.engines.viseme.training import disturbances, phonetics, speech
from inference.engines.viseme.training.evaluation import heard
from inference.engines.viseme.training.sentences import HELD_OUT_ENGLISH
from inference.engines.viseme.training.sounds import Sound
from inference.timing import FRAME_S, SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

AFTER_FRAMES = 5
"""The mouth has 200 ms to be right."""
_SCORED_FRAMES = 25
_OPEN = 0.25
"""Frames count in which the undisturbed mouth is at least so open."""
_PAUSE_S = 0.3
_ROOM = 2e-4

Disturbance = Callable[[speech.Speech], tuple[Sound, int]]
"""The disturbed sound, and the sample from which on it is disturbed."""


def stepped_down(change_db: float) -> Disturbance:
    """Quieter from the middle on."""

    def disturb(spoken: speech.Speech) -> tuple[Sound, int]:
        at = len(spoken.samples) // 2
        sound = spoken.samples.copy()
        sound[at:] *= np.float32(10 ** (-change_db / 20))
        return sound, at

    return disturb


def popped(louder_db: float) -> Disturbance:
    """A pop of 20 ms in the middle of speech that is so much quieter."""

    def disturb(spoken: speech.Speech) -> tuple[Sound, int]:
        at = len(spoken.samples) // 2
        peak = float(np.abs(spoken.samples).max())
        sound = spoken.samples * np.float32(0.9 / peak * 10 ** (-louder_db / 20))
        count = SAMPLE_RATE_HZ // 50
        sound[at : at + count] += 0.9 * np.hanning(count) * np.cos(0.05 * np.arange(count))
        return sound, at

    return disturb


def begun_in_a_vowel(spoken: speech.Speech) -> tuple[Sound, int]:
    """Nothing is heard before the middle of a vowel."""
    truth = phonetics.truth(spoken, len(spoken.samples) // SAMPLES_PER_FRAME)
    frame = disturbances.first_frame_in_a_vowel(np.random.default_rng(2), truth)
    sound, _ = disturbances.begun_at(frame, spoken.samples, truth)
    return sound, frame * SAMPLES_PER_FRAME


def opening_kept(engine: VisemeEngine, voices: Sequence[str], disturb: Disturbance) -> float:
    """Share of the opening that is left in the second from 200 ms after the disturbance on.

    Args:
        engine: Loaded.
        voices: Of flite.
        disturb: What happens to each sentence.
    """
    kept = []
    generator = np.random.default_rng(3)
    for voice in voices:
        for text in HELD_OUT_ENGLISH[:4]:
            spoken = speech.padded(speech.flite(text, voice), _PAUSE_S, _PAUSE_S)
            noise = _ROOM * generator.standard_normal(len(spoken.samples))
            room = np.asarray(spoken.samples + noise, np.float32)
            as_it_was = heard(engine, room)[:, 0]
            sound, at = disturb(speech.Speech(room, spoken.phonemes, spoken.alphabet, voice))
            disturbed = heard(engine, sound)[:, 0]
            first = at // SAMPLES_PER_FRAME + AFTER_FRAMES
            scored = slice(first, first + _SCORED_FRAMES)
            is_open = as_it_was[scored] > _OPEN
            kept.append(np.minimum(disturbed[scored][is_open] / as_it_was[scored][is_open], 1))
    return _mean(kept)


def held_opening_shown(
    engine: VisemeEngine, voices: Sequence[str], *, is_first: bool = True
) -> float:
    """Share of the opening of a vowel that is held for long that is shown from 200 ms on.

    The opening is the truth's.

    Args:
        engine: Loaded.
        voices: Of flite.
        is_first: The vowel is the first that ever sounds, instead of what is said before it.
    """
    generator = np.random.default_rng(5)
    shown = []
    for voice in voices:
        for text in HELD_OUT_ENGLISH[:8]:
            spoken = disturbances.held(generator, speech.flite(text, voice))
            vowel = max(spoken.phonemes, key=lambda phoneme: phoneme.end_s - phoneme.start_s)
            first = int(vowel.start_s / FRAME_S) + 2
            last = int(vowel.end_s / FRAME_S) - 1
            truth = phonetics.truth(spoken, len(spoken.samples) // SAMPLES_PER_FRAME)
            sound = spoken.samples
            if is_first:
                sound, truth = disturbances.begun_at(first, sound, truth)
            scored = slice(first + AFTER_FRAMES, min(first + _SCORED_FRAMES, last))
            wanted, found = truth.shapes[scored, 0], heard(engine, sound)[scored, 0]
            is_open = wanted > _OPEN
            shown.append(np.minimum(found[is_open] / wanted[is_open], 1))
    return _mean(shown)


def _mean(shares: Sequence[NDArray[np.float32]]) -> float:
    """Return the mean of all; 0 if there are none, as of a net that never opens the mouth."""
    together = np.concatenate(shares)
    return float(together.mean()) if together.size else 0.0
