"""``python -m benchmarks.round_lips [--avatar DIR] [--sentences N]``

How different do rounded and spread lips look? Held-out voices speak, the stream is decoded, and a
face mesh measures how far the corners of the mouth are apart. The AUC is the probability that they
are nearer to each other in a picture of [w u o] than in one of [i e s]: of the net's rounding, of
the pictures, and of pictures of the truth itself, which is the most that the mesh can see of it.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.folders import PRESENTER
from benchmarks.held_out import VOICES, spoken
from benchmarks.machine import machine
from benchmarks.score import Curve, filled
from benchmarks.speaking import hear, speaking_in_process
from inference.engines.base import Features
from inference.engines.viseme.engine import VisemeEngine
from inference.engines.viseme.shape import MouthShape
from inference.engines.viseme.training.phonetics import Truth, truth
from inference.engines.viseme.training.scores import rounding
from inference.engines.viseme.training.speech import Speech
from inference.faces.mesh import LEFT_MOUTH_CORNER, RIGHT_MOUTH_CORNER, Face, FaceMesh
from inference.faces.tflite import RgbPicture
from inference.media.types import AudioWindow
from inference.timing import SAMPLES_PER_FRAME

_ROUND = MouthShape._fields.index("round")


class TruthfulEngine(VisemeEngine):
    """Shows the mouths it is given, whatever it hears."""

    def __init__(self, mouths: Iterable[Features]) -> None:
        super().__init__(has_emphasis=False)
        self._mouths = iter(mouths)

    def listen(self, windows: Sequence[AudioWindow]) -> list[list[Features]]:
        return [[next(self._mouths) for _ in range(window.frames)] for window in windows]


def width(face: Face | None) -> float:
    """Distance of the corners of the mouth over that of the eyes; NaN without a face."""
    if face is None:
        return float("nan")
    corners = face.landmarks[[LEFT_MOUTH_CORNER, RIGHT_MOUTH_CORNER], :2]
    return float(np.linalg.norm(np.subtract(*corners))) / face.interocular


def widths(pictures: Iterable[RgbPicture]) -> Curve:
    """Return the width of the mouth in each picture of a video."""
    mesh = FaceMesh()
    return filled([width(mesh.find(picture)) for picture in pictures])


def separation(narrowness: Curve | NDArray[np.float32], wanted: Truth) -> float:
    """Return the AUC of what is larger the rounder lips are."""
    shapes = np.zeros((len(narrowness), len(MouthShape._fields)), np.float32)
    shapes[:, _ROUND] = narrowness
    return rounding(shapes, wanted)


def report(avatar: Path, voice: str, speeches: Sequence[Speech]) -> None:
    """Print the row of a voice."""
    engine = VisemeEngine()
    engine.load()
    rows, wanted = [], []
    for speech in speeches:
        frames = len(speech.samples) // SAMPLES_PER_FRAME
        samples = speech.samples[: frames * SAMPLES_PER_FRAME]
        due = truth(speech, frames)
        wanted.append(due)
        mouths = [np.append(shape, np.float32(0)) for shape in due.shapes]  # the jaw as the lips
        shown = widths(speaking_in_process(engine, avatar, samples))
        ideal = widths(speaking_in_process(TruthfulEngine(mouths), avatar, samples))
        net = [features[_ROUND] for features in hear(engine, samples)]
        rows.append((np.array(net), -shown, -ideal))
    whole = Truth(*(np.concatenate(parts) for parts in zip(*map(_arrays, wanted), strict=True)))
    scores = [separation(np.concatenate(part), whole) for part in zip(*rows, strict=True)]
    print(f"{voice:26} {scores[0]:6.3f} {scores[1]:9.3f} {scores[2]:9.3f}", flush=True)


def _arrays(due: Truth) -> tuple[NDArray[np.generic], ...]:
    return due.shapes, due.visemes, due.closed, due.speaking


def main() -> int:
    parser = argparse.ArgumentParser(description="Score how well rounded lips are seen.")
    parser.add_argument("--avatar", type=Path, default=PRESENTER, help="asset folder")
    parser.add_argument("--sentences", type=int, default=6, help="at most, of each voice")
    chosen = parser.parse_args()
    print(f"rounded lips of {chosen.avatar.name}, measured on {machine()}")
    print(f"{'AUC':26} {'net':>6} {'pictures':>9} {'of truth':>9}")
    for voice in VOICES:
        report(chosen.avatar, voice, spoken(voice, chosen.sentences))
    return 0


if __name__ == "__main__":
    sys.exit(main())
