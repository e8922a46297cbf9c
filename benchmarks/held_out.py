"""Speech that the viseme net never heard, with the truth of its mouth."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.score import LipTruth
from inference.engines.viseme.training.phonetics import VISEMES, truth
from inference.engines.viseme.training.sentences import HELD_OUT_ENGLISH, HELD_OUT_SPANISH
from inference.engines.viseme.training.speech import Speech, espeak, flite, padded
from inference.timing import SAMPLES_PER_FRAME

_BEFORE_S, _AFTER_S = 0.2, 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """Several sentences by one voice: ``samples`` float32 16 kHz in -1..1, whole frames of them."""

    voice: str
    samples: NDArray[np.float32]
    truth: LipTruth

    @property
    def frames(self) -> int:
        return len(self.truth)

    def to_pcm(self) -> bytes:
        """s16le."""
        return np.clip(self.samples * 32768, -32768, 32767).astype("<i2").tobytes()


VOICES = {
    "flite awb": HELD_OUT_ENGLISH[:6],
    "espeak en-us+Gene": HELD_OUT_ENGLISH[6:10],
    "espeak en-gb-x-rp+shelby": HELD_OUT_ENGLISH[10:14],
    "espeak en-us+belinda": HELD_OUT_ENGLISH[14:],
    "espeak es": HELD_OUT_SPANISH[:6],
}
"""What each held-out voice says."""


def passages(sentences_each: int) -> list[Passage]:
    """One passage by each held-out voice, of at most so many sentences."""
    return [_passage(voice, spoken(voice, sentences_each)) for voice in VOICES]


def spoken(voice: str, sentences: int) -> list[Speech]:
    """At most so many sentences by one of `VOICES`, with silence around each."""
    program, _, name = voice.partition(" ")
    speak = flite if program == "flite" else espeak
    return [padded(speak(text, name), _BEFORE_S, _AFTER_S) for text in VOICES[voice][:sentences]]


def _passage(voice: str, speeches: list[Speech]) -> Passage:
    samples, openings, bilabials = [], [], []
    for speech in speeches:
        frames = len(speech.samples) // SAMPLES_PER_FRAME
        mouth = truth(speech, frames)
        samples.append(speech.samples[: frames * SAMPLES_PER_FRAME])
        openings.append(mouth.shapes[:, 0])
        bilabials.append(mouth.visemes == VISEMES.index("PP"))
    loud = np.concatenate(samples)
    return Passage(
        voice=voice,
        samples=np.asarray(0.5 * loud / np.abs(loud).max(), np.float32),
        truth=LipTruth(
            np.concatenate(openings).astype(np.float64), np.concatenate(bilabials).astype(bool)
        ),
    )
