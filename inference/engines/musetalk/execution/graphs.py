"""CUDA graphs: the whole way from latents and tokens to bytes as one launch, for one batch size.

What is recorded is what the GPU does, with the addresses it does it at: a replay reads the tensors
that the recording read. Graphs of one runner share their memory, largest first, so that all of
them take what the largest takes; they run one after the other on one stream.

Recording is the one thing here that can fail where plain calls succeed (a library that waits for
the GPU, a driver that is too old). `RecordingFailed` says so, and the runner continues without.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

ForwardFn = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Latents, tokens → bytes, and which of them are finite."""

WARM_UPS = 3
"""Calls before a recording: compilers run, convolution algorithms are tried out, workspaces are
allocated at the first ones, and none of that may happen while recording."""


class RecordingFailed(Exception):
    """This way cannot be recorded here."""


_abandoned: list[Any] = []
"""Graphs whose recording broke off: torch's allocator keeps asking them whether they still
record, so they must outlive it."""


@dataclass(slots=True)
class Recorded:
    """A graph with the tensors it reads and writes."""

    graph: Any
    latents: Tensor
    tokens: Tensor
    pixels: Tensor
    is_finite: Tensor

    def replay(self, latents: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """For as many rows as given; the results are overwritten by the next replay."""
        count = len(latents)
        self.latents[:count].copy_(latents, non_blocking=True)
        self.tokens[:count].copy_(tokens, non_blocking=True)
        self.graph.replay()
        return self.pixels[:count], self.is_finite[:count]


class Graphs:
    """The recorded batch sizes of one runner on a CUDA device, which is the current one.

    ``inputs`` makes the latents and tokens of a batch size, on the device: the tensors that its
    graph reads ever after.
    """

    def __init__(
        self, way: ForwardFn, inputs: Callable[[int], tuple[Tensor, Tensor]], device: torch.device
    ) -> None:
        self._way = way
        self._inputs = inputs
        self._device = device
        # Recordings that share memory must be made on one stream.
        self._stream = torch.cuda.Stream(device)
        self._warm: set[int] = set()
        self._recorded: dict[int, Recorded] = {}

    def warm(self, size: int) -> None:
        """Do what must not happen while recording. Raises what the way raises."""
        latents, tokens = self._inputs(size)
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            for _ in range(WARM_UPS):
                self._way(latents, tokens)
        self._stream.synchronize()
        self._warm.add(size)

    def get(self, size: int) -> Recorded:
        """Return the graph of a batch size, recorded now if it is not yet.

        Raises RecordingFailed, or torch.OutOfMemoryError.
        """
        if size not in self._recorded:
            if size not in self._warm:
                self.warm(size)
            self._recorded[size] = self._record(size)
        return self._recorded[size]

    def forget(self) -> None:
        """Drop all: the memory that they share is given back only with the last of them."""
        torch.cuda.synchronize(self._device)
        self._recorded.clear()

    def _record(self, size: int) -> Recorded:
        latents, tokens = self._inputs(size)
        pool = next((one.graph.pool() for one in self._recorded.values()), None)
        graph = torch.cuda.CUDAGraph()
        try:
            with (
                # Restores the thread's stream even where ending a recording fails.
                torch.cuda.stream(self._stream),
                # "thread_local": another thread may be preparing clips.
                torch.cuda.graph(
                    graph, pool=pool, stream=self._stream, capture_error_mode="thread_local"
                ),
            ):
                pixels, is_finite = self._way(latents, tokens)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            _abandoned.append(graph)
            raise RecordingFailed(str(error).partition("\n")[0]) from error
        return Recorded(graph, latents, tokens, pixels, is_finite)
