"""The net: four causal convolutions over log-mels and a linear head, in numpy.

The first two layers lead from 10 ms to frames of 40 ms, the other two hear some 0.4 s of frames.
Batch normalization is folded into the weights when they are written, so a layer is one matrix
product and a ReLU. The same weights give the same answer for a frame whether it comes alone, with
others of its window, in a batch, or after the frame before it was heard, which costs a quarter.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.engines.viseme.features import MELS, STEPS_PER_FRAME, strided
from inference.errors import EngineUnavailable

SHAPES = 7
VISEMES = 15
FITTED = SHAPES + 2 + VISEMES
"""The mouth shape; logits of closed lips and of speech; logits of the viseme classes."""
CLOSED, SPEAKING = SHAPES, SHAPES + 1
OUTPUTS = FITTED + 2
"""What is fitted after them: a logit of rounded lips, not spread ones; how far the jaw is open."""
ROUNDED, JAW = FITTED, FITTED + 1
ADDED = "kernel_added", "bias_added"
"""Names of their weights, which are 0 until they are fitted."""

Memory = tuple[NDArray[np.float32] | None, ...]
"""The last inputs of each convolution, float32 ``[windows, steps, channels]``; None: no more."""

WEIGHTS_PATH = Path(__file__).parent / "weights.npz"


@dataclass(frozen=True, slots=True)
class Convolution:
    """Geometry of a layer over time."""

    kernel: int
    channels: int
    stride: int = 1
    dilation: int = 1

    @property
    def span(self) -> int:
        """Inputs from the first to the last that one output sees."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def remembered(self) -> int:
        """How many of its last inputs the outputs of those that follow see, too."""
        return self.span - self.stride


CONVOLUTIONS = (
    Convolution(kernel=5, channels=128, stride=2),
    Convolution(kernel=4, channels=224, stride=2),
    Convolution(kernel=4, channels=256),
    Convolution(kernel=4, channels=256, dilation=2),
)
_NOTHING: Memory = (None,) * len(CONVOLUTIONS)
HIDDEN = 160


def steps_needed(frames: int) -> int:
    """Feature steps that the net needs for ``frames`` frames; they end with the last frame's."""
    steps = frames
    for layer in reversed(CONVOLUTIONS):
        steps = (steps - 1) * layer.stride + layer.span
    return steps


STEPS_BEFORE = steps_needed(1) - STEPS_PER_FRAME
"""Steps heard before those of the frame itself."""


class Net:
    """The trained net; float32 throughout, though stored in half precision."""

    def __init__(self, path: Path = WEIGHTS_PATH) -> None:
        """Read the weights.

        Raises:
            EngineUnavailable: the file is missing or not of this net.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = {name: stored[name].astype(np.float32) for name in stored.files}
                self._mean, self._scale = arrays["mean"], arrays["scale"]
                self._layers = [
                    (arrays[f"kernel_{n}"], arrays[f"bias_{n}"])
                    for n in range(len(CONVOLUTIONS) + 2)
                ]
                kernel, bias = self._layers[-1]
                added = OUTPUTS - FITTED
                more = np.zeros((len(kernel), added), np.float32), np.zeros(added, np.float32)
                kernel_added, bias_added = map(arrays.get, ADDED, more)
                self._layers[-1] = np.hstack([kernel, kernel_added]), np.hstack([bias, bias_added])
                self.after = int(stored["after"])
        except (OSError, KeyError, ValueError) as error:
            raise EngineUnavailable(f"the viseme net's weights cannot be used: {error}") from error
        """Samples of look-ahead that the weights were trained with."""
        for layer, channels_in, (kernel, _) in zip(
            CONVOLUTIONS,
            (MELS, *(layer.channels for layer in CONVOLUTIONS)),
            self._layers,
            strict=False,
        ):
            if kernel.shape != (layer.kernel * channels_in, layer.channels):
                raise EngineUnavailable(f"{path} holds the weights of another net")

    def __call__(self, mels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what the net hears.

        Args:
            mels: float32 ``[windows, steps_needed(frames), MELS]``.

        Returns:
            float32 ``[windows, frames, OUTPUTS]``, not yet bounded.
        """
        return self.begin(mels)[0]

    def begin(self, mels: NDArray[np.float32]) -> tuple[NDArray[np.float32], Memory]:
        """Return the same, and what `follow` needs to hear the frame after."""
        hidden, memory = self._convolved(mels, _NOTHING)
        return _dense(self._last_hidden(hidden), *self._layers[-1]), memory

    def follow(
        self, mels: NDArray[np.float32], memory: Memory
    ) -> tuple[NDArray[np.float32], Memory]:
        """Hear one frame more.

        Args:
            mels: float32 ``[windows, STEPS_PER_FRAME, MELS]``, the steps of the frame.
            memory: Of the frame before; left as it is.

        Returns:
            float32 ``[windows, 1, OUTPUTS]``, and the memory of this frame.
        """
        hidden, memory = self._convolved(mels, memory)
        return _dense(self._last_hidden(hidden), *self._layers[-1]), memory

    def hidden(self, mels: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the last layer sees, float32 ``[windows, frames, HIDDEN]``; see `__call__`."""
        return self._last_hidden(self._convolved(mels, _NOTHING)[0])

    def _convolved(
        self, mels: NDArray[np.float32], memory: Memory
    ) -> tuple[NDArray[np.float32], Memory]:
        hidden = (mels - self._mean) * self._scale
        kept = []
        for layer, before, (kernel, bias) in zip(CONVOLUTIONS, memory, self._layers, strict=False):
            if before is not None:
                hidden = np.concatenate([before, hidden], 1)
            kept.append(hidden[:, hidden.shape[1] - layer.remembered :])
            hidden = _dense(_taps(hidden, layer), kernel, bias)
            np.maximum(hidden, 0, out=hidden)
        return np.asarray(hidden, np.float32), tuple(kept)

    def _last_hidden(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        kernel, bias = self._layers[len(CONVOLUTIONS)]
        hidden = _dense(hidden, kernel, bias)
        return np.asarray(np.maximum(hidden, 0, out=hidden), np.float32)


def _dense(
    hidden: NDArray[np.float32], kernel: NDArray[np.float32], bias: NDArray[np.float32]
) -> NDArray[np.float32]:
    """``[windows, time, in]`` → ``[windows, time, out]``, as one matrix product."""
    windows, steps, channels = hidden.shape
    product = hidden.reshape(windows * steps, channels) @ kernel
    product += bias
    return np.asarray(product.reshape(windows, steps, -1))


def _taps(hidden: NDArray[np.float32], layer: Convolution) -> NDArray[np.float32]:
    """``[windows, time, channels]`` → ``[windows, time out, kernel * channels]``."""
    windows, steps, channels = hidden.shape
    steps_out = (steps - layer.span) // layer.stride + 1
    taps = strided(
        hidden,
        (steps_out, layer.kernel, channels),
        (layer.stride * channels, layer.dilation * channels, 1),
    )
    return taps.reshape(windows, steps_out, layer.kernel * channels)
