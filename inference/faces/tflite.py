"""The two nets of MediaPipe (see `nets/NOTICE`), run by OpenCV alone.

So neither preparation nor the lip-sync score needs a package that the server does not have anyway.
OpenCV's newer graph engine loses the detector's scores, hence the classic one.
"""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

RgbPicture = NDArray[np.uint8]
"""uint8 ``[height, width, 3]``, red first."""

_NETS = Path(__file__).parent / "nets"
_FLOAT_LIMIT = 80.0


def read_net(name: str) -> cv2.dnn.Net:
    """Return the net in the file ``name``; bound to the thread that runs it."""
    return cv2.dnn.readNetFromTFLite(str(_NETS / name), cv2.dnn.ENGINE_CLASSIC)


def run(net: cv2.dnn.Net, blob: cv2.typing.MatLike) -> list[NDArray[np.float32]]:
    """All outputs of ``net`` for ``blob``, in no promised order."""
    net.setInput(blob)
    outputs = net.forward(net.getUnconnectedOutLayersNames())
    return [np.asarray(output, np.float32) for output in outputs]


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -_FLOAT_LIMIT, _FLOAT_LIMIT))), np.float32)
