"""Fits a narrow decoder to what the real one makes."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from inference.engines.musetalk.nets.blocks import use_operations
from inference.engines.musetalk.nets.operations import PLAIN
from inference.engines.musetalk.training.quality import feature_distance, mouth_of

Say = Callable[[str], object]


class TrainingFailed(Exception):
    """The training cannot continue; its text says why, and what to try."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a decoder is trained. The weights of the loss were not tuned on published weights."""

    steps: int = 100_000
    batch: int = 16
    rate: float = 4e-4
    warm_up_steps: int = 500
    mouth_weight: float = 1.0
    feature_weight: float = 0.5
    limit_s: float = math.inf
    """After this the rate has fallen to nothing, however many steps were made."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the training is."""

    step: int
    loss: float
    took_s: float


def rate_at(recipe: Recipe, step: int, took_s: float) -> float:
    """Return the learning rate: a linear start, then half a cosine to zero over steps or time."""
    done = max(step / recipe.steps, took_s / recipe.limit_s)
    falling = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    warm_up_steps = min(recipe.warm_up_steps, max(1, recipe.steps // 10))
    return recipe.rate * falling * min(1.0, (step + 1) / warm_up_steps)


def loss_of(recipe: Recipe, encoder: Any, found: Tensor, wanted: Tensor) -> Tensor:
    """Mean difference of the picture, of its mouth once more, and of features."""
    off = (found - wanted).abs()
    total = off.mean() + recipe.mouth_weight * mouth_of(off).mean()
    if recipe.feature_weight:
        total = total + recipe.feature_weight * feature_distance(encoder, found, wanted)
    return total


def interleave(phases: Tensor, bias: Tensor | None) -> Tensor:
    """`Operations.interleave` as gradients can pass it: PLAIN's writes into parts of its result."""
    height, width = phases.shape[2] - 1, phases.shape[3] - 1
    parts = [
        part[:, :, row : row + height, column : column + width]
        for part, (row, column) in zip(
            phases.chunk(4, 1), ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True
        )
    ]
    rows = [torch.stack(pair, -1).flatten(-2) for pair in (parts[:2], parts[2:])]
    whole = torch.stack(rows, -2).flatten(2, 3)
    return whole if bias is None else whole + bias[:, None, None]


TRAINABLE = replace(PLAIN, interleave=interleave)


def fit(
    student: Any,
    teacher: Callable[[Tensor], Tensor],
    encoder: Any,
    draw: Callable[[int], Tensor],
    recipe: Recipe,
    *,
    save: Callable[[Progress], object] = lambda _: None,
    save_every_s: float = 60.0,
    now_s: Callable[[], float] = time.monotonic,
) -> Progress:
    """Train ``student`` in place, which is float32 and on the device of all the others.

    Args:
        student: Latents → pictures in -1..1.
        teacher: The same, as it should be.
        encoder: Whose features are compared.
        draw: Gives the latents of so many faces.
        recipe: How.
        save: Called now and then, and at the end.
        save_every_s: How often.
        now_s: A clock.

    Raises:
        TrainingFailed: The loss is not a finite number any more.
    """
    student.train().requires_grad_(True)
    use_operations(student, TRAINABLE)
    optimizer = torch.optim.AdamW(student.parameters(), lr=recipe.rate, weight_decay=0.0)
    began_s = saved_s = now_s()
    progress = Progress(0, math.inf, 0.0)
    for step in range(recipe.steps):
        took_s = now_s() - began_s
        if took_s >= recipe.limit_s:
            break
        for group in optimizer.param_groups:
            group["lr"] = rate_at(recipe, step, took_s)
        loss = _loss_of_batch(student, teacher, encoder, draw(recipe.batch), recipe)
        if not bool(loss.isfinite()):
            raise TrainingFailed(
                f"the loss is not finite at step {step}: train with a smaller --rate than "
                f"{recipe.rate:g}"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        progress = Progress(step + 1, float(loss.detach()), now_s() - began_s)
        if now_s() - saved_s >= save_every_s:
            saved_s = now_s()
            save(progress)
    use_operations(student, None)
    student.eval().requires_grad_(False)
    save(progress)
    return progress


def _loss_of_batch(
    student: Any,
    teacher: Callable[[Tensor], Tensor],
    encoder: Any,
    latents: Tensor,
    recipe: Recipe,
) -> Tensor:
    with torch.no_grad():
        wanted = teacher(latents).clamp(-1, 1)
    on_gpu = latents.device.type == "cuda"
    with torch.autocast(latents.device.type, torch.bfloat16, enabled=on_gpu):
        return loss_of(recipe, encoder, student(latents), wanted)
