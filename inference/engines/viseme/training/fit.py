"""The fit: the net of `viseme.net` in torch, and its weights folded for numpy."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from inference.engines.viseme import net
from inference.engines.viseme.features import MELS, STEPS_PER_FRAME
from inference.engines.viseme.shape import MouthShape
from inference.engines.viseme.silence_gate import CLOSED_RAMP
from inference.engines.viseme.training.corpus import Corpus

_CROP_FRAMES = 64
_BATCH = 32
_PEAK_RATE = 3e-3
_CONTINUED_RATE = 8e-4
_KEPT_EVERY = 100
"""Steps from one checkpoint to the next."""
_WEIGHT_DECAY = 1e-3
_SHAPE_WEIGHTS = (16.0, 3.0, 3.0, 2.0, 2.0, 2.0, 2.0)
"""How much each value of the mouth shape counts; the opening is what the eye follows."""
_AGREEMENT = 0.6
"""How much the correlation of the shown opening with the truth counts: it is what is scored, and
unlike the error it does not reward a mouth that hedges by hardly moving."""
_AVERAGED = 0.995
"""Share of the old weights in the running average that is kept in the end, each step."""
_MOTION = 0.5
"""How much errors of the movement from frame to frame count: they are seen as flicker."""
_CLOSURES = 0.6
"""How much a bilabial counts that leaves the lips open. It lasts a frame or two, so the error of
the opening forgives it, and the eye does not."""
_CLOSED_ENOUGH, _HEIGHT = 0.06, 0.99
_PRESS = MouthShape._fields.index("press")


class TrainedNet(nn.Module):  # type: ignore[misc]  # torch is not followed
    """The same geometry as `net.Net`, with what only a fit needs."""

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        channels = MELS
        blocks: list[nn.Module] = []
        for layer in net.CONVOLUTIONS:
            blocks += [
                nn.Conv1d(channels, layer.channels, layer.kernel, layer.stride, 0, layer.dilation),
                nn.BatchNorm1d(layer.channels),
                nn.ReLU(),
                nn.Dropout(0.1),
            ]
            channels = layer.channels
        blocks += [nn.Conv1d(channels, net.HIDDEN, 1), nn.BatchNorm1d(net.HIDDEN), nn.ReLU()]
        blocks += [nn.Dropout(0.15), nn.Conv1d(net.HIDDEN, net.FITTED, 1)]
        self.blocks = nn.Sequential(*blocks)
        self._kept = 0

    def keep(self, convolutions: int) -> None:
        """Leave the first ones as they are from now on: no gradients, statistics or dropout."""
        places = [n for n, block in enumerate(self.blocks) if isinstance(block, nn.Conv1d)]
        self._kept = places[convolutions]
        self.blocks[: self._kept].requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> "TrainedNet":
        super().train(mode)
        self.blocks[: self._kept].eval()
        return self

    def forward(self, mels: Tensor) -> Tensor:
        """``[batch, steps, MELS]`` → ``[batch, frames, FITTED]``."""
        hidden = ((mels - self.mean) * self.scale).transpose(1, 2)
        outputs: Tensor = self.blocks(hidden).transpose(1, 2)
        return outputs


def fit(
    corpus: Corpus,
    *,
    steps: int,
    seed: int,
    start: Path | None = None,
    kept: int = 0,
    checkpoint: Path | None = None,
) -> TrainedNet:
    """Fit the net on random crops of the corpus; the same on the same machine for the same seed.

    What is returned is a running average of the weights: as good as an ensemble of the last steps,
    in one net.

    Args:
        corpus: What to learn.
        steps: Batches that it is fitted to.
        seed: Of the crops, and of the first weights.
        start: Weights to begin with; None: random ones.
        kept: How many convolutions of ``start`` are left as they are: a third of the time.
        checkpoint: File that keeps the state now and then; a fit that was stopped continues there.
    """
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    generator = np.random.default_rng(seed)
    mels = corpus.mels.astype(np.float32)
    trained = TrainedNet(torch.from_numpy(mels.mean(0)), torch.from_numpy(1 / mels.std(0)))
    peak_rate = _PEAK_RATE
    if start is not None:
        peak_rate = _CONTINUED_RATE
        _load(trained, start, corpus, generator)
        trained.keep(kept)
    learning = [weights for weights in trained.parameters() if weights.requires_grad]
    optimizer = torch.optim.AdamW(learning, peak_rate, weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak_rate, total_steps=steps)
    averaged = AveragedModel(
        trained, multi_avg_fn=get_ema_multi_avg_fn(_AVERAGED), use_buffers=True
    )
    trained.train()
    keeper = _Keeper(checkpoint, trained, averaged, optimizer, schedule, generator)
    for step in range(keeper.resume(), steps):
        optimizer.zero_grad()
        _loss(trained, corpus, generator).backward()
        nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        averaged.update_parameters(trained)
        keeper.keep(step + 1)
    average: TrainedNet = averaged.module.eval()
    return average


def _loss(trained: TrainedNet, corpus: Corpus, generator: np.random.Generator) -> Tensor:
    """Of one random batch."""
    steps = net.steps_needed(_CROP_FRAMES)
    lead_frames = -(-net.STEPS_BEFORE // STEPS_PER_FRAME)
    starts = generator.integers(lead_frames, len(corpus.visemes) - _CROP_FRAMES, _BATCH)
    heard_at = (starts * STEPS_PER_FRAME - net.STEPS_BEFORE)[:, None] + np.arange(steps)
    mels = _detuned(corpus.mels[heard_at].astype(np.float32), generator)
    frames = starts[:, None] + np.arange(_CROP_FRAMES)
    # Half the time on processors that multiply bfloat16, ten times as long on others; the weights
    # stay float32.
    with torch.autocast("cpu", torch.bfloat16, enabled=torch.cpu._is_avx512_bf16_supported()):
        outputs = trained(torch.from_numpy(mels))
    outputs = outputs.float()
    shapes = torch.from_numpy(corpus.shapes[frames])
    weights = torch.tensor(_SHAPE_WEIGHTS)
    opening = _shown_opening(outputs)
    missed = torch.cat([opening[..., None], outputs[..., 1 : net.SHAPES]], -1) - shapes
    agreement = _correlation(opening.flatten(), shapes[..., 0].flatten())
    shape_loss = (weights * missed**2).sum(-1).mean()
    motion_loss = (weights * torch.diff(missed, dim=1) ** 2).sum(-1).mean()
    press = shapes[..., _PRESS]
    closed = (press > 0.5).float()
    speaking = torch.from_numpy(corpus.speaking[frames])
    gate_loss = functional.binary_cross_entropy_with_logits(
        outputs[..., net.CLOSED], closed, pos_weight=torch.tensor(2.0)
    ) + functional.binary_cross_entropy_with_logits(outputs[..., net.SPEAKING], speaking)
    viseme_loss = functional.cross_entropy(
        outputs[..., net.SPEAKING + 1 :].reshape(-1, net.VISEMES),
        torch.from_numpy(corpus.visemes[frames]).reshape(-1),
    )
    return (
        shape_loss
        + _MOTION * motion_loss
        + _AGREEMENT * (1 - agreement)
        + _CLOSURES * _left_open(opening, press)
        + 0.5 * gate_loss
        + 0.25 * viseme_loss
    )


def _correlation(first: Tensor, second: Tensor) -> Tensor:
    """Pearson's r of two curves."""
    first, second = first - first.mean(), second - second.mean()
    return (first * second).sum() / (first.norm() * second.norm() + 1e-6)


