"""Two outputs fitted after the others: they follow the corpus, and leave the others as they are."""

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")

from inference.engines.viseme import net
from inference.engines.viseme.shape import MouthShape
from inference.engines.viseme.training import added
from inference.engines.viseme.training.corpus import Corpus

FRAMES = 400
OPEN, WIDE, ROUND, PRESS = (
    MouthShape._fields.index(name) for name in ("open", "wide", "round", "press")
)


def corpus() -> Corpus:
    """Loud noise of wide open rounded lips, and soft noise of spread ones, a second each."""
    is_loud = np.arange(FRAMES) // 25 % 2 == 0
    noise = np.random.default_rng(4).normal(-5, 1, (FRAMES * 4, 40))
    noise[np.repeat(is_loud, 4)] += 4
    shapes = np.zeros((FRAMES, net.SHAPES), np.float32)
    shapes[:, ROUND], shapes[:, WIDE], shapes[:, OPEN] = is_loud, ~is_loud, is_loud
    return Corpus(
        mels=noise.astype(np.float16),
        shapes=shapes,
        visemes=np.full(FRAMES, 10),
        closed=np.zeros(FRAMES, np.float32),
        speaking=np.ones(FRAMES, np.float32),
    )


def test_they_follow_the_corpus_and_leave_the_others_as_they_are(tmp_path: Path):
    path = Path(shutil.copy(net.WEIGHTS_PATH, tmp_path / "weights.npz"))
    mels = corpus().mels[None].astype(np.float32)
    before = net.Net(path)(mels)[0]

    added.add(path, [corpus()])

    after = net.Net(path)(mels)[0]
    np.testing.assert_array_equal(after[:, : net.FITTED], before[:, : net.FITTED])
    is_loud = corpus().shapes[-len(after) :, ROUND] > 0
    settled = np.convolve(is_loud, np.ones(9), "same")
    rounded, jaw = after[:, net.ROUNDED], after[:, net.JAW]
    assert np.median(rounded[settled == 9]) > 1
    assert np.median(rounded[settled == 0]) < -1
    assert jaw[settled == 9].mean() > jaw[settled == 0].mean() + 0.5


def test_the_jaw_of_the_truth_stays_open_while_lips_close_between_vowels():
    shapes = np.zeros((60, net.SHAPES), np.float32)
    shapes[10:50, OPEN] = 0.8
    shapes[29:31, OPEN], shapes[29:31, PRESS] = 0, 1

    jaw = added.jaw(shapes)

    assert jaw[28:32].min() > 0.7
    assert jaw[[0, -1]].max() < 0.01
    assert np.abs(np.diff(jaw)).max() < 0.3
