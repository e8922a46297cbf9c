"""Hearing: windows of sound to the tokens that the UNet attends to, in batches.

The encoder is small, and called plainly it costs the host more than the device: seventy kernels,
3 ms of Python in which nothing else of this process runs, for one session as for thirty. So on a
GPU a frame of each of some sessions is heard by one launch, recorded for each bucket (`graphs`), on
a stream of its own: it is the first thing that a call does, and all else of the call waits for it.

Any thread may ask; it waits asleep, as for pictures.
"""

import logging
import threading
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.engines.musetalk.audio.speech import StreamingWindow
from inference.engines.musetalk.devices import using
from inference.engines.musetalk.execution.buckets import bucket_of
from inference.engines.musetalk.execution.graphs import Graphs, Recorded
from inference.engines.musetalk.nets.whisper import WhisperEncoder
from inference.engines.musetalk.recording import RecordingFailed
from inference.media.types import AudioWindow
from inference.timing import SAMPLES_PER_FRAME

log = logging.getLogger(__name__)

PRIORITY = -3
"""Of CUDA's streams, less is more urgent: before the UNet and the decoder of another batch, since
it is short and a whole call waits for it."""

MOST_DIFFERENCE = 1e-2
"""Of tokens, which are about as large as 1: an allowance for single precision in other batches."""

Tokens = NDArray[np.float32]


class Hearing:
    """Hears with one encoder, which is on ``device`` already."""

    def __init__(
        self,
        encoder: WhisperEncoder,
        window: StreamingWindow,
        device: torch.device,
        *,
        buckets: Sequence[int],
        records: bool = True,
    ) -> None:
        """Record nothing yet.

        Args:
            encoder: Of Whisper.
            window: What is heard around a frame.
            device: Where the encoder is.
            buckets: Batch sizes; windows are padded to one where a device likes few shapes.
            records: Whether to record, where that can be done.
        """
        self.window = window
        self._encoder = encoder
        self._device = device
        self._buckets = tuple(sorted(buckets))
        self._pads = device.type != "cpu"
        self._lock = threading.Lock()
        """Held by the thread that queues a batch."""
        self._stream = None
        self._graphs: Graphs | None = None
        if device.type == "cuda":
            with using(device):
                self._stream = torch.cuda.Stream(device, priority=PRIORITY)
            if records:
                self._graphs = Graphs(self._heard, self._noise, self._stream)

    @property
    def samples(self) -> int:
        """Of the window around one frame."""
        return self.window.before + SAMPLES_PER_FRAME + self.window.after

    def warm_up(self, check_open: Callable[[], None] = lambda: None) -> None:
        """Do what the first batch of each size takes longer for: choose, allocate, record."""
        noise = 0.1 * np.random.default_rng(0).standard_normal(self.samples, np.float32)
        for size in reversed(self._buckets):
            check_open()
            heard = self._batch(np.tile(noise, (size, 1)), 1)
            if self._graphs is not None and not self._is_right(noise, heard):
                log.warning("recorded hearing of %d is wrong here: it is called plainly", size)
                self._graphs = None

    def _is_right(self, noise: NDArray[np.float32], heard: Tokens) -> bool:
        """Whether a recorded batch is what a plain call gives, for each of its windows."""
        with torch.inference_mode(), using(self._device):
            plain = self._heard(torch.from_numpy(noise[None]).to(self._device))[0].cpu().numpy()
        return bool(np.allclose(heard, plain, atol=MOST_DIFFERENCE))

    def tokens(self, windows: Sequence[AudioWindow]) -> list[Tokens]:
        """Hear windows of any lengths and number; those of one length in common batches.

        Returns:
            ``[frames, 50, width]`` for each window.
        """
        found: list[Tokens | None] = [None] * len(windows)
        by_frames: dict[int, list[int]] = {}
        for number, window in enumerate(windows):
            by_frames.setdefault(window.frames, []).append(number)
        most = self._buckets[-1]
        for frames, numbers in by_frames.items():
            for at in range(0, len(numbers), most):
                some = numbers[at : at + most]
                samples = np.stack([windows[n].samples for n in some])
                for number, one in zip(some, self._batch(samples, frames), strict=True):
                    found[number] = one
        return [one for one in found if one is not None]

    def _batch(self, samples: NDArray[np.float32], frames: int) -> Tokens:
        """``[B, samples]`` → ``[B, frames, 50, width]``."""
        count = len(samples)
        if self._pads:
            size = bucket_of(count, self._buckets)
            samples = np.pad(samples, ((0, size - count), (0, 0)))
        with torch.inference_mode(), using(self._device):
            if self._stream is None:
                heard = self._heard(torch.from_numpy(samples).to(self._device), frames)[0].cpu()
            else:
                heard = self._on_stream(torch.from_numpy(samples), frames)
            tokens: Tokens = heard[:count].numpy()
        return tokens

    def _on_stream(self, samples: Tensor, frames: int) -> Tensor:
        """Queue a batch on the stream, and wait for it without taking a core."""
        pinned = samples.pin_memory()
        with self._lock, torch.cuda.stream(self._stream):
            recorded = self._recorded(len(samples)) if frames == 1 else None
            if recorded is None:
                made = self._heard(pinned.to(self._device, non_blocking=True), frames)[0]
            else:
                recorded.load(pinned)
                made = recorded.run()[0]
            heard = torch.empty(made.shape, dtype=made.dtype, pin_memory=True)
            heard.copy_(made, non_blocking=True)
            ready = torch.cuda.Event(blocking=True)
            ready.record(self._stream)
        ready.synchronize()
        return heard

    def _recorded(self, size: int) -> Recorded | None:
        """The graph of a batch size, recorded now if it is not yet; None: called plainly."""
        if self._graphs is None:
            return None
        try:
            return self._graphs.get(size)
        except RecordingFailed as error:
            log.warning("hearing is not recorded as CUDA graphs: %s", error)
            self._graphs = None
            return None

    def _heard(self, samples: Tensor, frames: int = 1) -> tuple[Tensor]:
        return (self.window.tokens(self._encoder, samples, frames).float(),)

    def _noise(self, size: int) -> tuple[Tensor]:
        return (0.1 * torch.randn(size, self.samples, device=self._device),)
