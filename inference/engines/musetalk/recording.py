"""Recording what a GPU is given to do, to have it done again as one launch (CUDA graphs).

A recording is of one stream: what libraries keep for a stream (workspaces) is in it for good, and
so is the stream's priority, whatever stream it is replayed on. So what is to run beside something
else is recorded on a stream of its own, of the priority that it is to have.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch

from inference.engines.musetalk.devices import is_out_of_memory

Made = TypeVar("Made")


class RecordingFailed(Exception):
    """This cannot be recorded here."""


_abandoned: list[Any] = []
"""Graphs whose recording broke off: torch's allocator keeps asking them whether they still
record, so they must outlive it."""


def record(work: Callable[[], Made], stream: Any, *, pool: Any = None) -> tuple[Any, Made]:
    """Record ``work`` on ``stream`` of the current device, where it has run before.

    Args:
        work: Called once; what it allocates stays the graph's.
        stream: A ``torch.cuda.Stream``.
        pool: The memory of graphs that never run at the same time; None: memory of its own.

    Returns:
        The graph, and what ``work`` returned: tensors that each replay overwrites.

    Raises:
        RecordingFailed: A library waits for the device, or a driver is too old.
        torch.OutOfMemoryError: As it comes.
    """
    graph = torch.cuda.CUDAGraph()
    try:
        with (
            # Restores the thread's stream even where ending a recording fails.
            torch.cuda.stream(stream),
            # "thread_local": another thread may be preparing clips.
            torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"),
        ):
            made = work()
    except RuntimeError as error:
        if is_out_of_memory(error):  # and the recording was ended as it should be
            raise
        _abandoned.append(graph)
        if error.__context__ is not None and is_out_of_memory(error.__context__):
            raise torch.OutOfMemoryError(str(error.__context__)) from error
        raise RecordingFailed(str(error).partition("\n")[0]) from error
    return graph, made
