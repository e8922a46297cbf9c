"""The last layer fitted again: to a corpus, near the weights that were there."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")

from inference.engines.viseme import net
from inference.engines.viseme.training import head
from inference.engines.viseme.training.corpus import Corpus, joined, load, save

FRAMES = 300


def corpus(seed: int = 0) -> Corpus:
    """Noise, and a mouth that the net would not have seen in it: wide open, never closed."""
    generator = np.random.default_rng(seed)
    shapes = np.zeros((FRAMES, net.SHAPES), np.float32)
    shapes[:, 0] = 0.9
    return Corpus(
        mels=generator.normal(-5, 2, (FRAMES * 4, 40)).astype(np.float16),
        shapes=shapes,
        visemes=np.full(FRAMES, 10),
        closed=np.zeros(FRAMES, np.float32),
        speaking=np.ones(FRAMES, np.float32),
    )


def outputs(path: Path, heard: Corpus) -> np.ndarray:
    return net.Net(path)(heard.mels[None].astype(np.float32))[0]


def test_decisions_follow_the_corpus_and_the_opening_moves_halfway(tmp_path: Path):
    path = tmp_path / "weights.npz"
    head.refit(net.WEIGHTS_PATH, [corpus(0), corpus(1)], path)
    before, after = (outputs(one, corpus(0)) for one in (net.WEIGHTS_PATH, path))
    assert after[:, net.CLOSED].mean() < before[:, net.CLOSED].mean()
    assert after[:, net.SPEAKING].mean() > before[:, net.SPEAKING].mean()
    moved = (after[:, 0].mean() - before[:, 0].mean()) / (0.9 - before[:, 0].mean())
    assert 0.3 < moved < 0.6
    others = [*range(1, net.SHAPES), *range(net.SPEAKING + 1, net.OUTPUTS)]
    np.testing.assert_allclose(after[:, others], before[:, others], atol=1e-5)


def test_a_part_of_a_corpus_is_kept_as_it_was(tmp_path: Path):
    path = tmp_path / "part.npz"
    save(corpus(), path)
    again = load(path)
    np.testing.assert_array_equal(again.mels, corpus().mels)
    assert len(joined([again, again]).visemes) == 2 * FRAMES
    assert [file.name for file in tmp_path.iterdir()] == ["part.npz"]
