"""Nets on a device, warmed up and measured: what `engine` holds once it is loaded."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from inference.engines.base import AudioContext, AudioWindow
from inference.engines.musetalk.batch import Renderer
from inference.engines.musetalk.networks import Networks, load_networks
from inference.engines.musetalk.preparation import ClipPreparer
from inference.engines.musetalk.runner import BUCKETS, Runner
from inference.engines.musetalk.speech import StreamingWindow
from inference.engines.musetalk.weights import ModelTree
from inference.errors import EngineUnavailable
from inference.timing import SAMPLES_PER_FRAME

log = logging.getLogger(__name__)

TOO_SLOW_MS = 1_000.0
"""A batch that takes longer is no stream: it is measured once, and no larger one at all."""


def find_device(wanted: str) -> torch.device:
    """``auto``, ``cpu``, ``mps``, ``cuda`` or ``cuda:N``; EngineUnavailable if it is not there."""
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise EngineUnavailable(f"DEVICE={wanted} is no device that torch knows") from None
    if device.type == "cuda":
        if not torch.cuda.is_available():
            built = torch.version.cuda or "no CUDA"
            raise EngineUnavailable(
                f"DEVICE={wanted}, but torch finds no usable GPU (torch is built for {built}: is "
                "the driver there, and new enough?)"
            )
        if (device.index or 0) >= torch.cuda.device_count():
            raise EngineUnavailable(
                f"DEVICE={wanted}, but there are {torch.cuda.device_count()} GPUs, from cuda:0 on"
            )
        return torch.device("cuda", device.index or 0)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise EngineUnavailable(f"DEVICE={wanted}, but torch finds no Metal GPU")
    return device


@dataclass(slots=True)
class LoadedNets:
    """See the module."""

    nets: Networks
    device: torch.device
    runner: Runner
    renderer: Renderer
    preparer: ClipPreparer
    window: StreamingWindow
    milliseconds: dict[int, float]
    """What a batch of each bucket takes, hearing and making."""

    @property
    def is_gpu(self) -> bool:
        return bool(self.device.type != "cpu")

    @property
    def device_name(self) -> str:
        is_cuda = self.device.type == "cuda"
        return torch.cuda.get_device_name(self.device) if is_cuda else str(self.device)

    @property
    def max_batch(self) -> int:
        return self.runner.buckets[-1]

    def sessions(self, budget_ms: float) -> int:
        """Sessions whose pictures of one tick are made within ``budget_ms``."""
        sizes = self.runner.buckets
        fitting = [size for size in sizes if self.milliseconds[size] <= budget_ms]
        whole_batches = int(budget_ms // self.milliseconds[self.max_batch])
        return max([whole_batches * self.max_batch, *fitting])

    def tokens(self, windows: Sequence[AudioWindow]) -> list[NDArray[np.float32]]:
        """``[frames, 50, width]`` for each window; those of one length in one call."""
        found: list[NDArray[np.float32] | None] = [None] * len(windows)
        by_frames: dict[int, list[int]] = {}
        for number, window in enumerate(windows):
            by_frames.setdefault(window.frames, []).append(number)
        for frames, numbers in by_frames.items():
            for at in range(0, len(numbers), self.max_batch):
                some = numbers[at : at + self.max_batch]
                samples = torch.from_numpy(np.stack([windows[n].samples for n in some]))
                with torch.inference_mode():
                    tokens = self.window.tokens(self.nets.whisper, samples.to(self.device), frames)
                for number, one in zip(some, tokens.float().cpu().numpy(), strict=True):
                    found[number] = one
        return [one for one in found if one is not None]


def load_nets(
    tree: ModelTree,
    *,
    device: str,
    use_float16: bool,
    tiny: bool,
    compiled: bool,
    context: AudioContext,
    max_batch: int,
) -> LoadedNets:
    """Load, warm up and measure; EngineUnavailable if files, device or memory are not enough."""
    where = find_device(device)
    dtype = torch.float16 if use_float16 and where.type != "cpu" else torch.float32
    if where.type == "cuda":
        # Parity is measured in full float32; the nets that run live are in half precision.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True
    try:
        nets = load_networks(tree, tiny=tiny).to(where, dtype)
        buckets = [size for size in BUCKETS if size <= max_batch] or [1]
        if where.type == "cpu":
            buckets = buckets[:3]
        runner = Runner(nets, where, dtype, buckets=buckets, compiled=compiled)
        if compiled or where.type != "cpu":
            runner.warm_up()
    except torch.OutOfMemoryError as error:
        raise EngineUnavailable(
            f"{where} has too little memory for MuseTalk (about 4 GB): {str(error).splitlines()[0]}"
        ) from None
    loaded = LoadedNets(
        nets=nets,
        device=where,
        runner=runner,
        renderer=Renderer(runner, nets.width),
        preparer=ClipPreparer(nets, where),
        window=StreamingWindow(before=context.before, after=context.after),
        milliseconds={},
    )
    for size in runner.buckets:
        loaded.milliseconds[size] = _measure(loaded, size, context)
        if loaded.milliseconds[size] > TOO_SLOW_MS:
            # What is larger would keep the start waiting for minutes, and gain nothing.
            runner.buckets = tuple(loaded.milliseconds)
            break
    return loaded


def _measure(loaded: LoadedNets, size: int, context: AudioContext) -> float:
    """Milliseconds for a batch of ``size``, best of three; once where it is slow."""
    silence = np.zeros(context.before + SAMPLES_PER_FRAME + context.after, np.float32)
    windows = [AudioWindow(silence, 1)] * size
    latents = torch.zeros(size, 8, 32, 32)
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        tokens = torch.from_numpy(np.concatenate(loaded.tokens(windows)))
        loaded.runner.generate(latents, tokens)
        loaded.runner.synchronize()
        best = min(best, (time.perf_counter() - began) * 1_000)
        if best > TOO_SLOW_MS:
            break
    log.info("batches of %d take %.1f ms", size, best)
    return best