def _left_open(opening: Tensor, press: Tensor) -> Tensor:
    """How open the lips stay at the height of a bilabial, a frame early or late allowed: the mean.

    Args:
        opening: ``[batch, frames]``, as it is shown.
        press: The truth's; 1 in the frame that has most of a bilabial.
    """
    least = -functional.max_pool1d(-opening, kernel_size=3, stride=1, padding=1)
    is_height = (press > _HEIGHT).float()
    return (is_height * functional.relu(least - _CLOSED_ENOUGH)).sum() / (is_height.sum() + 1)


def _shown_opening(outputs: Tensor) -> Tensor:
    """Return the opening after the gate, so that closing is not left to the regression."""
    start, end = CLOSED_RAMP
    rise = ((torch.sigmoid(outputs[..., net.CLOSED]) - start) / (end - start)).clamp(0, 1)
    return outputs[..., 0] * (1 - rise * rise * (3 - 2 * rise))


def _detuned(mels: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    """Each crop through yet another throat and microphone, new ones each epoch.

    The bands are moved along the mel axis, differently low and high, as formants differ between
    people; level and tilt change.
    """
    crops = len(mels)
    knots = np.linspace(0, MELS - 1, 5)
    moved = knots + generator.normal(0, 1, (crops, 5)) * (0.4, 1.0, 1.6, 1.2, 0.6)
    level = generator.normal(0, 0.3, (crops, 5))
    level += generator.normal(0, 0.4, (crops, 1))
    bands = np.arange(MELS)
    detuned = np.empty_like(mels)
    for crop in range(crops):
        places = np.clip(np.interp(bands, knots, moved[crop]), 0, MELS - 1.001)
        below = places.astype(int)
        share = (places - below).astype(np.float32)
        heard = mels[crop]
        detuned[crop] = heard[:, below] * (1 - share) + heard[:, below + 1] * share
        detuned[crop] += np.interp(bands, knots, level[crop]).astype(np.float32)
    return detuned


def _load(trained: TrainedNet, path: Path, corpus: Corpus, generator: np.random.Generator) -> None:
    """Take over weights in which the batch normalization is folded.

    The normalization is laid out again so that it changes nothing at first: its statistics, and
    the gain and offset that undo them, are those of a few crops of the corpus.
    """
    with np.load(path, allow_pickle=False) as stored:
        arrays = {
            name: torch.from_numpy(stored[name].astype(np.float32))
            for name in stored.files
            if name != "after"
        }
    trained.mean.copy_(arrays["mean"])
    trained.scale.copy_(arrays["scale"])
    steps = net.steps_needed(_CROP_FRAMES)
    starts = generator.integers(0, len(corpus.mels) - steps, 4 * _BATCH)
    mels = torch.from_numpy(corpus.mels[starts[:, None] + np.arange(steps)].astype(np.float32))
    hidden = ((mels - trained.mean) * trained.scale).transpose(1, 2)
    number = 0
    with torch.no_grad():
        for block in trained.blocks:
            if isinstance(block, nn.Conv1d):
                assert block.bias is not None
                kernel = arrays[f"kernel_{number}"]
                tap_by_tap = kernel.reshape(block.kernel_size[0], -1, kernel.shape[1])
                block.weight.copy_(tap_by_tap.permute(2, 1, 0))
                block.bias.copy_(arrays[f"bias_{number}"])
                number += 1
                hidden = block(hidden)
            elif isinstance(block, nn.BatchNorm1d):
                assert block.running_mean is not None
                assert block.running_var is not None
                block.running_mean.copy_(hidden.mean((0, 2)))
                block.running_var.copy_(hidden.var((0, 2)))
                block.bias.copy_(block.running_mean)
                block.weight.copy_(torch.sqrt(block.running_var + block.eps))
            elif isinstance(block, nn.ReLU):
                hidden = block(hidden)


class _Keeper:
    """The state of a fit on disk, so that one that was stopped continues where it was."""

    def __init__(self, path: Path | None, *parts: Any) -> None:
        *self._stateful, self._generator = parts
        self._path = path

    def resume(self) -> int:
        """The steps done before; 0 if nothing was kept."""
        if self._path is None or not self._path.exists():
            return 0
        kept = torch.load(self._path, weights_only=True)
        for part, state in zip(self._stateful, kept["states"], strict=True):
            part.load_state_dict(state)
        self._generator.bit_generator.state = json.loads(kept["generator"])
        torch.set_rng_state(kept["torch"])
        return int(kept["step"])

    def keep(self, step: int) -> None:
        if self._path is None or step % _KEPT_EVERY:
            return
        partial = self._path.with_suffix(".partial")
        torch.save(
            {
                "step": step,
                "states": [part.state_dict() for part in self._stateful],
                "generator": json.dumps(self._generator.bit_generator.state),
                "torch": torch.get_rng_state(),
            },
            partial,
        )
        partial.replace(self._path)


def export(
    trained: TrainedNet, path: Path, after: int, start: Path | None = None, share: float = 0.0
) -> None:
    """Fold the batch normalization and write the weights in half precision, without pickle.

    Args:
        trained: What was fitted.
        path: Of the weights.
        after: Samples of look-ahead.
        start: What it was fitted from.
        share: Of ``start`` in the weights. Between weights and those fitted from them lie some that
            keep what the old ones did well (Wortsman et al. 2022, "Robust fine-tuning").
    """
    arrays = {"mean": trained.mean, "scale": trained.scale}
    blocks = list(trained.blocks)
    places = [n for n, block in enumerate(blocks) if isinstance(block, nn.Conv1d)]
    for number, place in enumerate(places):
        layer = blocks[place]
        assert isinstance(layer, nn.Conv1d)
        assert layer.bias is not None
        kernel, bias = layer.weight, layer.bias
        follower = blocks[place + 1] if place + 1 < len(blocks) else None
        if isinstance(follower, nn.BatchNorm1d):
            assert follower.running_mean is not None
            assert follower.running_var is not None
            gain = follower.weight / torch.sqrt(follower.running_var + follower.eps)
            kernel = kernel * gain[:, None, None]
            bias = (bias - follower.running_mean) * gain + follower.bias
        # [out, in, tap] → [tap * in, out], as the numpy net multiplies.
        arrays[f"kernel_{number}"] = kernel.permute(2, 1, 0).reshape(-1, kernel.shape[0])
        arrays[f"bias_{number}"] = bias
    fitted = {name: array.detach().numpy() for name, array in arrays.items()}
    if start is not None and share:
        with np.load(start, allow_pickle=False) as old:
            fitted = {
                name: (1 - share) * array + share * old[name].astype(np.float32)
                for name, array in fitted.items()
            }
    stored = {name: array.astype(np.float16) for name, array in fitted.items()}
    np.savez_compressed(path, allow_pickle=False, after=np.int32(after), **stored)
