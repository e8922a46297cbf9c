"""The training corpus: who speaks what, spoiled how, as features and truth.

Everything comes from one seed. The corpus is one long stream of frames: utterances, silence and
things that are not speech, one after the other, so that a crop of it anywhere is an example.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from inference.engines.viseme import features
from inference.engines.viseme.training import (
    augmentation,
    disturbances,
    neural,
    phonetics,
    sentences,
    speech,
)
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
_SPEAKERS = {"heart": 0.36, "joe": 0.2, "flite": 0.14, "espeak": 0.3}
"""Which share of the utterances is spoken by what."""
_HEARINGS = 2
"""How often each utterance is heard, each time through another room and microphone."""
_HELD, _STEPPED, _BANGED, _BEGUN = 0.12, 0.2, 0.15, 0.08
"""How often a vowel is held, the level changes, something bangs, the speech begins in a vowel."""
_BEGUN_IF_HELD = 0.5
"""How often speech with a held vowel begins in a vowel, which mostly is the held one."""


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
    speakers, shares = zip(*_SPEAKERS.items(), strict=True)
    for _ in range(count):
        (speaker,) = random.choices(speakers, shares)
        spoken = _SAYING[speaker](random)
        if random.random() < 0.7:
            spoken = speech.resized(spoken, random.uniform(0.85, 1.18))
        yield speech.padded(spoken, random.uniform(0.1, 0.6), random.uniform(0.1, 0.6))


def _by_heart(random: Random) -> speech.Speech:
    """By a natural voice, of a woman, a man or a child."""
    is_low = random.random() < 0.6
    return neural.heart(
        sentences.training_sentence("en", random),
        speed=random.uniform(0.8, 1.3),
        throat=random.uniform(1.0, 1.22) if is_low else random.uniform(0.86, 1.04),
        pitch=random.uniform(0.42, 0.75) if is_low else random.uniform(0.8, 1.4),
        seed=random.randrange(2**31),
    )


def _by_joe(random: Random) -> speech.Speech:
    return neural.joe(sentences.training_sentence("en", random), slowness=random.uniform(0.75, 1.2))


def _by_flite(random: Random) -> speech.Speech:
    voice = random.choice(list(FLITE_PITCH_HZ))
    return speech.flite(
        sentences.training_sentence("en", random),
        voice,
        stretch=random.uniform(0.75, 1.25),
        pitch_hz=FLITE_PITCH_HZ[voice] * random.uniform(0.8, 1.3),
    )


def _by_espeak(random: Random) -> speech.Speech:
    is_english = random.random() < _ENGLISH_SHARE
    language = "en" if is_english else random.choice(sentences.languages()[1:])
    accent = random.choice(_ENGLISH) if is_english else language
    return speech.espeak(
        sentences.training_sentence(language, random),
        f"{accent}+{random.choice(VARIANTS.split())}",
        rate=random.randint(125, 215),
        pitch=random.randint(20, 80),
        pitch_range=random.randint(25, 85),
    )


_SAYING: dict[str, Callable[[Random], speech.Speech]] = {
    "heart": _by_heart,
    "joe": _by_joe,
    "flite": _by_flite,
    "espeak": _by_espeak,
}


def build(count: int, seed: int, after: int) -> Corpus:
    """Speak ``count`` utterances, and half as many pieces that are not speech."""
    generator = np.random.default_rng(seed)
    pieces = []
    for number, spoken in enumerate(utterances(count, seed)):
        begun = _BEGUN
        if generator.random() < _HELD:
            spoken = disturbances.held(generator, spoken)
            begun = _BEGUN_IF_HELD
        truth = phonetics.truth(spoken, len(spoken.samples) // SAMPLES_PER_FRAME)
        for _ in range(_HEARINGS):
            heard = _heard(generator, spoken.samples, truth, begun)
            pieces.append(_piece(generator, *heard, after))
        if number % 2 == 0:
            frames = int(generator.integers(50, 150))
            sound = augmentation.not_speech(generator, frames * SAMPLES_PER_FRAME)
            pieces.append(_piece(generator, sound, _nothing_said(frames), after))
    return Corpus(*(np.concatenate(column) for column in zip(*pieces, strict=True)))


def save(corpus: Corpus, path: Path) -> None:
    """Keep a part of a corpus; it is there whole or not at all."""
    partial = path.with_suffix(".partial.npz")
    columns = {field.name: getattr(corpus, field.name) for field in fields(Corpus)}
    np.savez(partial, allow_pickle=False, **columns)
    partial.replace(path)


def load(path: Path) -> Corpus:
    """A part that was kept."""
    with np.load(path, allow_pickle=False) as stored:
        return Corpus(**{field.name: stored[field.name] for field in fields(Corpus)})


def joined(corpora: Sequence[Corpus]) -> Corpus:
    """One after the other."""
    names = [field.name for field in fields(Corpus)]
    return Corpus(*(np.concatenate([getattr(one, name) for one in corpora]) for name in names))


def _heard(
    generator: np.random.Generator,
    samples: NDArray[np.float32],
    truth: phonetics.Truth,
    begun: float,
) -> tuple[NDArray[np.float32], phonetics.Truth]:
    """One way that this speech might arrive, and the mouth that was seen to say it.

    ``begun``: how likely it begins in a vowel.
    """
    if generator.random() < _STEPPED:
        samples = disturbances.stepped(generator, samples)
    sound = augmentation.heard(generator, samples)
    if generator.random() < _BANGED:
        sound = disturbances.banged(generator, sound)
        sound = sound / max(float(np.abs(sound).max()), 1.0)
    if generator.random() < begun:
        frame = disturbances.first_frame_in_a_vowel(generator, truth)
        return disturbances.begun_at(frame, sound, truth)
    return sound, truth


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
