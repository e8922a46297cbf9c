"""``python -m benchmarks.human_speech [--avatar DIR] [--weights FILE]``

Lips on people's voices: eight recordings of Debian's ``pocketsphinx-testdata`` (none of them was
trained on), aligned with what is said in them, shown by the avatar, and scored on the decoded
video: r by one look of the face mesh at each picture, and by several (see `benchmarks.score`).
Beside the net stands the lip flap that opens the mouth as far as the sound is loud, through
the same renderer, encoder and landmarks. The recognizer errs too: where a second acoustic model
aligns the recording, r between the openings of both alignments is the ceiling of any score here.

Then the voices that no net was trained on, synthesized, by both truths: the one of the training
and a plainer one (see `benchmarks.plain_truth`).
"""

import argparse
import sys
import wave
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.alignment import NotAligned, align
from benchmarks.folders import PRESENTER
from benchmarks.lipsync import joined
from benchmarks.machine import machine
from benchmarks.plain_truth import plain_truth
from benchmarks.score import Curve, LipTruth, correlation, filled, lip_gap, separation, steady_gap
from benchmarks.speaking import hear, speaking_in_process
from inference.engines.base import Features
from inference.engines.viseme import net
from inference.engines.viseme.engine import VisemeEngine
from inference.engines.viseme.shape import MouthShape
from inference.engines.viseme.training.phonetics import VISEMES, truth
from inference.engines.viseme.training.sentences import HELD_OUT_ENGLISH, HELD_OUT_SPANISH
from inference.engines.viseme.training.speech import Phoneme, Speech, espeak, flite, padded
from inference.faces.mesh import FaceMesh
from inference.media.types import AudioWindow
from inference.timing import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

RECORDINGS = Path("/usr/share/pocketsphinx/test/data")
_SECOND_MODEL = "an4_ci_cont"
_TEXTS = {
    "cards/001.wav": "ten of clubs",
    "cards/002.wav": "four queen of clubs",
    "cards/003.wav": "seven of clubs",
    "cards/004.wav": "five five",
    "cards/005.wav": "eight of spades four of clubs seven of hearts",
    "goforward.raw": "go forward ten meters",
    "numbers.raw": "thirty three four or six ninety two",
    "something.raw": "go somewhere and do something",
}
_VOICES = (
    ("flite awb", "flite", "awb"),
    ("espeak Gene", "espeak", "en-us+Gene"),
    ("espeak belinda", "espeak", "en+belinda"),
    ("espeak Spanish", "espeak", "es"),
    ("espeak Spanish, Gene", "espeak", "es+Gene"),
    ("espeak Spanish, belinda", "espeak", "es+belinda"),
)
_LOW, _HIGH = 5, 95


@dataclass(frozen=True, slots=True, eq=False)
class Utterance:
    """``second``: the opening by the second alignment; None where that model failed."""

    name: str
    samples: NDArray[np.float32]
    own: LipTruth
    plain: LipTruth
    second: Curve | None = None


class LoudnessEngine(VisemeEngine):
    """The lip flap: the mouth is as open as the frame is loud, within the last second."""

    def listen(self, windows: Sequence[AudioWindow]) -> list[list[Features]]:
        return [
            [self._shape(window, frame) for frame in range(window.frames)] for window in windows
        ]

    def _shape(self, window: AudioWindow, frame: int) -> Features:
        end = self.context.before + (frame + 1) * SAMPLES_PER_FRAME
        second = window.samples[max(end - SAMPLE_RATE_HZ, 0) : end]
        blocks = second[len(second) % SAMPLES_PER_FRAME :].reshape(-1, SAMPLES_PER_FRAME)
        levels = np.sqrt(np.square(blocks).mean(1))
        shape = MouthShape().to_features()
        shape[0] = levels[-1] / max(float(levels.max()), 1e-3)
        return shape


def read_recording(path: Path) -> NDArray[np.float32]:
    """Return a recording of 16 kHz mono, whole frames of it.

    The last one is filled with silence.
    """
    if path.suffix == ".wav":
        with wave.open(str(path)) as reader:
            if (reader.getframerate(), reader.getnchannels()) != (SAMPLE_RATE_HZ, 1):
                raise ValueError(f"{path} is not 16 kHz mono")
            pcm = reader.readframes(reader.getnframes())
    else:
        pcm = path.read_bytes()
    samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32_768
    return np.pad(samples, (0, -len(samples) % SAMPLES_PER_FRAME))


