"""The evaluation: what the net makes of voices, a language and sentences it never heard.

It hears as the server hears, through `VisemeEngine.listen`. Its music is played by instruments that
training does not have.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.engines.viseme.engine import VisemeEngine
from inference.engines.viseme.training import (
    augmentation,
    phonetics,
    scores,
    sounds,
    speech,
)
from inference.engines.viseme.training.sentences import (
    HELD_OUT_ENGLISH,
    HELD_OUT_SPANISH,
)
from inference.media.types import AudioWindow
from inference.timing import SAMPLES_PER_FRAME

NOISE_DBFS = -20.0
MUSIC_RATIO_DB = 10.0
OPEN_IN_NOISE = 0.1
_PAUSE_S = 0.3
_SECONDS_OF_NOISE = 20


@dataclass(frozen=True, slots=True, eq=False)
class Talk:
    """Several sentences of one voice: float32 samples and the mouths that spoke them."""

    name: str
    samples: NDArray[np.float32]
    truth: phonetics.Truth


@dataclass(frozen=True, slots=True)
class Score:
    """How the mouth follows one talk."""

    r: float
    lag_frames: int
    auc: float
    closures: float
    wrongly_closed: float
    wrong_audio_r: float
    lag_ms: float
    wide_r: float
    round_r: float
    contact_auc: float
    rounding_auc: float
    restlessness: float
    """Against the truth's own; 1 is as restless as the truth."""
    open_range: tuple[float, float]
    """5th and 95th percentile of the opening."""


def talks() -> list[Talk]:
    """All that is held out: four voices in English, and Spanish in three."""

    def flite(voice: str) -> Callable[[str], speech.Speech]:
        return lambda text: speech.flite(text, voice)

    def espeak(voice: str) -> Callable[[str], speech.Speech]:
        return lambda text: speech.espeak(text, voice)

    return [
        talk("flite awb", flite("awb"), HELD_OUT_ENGLISH),
        talk("espeak Gene", espeak("en-us+Gene"), HELD_OUT_ENGLISH),
        talk("espeak shelby", espeak("en-us+shelby"), HELD_OUT_ENGLISH),
        talk("espeak belinda", espeak("en+belinda"), HELD_OUT_ENGLISH),
        talk("espeak Gene, Spanish", espeak("es+Gene"), HELD_OUT_SPANISH),
        talk("espeak belinda, Spanish", espeak("es+belinda"), HELD_OUT_SPANISH),
        talk("espeak f3, Spanish", espeak("es+f3"), HELD_OUT_SPANISH),
    ]


def talk(name: str, say: Callable[[str], speech.Speech], sentences: Sequence[str]) -> Talk:
    """Say sentences one after the other, with a breath between."""
    samples = []
    truths = []
    for sentence in sentences:
        spoken = speech.padded(say(sentence), _PAUSE_S, _PAUSE_S)
        frames = len(spoken.samples) // SAMPLES_PER_FRAME
        samples.append(spoken.samples[: frames * SAMPLES_PER_FRAME])
        truths.append(phonetics.truth(spoken, frames))
    return Talk(name, np.concatenate(samples), _joined(truths))


def heard(engine: VisemeEngine, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mouth shapes of an utterance, float32 ``[frames, 7]``."""
    frames = len(samples) // SAMPLES_PER_FRAME
    padded = np.pad(
        samples[: frames * SAMPLES_PER_FRAME], (engine.context.before, engine.context.after)
    )
    return np.stack(engine.listen([AudioWindow(padded.astype(np.float32), frames)])[0])


def score(engine: VisemeEngine, talk: Talk, other: Talk) -> Score:
    """Score the net's output for a talk against it, and its output for another as the control."""
    shapes = heard(engine, talk.samples)
    opening, truth = shapes[:, 0], talk.truth.shapes[:, 0]
    lag_frames, _ = scores.best_lag(opening, truth)
    hits, total = scores.closures(opening, talk.truth)
    wrong = heard(engine, other.samples)[:, 0]
    common = min(len(wrong), len(truth))
    low, high = np.percentile(opening, (5, 95))
    return Score(
        r=scores.correlation(opening, truth),
        lag_frames=lag_frames,
        auc=scores.separation(opening, talk.truth),
        closures=hits / max(total, 1),
        wrongly_closed=scores.wrongly_closed(opening, talk.truth),
        wrong_audio_r=scores.correlation(wrong[:common], truth[:common]),
        lag_ms=scores.lag_ms(opening, truth),
        wide_r=scores.correlation(shapes[:, 1], talk.truth.shapes[:, 1]),
        round_r=scores.correlation(shapes[:, 2], talk.truth.shapes[:, 2]),
        contact_auc=scores.contact(shapes, talk.truth),
        rounding_auc=scores.rounding(shapes, talk.truth),
        restlessness=scores.restlessness(opening) / scores.restlessness(truth),
        open_range=(float(low), float(high)),
    )


def music_loss(engine: VisemeEngine, talk: Talk) -> float:
    """By how much r falls when music plays, 10 dB below the speech."""
    truth = talk.truth.shapes[:, 0]
    music = sounds.music(np.random.default_rng(7), len(talk.samples), sounds.HELD_OUT_INSTRUMENTS)
    mixed = augmentation.mixed(talk.samples, music, MUSIC_RATIO_DB)
    mixed /= max(1.0, float(np.abs(mixed).max()))
    clean_r = scores.correlation(heard(engine, talk.samples)[:, 0], truth)
    return clean_r - scores.correlation(heard(engine, mixed)[:, 0], truth)


def shut_shares(engine: VisemeEngine) -> dict[str, float]:
    """Share of frames in which the mouth stays shut at sounds that are not speech, -20 dBFS."""
    count = _SECONDS_OF_NOISE * 16_000
    level = np.float32(10 ** (NOISE_DBFS / 20))
    generator = np.random.default_rng(11)
    kinds = {
        "silence": np.zeros(count, np.float32),
        "white noise": sounds.colored_noise(generator, count, 0),
        "pink noise": sounds.colored_noise(generator, count, 1),
        "brown noise": sounds.colored_noise(generator, count, 2),
        "breath": sounds.breath(generator, count),
        **{
            f"music {n}": sounds.music(generator, count, sounds.HELD_OUT_INSTRUMENTS)
            for n in range(1, 4)
        },
        "music, known instruments": sounds.music(generator, count, sounds.TRAINING_INSTRUMENTS),
    }
    return {
        name: float((heard(engine, np.clip(sound * level, -1, 1))[:, 0] < OPEN_IN_NOISE).mean())
        for name, sound in kinds.items()
    }


def _joined(truths: Sequence[phonetics.Truth]) -> phonetics.Truth:
    return phonetics.Truth(
        np.concatenate([truth.shapes for truth in truths]),
        np.concatenate([truth.visemes for truth in truths]),
        np.concatenate([truth.closed for truth in truths]),
        np.concatenate([truth.speaking for truth in truths]),
    )
