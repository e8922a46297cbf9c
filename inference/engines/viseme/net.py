"""The net: four causal convolutions over log-mels and a linear head, in numpy.

The first two layers lead from 10 ms to frames of 40 ms, the other two hear some 0.4 s of frames.
Batch normalization is folded into the weights when they are written, so a layer is one matrix
product and a ReLU. The same weights give the same answer for a frame whether it comes alone, with
others of its window, or in a batch.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.engines.viseme.features import MELS, STEPS_PER_FRAME, strided
from inference.errors import EngineUnavailable

SHAPES = 7
VISEMES = 15
OUTPUTS = SHAPES + 2 + VISEMES
"""The mouth shape; logits of closed lips and of speech; logits of the viseme classes."""
CLOSED, SPEAKING = SHAPES, SHAPES + 1

WEIGHTS_PATH = Path(__file__).parent / "weights.npz"


@dataclass(frozen=True, slots=True)
class Convolution:
    """Geometry of a layer over time."""

    kernel: int
    channels: int
    stride: int = 1
    dilation: int = 1


CONVOLUTIONS = (
    Convolution(kernel=5, channels=128, stride=2),
    Convolution(kernel=4, channels=224, stride=2),
    Convolution(kernel=4, channels=256),
    Convolution(kernel=4, channels=256, dilation=2),
)
_FOR_ONE_FRAME = (
    *CONVOLUTIONS[:2],
    replace(CONVOLUTIONS[2], stride=2),
    replace(CONVOLUTIONS[3], dilation=1),
)
"""The same for a single frame, which is the usual case: every other output of the third layer
would be thrown away by the dilation of the fourth."""
HIDDEN = 160


def steps_needed(frames: int) -> int:
    """Feature steps that the net needs for ``frames`` frames; they end with the last frame's."""
    steps = frames
    for layer in reversed(CONVOLUTIONS):
        steps = (steps - 1) * layer.stride + (layer.kernel - 1) * layer.dilation + 1
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
        return _dense(self.hidden(mels), *self._layers[-1])

    def hidden(self, mels: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the last layer sees, float32 ``[windows, frames, HIDDEN]``; see `__call__`."""
        is_one_frame = mels.shape[1] == steps_needed(1)
        hidden = (mels - self._mean) * self._scale
        for layer, (kernel, bias) in zip(
            _FOR_ONE_FRAME if is_one_frame else CONVOLUTIONS, self._layers, strict=False
        ):
            taps = _taps(hidden, layer)
            hidden = _dense(taps, kernel, bias)
            np.maximum(hidden, 0, out=hidden)
        for kernel, bias in self._layers[len(CONVOLUTIONS) : -1]:
            hidden = _dense(hidden, kernel, bias)
            np.maximum(hidden, 0, out=hidden)
        return np.asarray(hidden, np.float32)


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
    span = (layer.kernel - 1) * layer.dilation + 1
    steps_out = (steps - span) // layer.stride + 1
    taps = strided(
        hidden,
        (steps_out, layer.kernel, channels),
        (layer.stride * channels, layer.dilation * channels, 1),
    )
    return taps.reshape(windows, steps_out, layer.kernel * channels)
