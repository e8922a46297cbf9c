"""The training corpus: who speaks what, spoiled how, as features and truth.

Everything comes from one seed. The corpus is one long stream of frames: utterances, silence and
things that are not speech, one after the other, so that a crop of it anywhere is an example.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray

from inference.engines.viseme import features
from inference.engines.viseme.training import augmentation, phonetics, sentences, speech
from inference.timing import SAMPLES_PER_FRAME

HELD_OUT_VARIANTS = ("Gene", "Gene2", "shelby", "belinda")
"""Never trained on. Gene2 is Gene again, so it is left out too."""

VARIANTS = """
m1 m2 m3 m4 m5 m6 m7 m8 f1 f2 f3 f4 f5 klatt klatt2 klatt3 klatt4 klatt6 adam Alex Alicia Andrea
Andy Annie antonio aunty benjamin boris caleb david Denis Diogo ed edward grandma grandpa gustave
Henrique Hugo Jacky john kaukovalta Lee linda marcelo Marco Mario max Michael michel miguel Mike
norbert pablo paul pedro quincy rob robert sandro steph steph2 travis victor whisper whisperf zac
"""
_ENGLISH = ("en-us", "en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-029")
FLITE_PITCH_HZ = {"slt": 170.0, "rms": 105.0, "kal16": 110.0}
_ENGLISH_SHARE = 0.4
_FLITE_SHARE = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """A stream of frames.

    ``mels`` float16 ``[frames * 4, MELS]``; ``shapes`` float32 ``[frames, 7]``; ``visemes`` int64
    ``[frames]``; ``closed`` and ``speaking`` float32 ``[frames]``.
    """

    mels: NDArray[np.float16]
    shapes: NDArray[np.float32]
    visemes: NDArray[np.int64]
    closed: NDArray[np.float32]
    speaking: NDArray[np.float32]


def utterances(count: int, seed: int) -> Iterator[speech.Speech]:
    """Training utterances in many voices and languages, of differently sized speakers."""
    random = Random(seed)  # noqa: S311 - reproducible on purpose, nothing secret
    languages = sentences.languages()[1:]
    variants = VARIANTS.split()
    for _ in range(count):
        if random.random() < _FLITE_SHARE:
            voice = random.choice(list(FLITE_PITCH_HZ))
            spoken = speech.flite(
                sentences.training_sentence("en", random),
                voice,
                stretch=random.uniform(0.75, 1.25),
                pitch_hz=FLITE_PITCH_HZ[voice] * random.uniform(0.8, 1.3),
            )
        else:
            is_english = random.random() < _ENGLISH_SHARE
            language = "en" if is_english else random.choice(languages)
            accent = random.choice(_ENGLISH) if is_english else language
            spoken = speech.espeak(
                sentences.training_sentence(language, random),
                f"{accent}+{random.choice(variants)}",
                rate=random.randint(125, 215),
                pitch=random.randint(20, 80),
                pitch_range=random.randint(25, 85),
            )
        if random.random() < 0.7:
            spoken = speech.resized(spoken, random.uniform(0.85, 1.18))
        yield speech.padded(spoken, random.uniform(0.1, 0.6), random.uniform(0.1, 0.6))


def build(count: int, seed: int, after: int) -> Corpus:
    """Speak ``count`` utterances, and a quarter as many pieces that are not speech."""
    generator = np.random.default_rng(seed)
    pieces = []
    for number, spoken in enumerate(utterances(count, seed)):
        frames = len(spoken.samples) // SAMPLES_PER_FRAME
        sound = augmentation.heard(generator, spoken.samples)
        pieces.append(_piece(generator, sound, phonetics.truth(spoken, frames), after))
        if number % 4 == 0:
            frames = int(generator.integers(50, 150))
            sound = augmentation.not_speech(generator, frames * SAMPLES_PER_FRAME)
            pieces.append(_piece(generator, sound, _nothing_said(frames), after))
    return Corpus(*(np.concatenate(column) for column in zip(*pieces, strict=True)))


def _nothing_said(frames: int) -> phonetics.Truth:
    return phonetics.Truth(
        np.zeros((frames, 7), np.float32),
        np.zeros(frames, np.int64),
        np.zeros(frames, np.float32),
        np.zeros(frames, np.float32),
    )


def _piece(
    generator: np.random.Generator, sound: NDArray[np.float32], truth: phonetics.Truth, after: int
) -> tuple[NDArray[np.float16] | NDArray[np.float32] | NDArray[np.int64], ...]:
    """Features and truth of an utterance, some digital silence before it.

    The features are shifted by the look-ahead: the last step that a frame sees ends ``after``
    samples after the frame.
    """
    silent = int(generator.integers(0, 12))
    frames = len(truth.visemes)
    lead = features.LEAD + silent * SAMPLES_PER_FRAME - after
    count = frames * SAMPLES_PER_FRAME + after
    samples = np.pad(sound[:count], (lead, max(0, count - len(sound))))
    before = [(silent, 0)]
    return (
        features.log_mels(samples[None])[0].astype(np.float16),
        np.pad(truth.shapes, [*before, (0, 0)]),
        np.pad(truth.visemes, before),
        np.pad(truth.closed, before),
        np.pad(truth.speaking, before),
    )
