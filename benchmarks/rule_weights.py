"""Weights of full-size networks made by a rule instead of a file: exact on every platform.

For each entry of a state dict, by its name alone. Speed does not depend on the values, and golden
outputs made with the same rule tell whether the wiring is right at the real size.
"""

import json
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray


def draw(seed: list[int], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Uniform in [-1, 1), float32, row-major, from PCG64 seeded with ``seed``."""
    generator = np.random.Generator(np.random.PCG64(seed))
    values = generator.random(math.prod(shape), dtype=np.float32) * 2 - 1
    return values.reshape(shape).astype(np.float32)


def rule_weight(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return tensor ``name``: matrices of about unit gain, norms near one, small biases."""
    values = draw([7, zlib.crc32(name.encode())], shape)
    if name.endswith("running_var"):
        return 1 + 0.25 * values
    if name.endswith("running_mean"):
        return 0.1 * values
    if len(shape) >= 2:
        return values * np.float32(math.sqrt(3 / (values.size / shape[0])))
    return 1 + 0.1 * values if name.endswith("weight") else 0.05 * values


def rule_checkpoint(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """Return a whole state dict; integer entries (batch metrics) are zero."""
    return {
        name: torch.zeros(shape, dtype=torch.int64)
        if name.endswith("num_batches_tracked")
        else torch.from_numpy(rule_weight(name, tuple(shape)).astype(np.float32))
        for name, shape in shapes.items()
    }


def read_shapes(path: Path) -> dict[str, list[int]]:
    """Return a ``keys_*.json``: tensor name → shape."""
    shapes: dict[str, list[int]] = json.loads(path.read_text())
    return shapes