def recorded(folder: Path) -> list[Utterance]:
    """Return the recordings with their truths."""
    found = []
    for name, text in _TEXTS.items():
        samples = read_recording(folder / name)
        first = align(samples, text)
        second = None
        try:
            other = align(samples, text, folder / _SECOND_MODEL)
            # A word that the second model left out would count as its disagreement.
            if [p.symbol for p in first if p.symbol] == [p.symbol for p in other if p.symbol]:
                second = _utterance(name, samples, other).own.opening
        except NotAligned:
            pass
        found.append(replace(_utterance(name, samples, first), second=second))
    return found


def _utterance(name: str, samples: NDArray[np.float32], said: tuple[Phoneme, ...]) -> Utterance:
    return _with_truths(Speech(samples, said, "arpabet", name))


def _with_truths(speech: Speech) -> Utterance:
    frames = len(speech.samples) // SAMPLES_PER_FRAME
    mouth = truth(speech, frames)
    own = LipTruth(mouth.shapes[:, 0].astype(np.float64), mouth.visemes == VISEMES.index("PP"))
    samples = speech.samples[: frames * SAMPLES_PER_FRAME]
    return Utterance(speech.voice, samples, own, plain_truth(speech, frames))


def synthesized(sentences: int) -> list[list[Utterance]]:
    """Of each held-out voice so many sentences."""
    return [
        [
            _with_truths(padded((flite if program == "flite" else espeak)(text, voice), 0.2, 0.3))
            for text in (HELD_OUT_SPANISH if "Spanish" in name else HELD_OUT_ENGLISH)[:sentences]
        ]
        for name, program, voice in _VOICES
    ]


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Gap of the lips in each frame of the decoded video, by one look and by several."""

    gap: Curve
    steady: Curve


def shown(engine: VisemeEngine, avatar: Path, samples: NDArray[np.float32]) -> Seen:
    """Show the avatar saying ``samples`` and measure its lips."""
    mesh = FaceMesh()
    gaps, steady = [], []
    for picture in speaking_in_process(engine, avatar, samples):
        face = mesh.find(picture)
        gaps.append(lip_gap(face))
        steady.append(steady_gap(mesh, picture, face))
    return Seen(filled(gaps), filled(steady))


def clipped(gaps: Sequence[Curve]) -> list[Curve]:
    """0..1 between the 5th and the 95th percentile over all utterances."""
    low, high = np.percentile(np.concatenate(gaps), (_LOW, _HIGH))
    return [np.clip((gap - low) / max(high - low, 1e-6), 0, 1) for gap in gaps]


def clipped_both(seen: Sequence[Seen]) -> list[Seen]:
    """Return the curves `clipped`, those of one look and those of several for themselves."""
    gaps, steady = clipped([one.gap for one in seen]), clipped([one.steady for one in seen])
    return [Seen(*curves) for curves in zip(gaps, steady, strict=True)]


def in_a_row(seen: Sequence[Seen]) -> Seen:
    """Return one utterance after the other."""
    return Seen(*(np.concatenate([getattr(s, name) for s in seen]) for name in ("gap", "steady")))


def print_row(name: str, seen: Seen, flap: Curve | None, own: LipTruth, plain: LipTruth) -> None:
    r, lag = correlation(seen.gap, own.opening)
    row = f"{name:24} {len(own):6} {r:6.3f} {lag:+4d} {separation(seen.gap, own):6.3f}"
    row += f" {correlation(seen.steady, own.opening)[0]:8.3f}"
    row += f" {correlation(seen.gap, plain.opening)[0]:8.3f}"
    row += f" {correlation(own.opening, plain.opening)[0]:10.3f}"
    if flap is not None:
        row += f" {correlation(flap, own.opening)[0]:9.3f} {separation(flap, own):9.3f}"
    print(row, end="")


def print_head(title: str, more: str = "") -> None:
    head = f"{'frames':>6} {'r':>6} {'lag':>4} {'AUC':>6} {'r steady':>8} {'r plain':>8}"
    head += f" {'own/plain':>10}"
    print(f"\n{title:24} {head}{more}")


def opening_heard(engine: VisemeEngine, samples: NDArray[np.float32]) -> Curve:
    """Return the opening that the net asks for in each frame."""
    return np.array([features[0] for features in hear(engine, samples)], np.float64)


def print_net(name: str, openings: Sequence[Curve], truths: Sequence[LipTruth]) -> None:
    """Print r of each truth in a row with what the net hears, as it is and `clipped`."""
    pairs = []
    wanted = [truth.opening for truth in truths]
    for curves in (openings, clipped(openings)):
        ends = np.cumsum([len(truth) for truth in truths])
        parts = np.split(np.concatenate(curves), ends[:-1])
        pairs.append([correlation(*both)[0] for both in zip(parts, wanted, strict=True)])
    for title, row in zip(("r", "r clipped as above"), pairs, strict=True):
        print(f"{name}: {title}", " ".join(f"{r:.3f}" for r in row))


def report_recordings(engine: VisemeEngine, avatar: Path, found: Sequence[Utterance]) -> None:
    flapping = LoudnessEngine()
    flapping.load()
    seen = clipped_both([shown(engine, avatar, utterance.samples) for utterance in found])
    flap = clipped([shown(flapping, avatar, utterance.samples).gap for utterance in found])
    print_head("people", f" {'flap r':>9} {'flap AUC':>9} {'ceiling':>8}")
    for utterance, gap, loud in zip(found, seen, flap, strict=True):
        print_row(utterance.name, gap, loud, utterance.own, utterance.plain)
        second = utterance.second
        print("" if second is None else f" {correlation(utterance.own.opening, second)[0]:8.3f}")
    own, plain = joined([u.own for u in found]), joined([u.plain for u in found])
    print_row("all", in_a_row(seen), np.concatenate(flap), own, plain)
    both = [(u.own.opening, u.second) for u in found if u.second is not None]
    if both:
        first, second = (np.concatenate(curves) for curves in zip(*both, strict=True))
        print(f" {correlation(first, second)[0]:8.3f}", end="")
    print()
    opening = [opening_heard(engine, utterance.samples) for utterance in found]
    print_net("the net, no picture", opening, [own])


def report_voices(engine: VisemeEngine, avatar: Path, sentences: int) -> None:
    voices = synthesized(sentences)
    gaps = [[shown(engine, avatar, utterance.samples) for utterance in voice] for voice in voices]
    flat = iter(clipped_both([gap for voice in gaps for gap in voice]))
    print_head("voices never trained on")
    for (name, _, _), voice in zip(_VOICES, voices, strict=True):
        seen = in_a_row([next(flat) for _ in voice])
        own, plain = joined([u.own for u in voice]), joined([u.plain for u in voice])
        print_row(name, seen, None, own, plain)
        print()
    openings = [opening_heard(engine, u.samples) for voice in voices for u in voice]
    print_net("the net, no picture", openings, [joined([u.own for u in v]) for v in voices])


def missing(folder: Path) -> str | None:
    """Return what the recordings need and is not here, in a sentence."""
    if not (folder / "cards").is_dir():
        return f"No recordings in {folder}: install Debian's pocketsphinx-testdata."
    try:
        import pocketsphinx  # noqa: F401
    except ImportError:
        return "Nothing to align with: .venv/bin/pip install -r requirements-training.txt."
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description="Score lips on recordings of people.")
    parser.add_argument("--avatar", type=Path, default=PRESENTER, help="asset folder")
    parser.add_argument("--weights", type=Path, default=net.WEIGHTS_PATH)
    parser.add_argument("--recordings", type=Path, default=RECORDINGS)
    parser.add_argument("--sentences", type=int, default=3, help="of each synthesized voice")
    chosen = parser.parse_args()
    engine = VisemeEngine(chosen.weights)
    engine.load()
    print(f"lips of {chosen.avatar.name} on the decoded video, measured on {machine()}")
    reason = missing(chosen.recordings)
    if reason:
        print(reason)
    else:
        report_recordings(engine, chosen.avatar, recorded(chosen.recordings))
    if chosen.sentences:
        report_voices(engine, chosen.avatar, chosen.sentences)
    return 0


if __name__ == "__main__":
    sys.exit(main())
