"""The net's last layer fitted again: minutes of sound and seconds of work instead of hours.

The layers before it turn sound into what can be said of a mouth; the last one, which is linear,
says it. New voices mostly change where its decisions lie. So on their corpus

- *closed* and *speaking* are fitted again, by logistic regression,
- the *opening* is fitted by least squares where lips are not closed, and averaged with what it was:
  an ensemble of two linear layers is one.

Both begin with the weights that are there, and a small penalty on the change keeps them near.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from inference.engines.viseme import net
from inference.engines.viseme.features import STEPS_PER_FRAME
from inference.engines.viseme.shape import MouthShape
from inference.engines.viseme.training.corpus import Corpus

_PENALTY = 3e-4
_CLOSED_WEIGHT = 2.0
"""How much a frame of closed lips counts against one of others: a missed closure is seen."""
UNSPOKEN_WEIGHT = 0.3
"""How much a frame without speech counts."""
_ITERATIONS = 60
_OPEN, _PRESS = (MouthShape._fields.index(name) for name in ("open", "press"))
_LEAD_FRAMES = -(-net.STEPS_BEFORE // STEPS_PER_FRAME)

Matrix = NDArray[np.float64]


def refit(start: Path, corpora: list[Corpus], path: Path) -> None:
    """Write the weights of ``start`` with a last layer fitted to ``corpora``."""
    with np.load(start, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    hidden, shapes, speaking = seen(net.Net(start), corpora)
    last = len(net.CONVOLUTIONS) + 1
    names = f"kernel_{last}", f"bias_{last}"
    weights = np.vstack([arrays[names[0]], arrays[names[1]][None]]).astype(np.float64)
    scaled, scale = evened(hidden)
    before = hidden @ weights

    is_closed = shapes[:, _PRESS] > 0.5
    counts = np.where(is_closed, 0.0, np.where(speaking > 0, 1.0, UNSPOKEN_WEIGHT))
    missing = shapes[:, _OPEN] - before[:, _OPEN]
    weights[:, _OPEN] += 0.5 * least_squares(scaled, missing, counts) / scale
    for column, wanted, weight in (
        (net.CLOSED, is_closed, _CLOSED_WEIGHT),
        (net.SPEAKING, speaking > 0, 1.0),
    ):
        weights[:, column] += logistic(scaled, before[:, column], wanted, weight) / scale
    arrays[names[0]] = weights[:-1].astype(np.float16)
    arrays[names[1]] = weights[-1].astype(np.float16)
    np.savez_compressed(path, allow_pickle=False, **arrays)


def seen(
    trained: net.Net, corpora: list[Corpus]
) -> tuple[Matrix, NDArray[np.float32], NDArray[np.float32]]:
    """Return what the last layer sees of each frame and a one, the shapes, and whether it speaks.

    Returns:
        ``[frames, HIDDEN + 1]``, ``[frames, 7]`` and ``[frames]``.
    """
    return (
        np.concatenate([_hidden(trained, corpus) for corpus in corpora]),
        np.concatenate([corpus.shapes[_LEAD_FRAMES:] for corpus in corpora]),
        np.concatenate([corpus.speaking[_LEAD_FRAMES:] for corpus in corpora]),
    )


def evened(hidden: Matrix) -> tuple[Matrix, Matrix]:
    """Return inputs of about the same size, and by what each was divided; the last is a one."""
    scale = hidden.std(0) + 1e-3
    scale[-1] = 1.0
    return hidden / scale, scale


def _hidden(trained: net.Net, corpus: Corpus) -> Matrix:
    """What the last layer sees of each frame, and a one: ``[frames - lead, HIDDEN + 1]``."""
    first = _LEAD_FRAMES * STEPS_PER_FRAME - net.STEPS_BEFORE
    seen = trained.hidden(corpus.mels[None, first:].astype(np.float32))[0]
    return np.column_stack([seen, np.ones(len(seen))]).astype(np.float64)


def least_squares(inputs: Matrix, wanted: Matrix, counts: Matrix) -> Matrix:
    """Return the weights that fit best; inputs are of about the same size."""
    weighted = inputs * counts[:, None]
    penalty = _PENALTY * len(inputs) * np.eye(inputs.shape[1])
    return np.asarray(np.linalg.solve(weighted.T @ inputs + penalty, weighted.T @ wanted))


def logistic(inputs: Matrix, before: Matrix, wanted: NDArray[np.bool_], weight: float) -> Matrix:
    """The change of the weights that makes the logits fit best."""
    counts = np.where(wanted, weight, 1.0) / len(inputs)

    def loss(change: Matrix) -> tuple[float, Matrix]:
        logits = inputs @ change + before
        probability = 0.5 * (1 + np.tanh(0.5 * logits))
        error = counts @ (np.logaddexp(0, logits) - wanted * logits)
        slope = inputs.T @ (counts * (probability - wanted))
        return (
            float(error + 0.5 * _PENALTY * change @ change),
            np.asarray(slope + _PENALTY * change),
        )

    found = minimize(
        loss,
        np.zeros(inputs.shape[1]),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _ITERATIONS},
    )
    return np.asarray(found.x)
