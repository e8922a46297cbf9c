"""CUDA graphs: a part of the way from latents to bytes as one launch, for each batch size.

What is recorded is what the GPU does, with the addresses it does it at: a replay reads the tensors
that the recording read. Graphs of one part share their memory, largest first, so that all of them
take what the largest takes; they run one after the other on one stream. Two parts that run at the
same time share nothing.

Recording is the one thing here that can fail where plain calls succeed (`recording`); the runner
then continues without.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakMethod

import torch
from torch import Tensor

from inference.engines.musetalk.recording import record

Tensors = tuple[Tensor, ...]

WARM_UPS = 3
"""Calls before a recording: compilers run, convolution algorithms are tried out, workspaces are
allocated at the first ones, and none of that may happen while recording."""


@dataclass(slots=True)
class Recorded:
    """A graph with the tensors it reads and writes."""

    graph: Any
    inputs: Tensors
    outputs: Tensors

    def load(self, *rows: Tensor) -> None:
        """Copy as many rows as given to where the graph reads; what the others hold is undefined.

        Each row is computed for itself, so that does not matter.
        """
        for ours, given in zip(self.inputs, rows, strict=True):
            ours[: len(given)].copy_(given, non_blocking=True)

    def run(self) -> Tensors:
        """Compute all rows; the results are overwritten by the next run of any of the graphs."""
        self.graph.replay()
        return self.outputs


class Graphs:
    """The recorded batch sizes of one part, on a stream of the current device."""

    def __init__(
        self, part: Callable[..., Tensors], inputs: Callable[[int], Tensors], stream: Any
    ) -> None:
        """Record nothing yet.

        Args:
            part: What is recorded; a method of the object that keeps these graphs.
            inputs: Another one. Makes what the part takes of a batch size, on the device: the
                tensors that its graph reads ever after. They are made on the stream, and only used
                there.
            stream: A ``torch.cuda.Stream``.
        """
        # Not the methods themselves: they would keep their object, with networks and graphs, until
        # garbage is collected, which never looks at what was there when the process began to serve.
        self._methods = WeakMethod(part), WeakMethod(inputs)
        # Recordings that share memory must be made on one stream.
        self._stream = stream
        self._warm: set[int] = set()
        self._recorded: dict[int, Recorded] = {}

    def _part_and_inputs(self) -> tuple[Callable[..., Tensors], Callable[[int], Tensors]]:
        part, inputs = (method() for method in self._methods)
        assert part is not None, "it keeps these graphs"
        assert inputs is not None, "it keeps these graphs"
        return part, inputs

    def warm(self, size: int) -> None:
        """Do what must not happen while recording. Raises what the part raises."""
        part, inputs_of = self._part_and_inputs()
        with torch.cuda.stream(self._stream):
            inputs = inputs_of(size)
            for _ in range(WARM_UPS):
                part(*inputs)
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
        torch.cuda.synchronize(self._stream.device)
        self._recorded.clear()

    def _record(self, size: int) -> Recorded:
        part, inputs_of = self._part_and_inputs()
        with torch.cuda.stream(self._stream):
            inputs = inputs_of(size)
        pool = next((one.graph.pool() for one in self._recorded.values()), None)
        graph, outputs = record(lambda: part(*inputs), self._stream, pool=pool)
        return Recorded(graph, inputs, outputs)
