"""The fit: the net of `viseme.net` in torch, and its weights folded for numpy."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from inference.engines.viseme import net
from inference.engines.viseme.features import MELS, STEPS_PER_FRAME
from inference.engines.viseme.shape import MouthShape
from inference.engines.viseme.training.corpus import Corpus

_CROP_FRAMES = 64
_BATCH = 32
_PEAK_RATE = 3e-3
_WEIGHT_DECAY = 1e-3
_SHAPE_WEIGHTS = (16.0, 3.0, 3.0, 2.0, 2.0, 2.0, 2.0)
"""How much each value of the mouth shape counts; the opening is what the eye follows."""
_MOTION = 0.5
"""How much errors of the movement from frame to frame count: they are seen as flicker."""
_CLOSED_RAMP = (0.20, 0.50)
"""The gate as the fit sees it. `gate` closes earlier: a missed closure is seen."""
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
        blocks += [nn.Dropout(0.15), nn.Conv1d(net.HIDDEN, net.OUTPUTS, 1)]
        self.blocks = nn.Sequential(*blocks)

    def forward(self, mels: Tensor) -> Tensor:
        """``[batch, steps, MELS]`` → ``[batch, frames, OUTPUTS]``."""
        hidden = ((mels - self.mean) * self.scale).transpose(1, 2)
        outputs: Tensor = self.blocks(hidden).transpose(1, 2)
        return outputs


def fit(corpus: Corpus, *, epochs: int, seed: int) -> TrainedNet:
    """Fit the net on random crops of the corpus; the same on the same machine for the same seed."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    generator = np.random.default_rng(seed)
    mels = corpus.mels.astype(np.float32)
    trained = TrainedNet(torch.from_numpy(mels.mean(0)), torch.from_numpy(1 / mels.std(0)))
    total = epochs * (len(corpus.visemes) // (_BATCH * _CROP_FRAMES))
    optimizer = torch.optim.AdamW(trained.parameters(), _PEAK_RATE, weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _PEAK_RATE, total_steps=total)
    trained.train()
    for _ in range(total):
        optimizer.zero_grad()
        _loss(trained, corpus, generator).backward()
        nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    trained.eval()
    return trained


def _loss(trained: TrainedNet, corpus: Corpus, generator: np.random.Generator) -> Tensor:
    """Of one random batch."""
    steps = net.steps_needed(_CROP_FRAMES)
    lead_frames = -(-net.STEPS_BEFORE // STEPS_PER_FRAME)
    starts = generator.integers(lead_frames, len(corpus.visemes) - _CROP_FRAMES, _BATCH)
    heard_at = (starts * STEPS_PER_FRAME - net.STEPS_BEFORE)[:, None] + np.arange(steps)
    mels = corpus.mels[heard_at].astype(np.float32)
    mels = _detuned(mels, generator)
    frames = starts[:, None] + np.arange(_CROP_FRAMES)
    # Half the time on processors that multiply bfloat16; the weights stay float32.
    with torch.autocast("cpu", torch.bfloat16):
        outputs = trained(torch.from_numpy(mels))
    outputs = outputs.float()
    shapes = torch.from_numpy(corpus.shapes[frames])
    weights = torch.tensor(_SHAPE_WEIGHTS)
    missed = torch.cat([_shown_opening(outputs)[..., None], outputs[..., 1 : net.SHAPES]], -1)
    missed = missed - shapes
    shape_loss = (weights * missed**2).sum(-1).mean()
    motion_loss = (weights * torch.diff(missed, dim=1) ** 2).sum(-1).mean()
    closed = torch.from_numpy((corpus.shapes[frames, _PRESS] > 0.5).astype(np.float32))
    speaking = torch.from_numpy(corpus.speaking[frames])
    gate_loss = functional.binary_cross_entropy_with_logits(
        outputs[..., net.CLOSED], closed, pos_weight=torch.tensor(2.0)
    ) + functional.binary_cross_entropy_with_logits(outputs[..., net.SPEAKING], speaking)
    viseme_loss = functional.cross_entropy(
        outputs[..., net.SPEAKING + 1 :].reshape(-1, net.VISEMES),
        torch.from_numpy(corpus.visemes[frames]).reshape(-1),
    )
    return shape_loss + _MOTION * motion_loss + 0.5 * gate_loss + 0.25 * viseme_loss


def _shown_opening(outputs: Tensor) -> Tensor:
    """Return the opening after the gate, so that closing is not left to the regression."""
    start, end = _CLOSED_RAMP
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


def export(trained: TrainedNet, path: Path, after: int) -> None:
    """Fold the batch normalization and write the weights in half precision, without pickle."""
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
    stored = {name: array.detach().numpy().astype(np.float16) for name, array in arrays.items()}
    np.savez_compressed(path, allow_pickle=False, after=np.int32(after), **stored)
