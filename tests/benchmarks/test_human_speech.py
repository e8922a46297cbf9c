"""What the scores of people's voices stand on: the second truth, the lip flap, the alignment."""

import wave
from pathlib import Path

import numpy as np
import pytest

from benchmarks.alignment import align
from benchmarks.human_speech import (
    RECORDINGS,
    LoudnessEngine,
    Seen,
    clipped,
    clipped_both,
    in_a_row,
    missing,
    print_net,
    read_recording,
)
from benchmarks.plain_truth import plain_truth
from benchmarks.score import LipTruth
from inference.engines.viseme.training.speech import Phoneme, Speech
from inference.media.types import AudioWindow


def said(*phonemes: Phoneme, seconds: float = 1.0) -> Speech:
    return Speech(np.zeros(round(16_000 * seconds), np.float32), phonemes, "arpabet", "nobody")


def test_the_plain_truth_opens_on_vowels_and_closes_on_bilabials():
    speech = said(Phoneme(0.2, 0.4, "aa"), Phoneme(0.4, 0.52, "m"), Phoneme(0.52, 0.72, "aa"))

    truth = plain_truth(speech, 25)

    assert len(truth) == 25
    assert truth.opening[7] > 0.8
    assert truth.opening[11] < 0.1
    assert truth.opening[15] > 0.8
    assert truth.opening[[0, 24]].max() < 0.01
    assert truth.is_bilabial.tolist() == [10 <= frame <= 12 for frame in range(25)]


def test_the_lip_flap_follows_loudness_alone():
    engine = LoudnessEngine()
    frames = 30
    samples = np.zeros(engine.context.before + frames * 640 + engine.context.after, np.float32)
    loud = engine.context.before + 10 * 640
    samples[loud : loud + 640] = 0.5
    samples[loud + 640 : loud + 1280] = 0.25

    (shapes,) = engine.listen([AudioWindow(samples, frames)])

    opening = [float(shape[0]) for shape in shapes]
    assert opening[9] == 0
    assert opening[10] == pytest.approx(1)
    assert opening[11] == pytest.approx(0.5)
    assert opening[12] == 0
    assert not np.any(np.stack(shapes)[:, 1:])


def test_gaps_are_clipped_over_all_utterances():
    first, second = clipped([np.arange(100.0), np.full(3, 200.0)])
    assert first[0] == 0
    assert second.tolist() == [1, 1, 1]
    assert 0.3 < first[50] < 0.7


def test_both_curves_of_a_video_are_clipped_and_joined_for_themselves():
    curve = np.arange(100.0)
    first, second = clipped_both([Seen(curve, 10 * curve), Seen(curve[:3], curve[:3] - 500)])

    np.testing.assert_allclose(first.gap[50], 0.5, atol=0.1)
    assert second.steady.max() == 0
    assert in_a_row([first, second]).gap.tolist() == [*first.gap, *second.gap]
    assert len(in_a_row([first, second]).steady) == 103


def test_the_net_is_scored_against_each_truth_by_itself(capsys):
    right, wrong = np.sin(np.arange(40.0)), np.cos(np.arange(30.0))
    no_bilabial = np.zeros(40, bool)
    truths = [LipTruth(right, no_bilabial), LipTruth(wrong, no_bilabial[:30])]

    print_net("net", [right, wrong[:10], wrong[10:]], truths)

    plain, clip = capsys.readouterr().out.splitlines()
    assert plain == "net: r 1.000 1.000"
    assert clip == "net: r clipped as above 1.000 1.000"


def test_recordings_of_another_rate_are_refused(tmp_path: Path):
    with wave.open(str(tmp_path / "a.wav"), "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(8_000)
        writer.writeframes(bytes(200))
    with pytest.raises(ValueError, match="16 kHz mono"):
        read_recording(tmp_path / "a.wav")


def test_without_recordings_a_sentence_says_what_to_install(tmp_path: Path):
    assert "pocketsphinx-testdata" in (missing(tmp_path) or "")


@pytest.mark.skipif(missing(RECORDINGS) is not None, reason=str(missing(RECORDINGS)))
def test_a_recording_is_aligned_with_its_words():
    samples = read_recording(RECORDINGS / "goforward.raw")

    phonemes = align(samples, "go forward ten meters")

    symbols = [phoneme.symbol for phoneme in phonemes if phoneme.symbol]
    assert " ".join(symbols) == "g ow f ao r w er d t eh n m iy t er z"
    starts = [phoneme.start_s for phoneme in phonemes]
    assert starts == sorted(starts)
    sounds = [phoneme for phoneme in phonemes if phoneme.symbol]
    assert 0.3 < sounds[0].start_s < 0.6
    assert sounds[-1].end_s < len(samples) / 16_000
