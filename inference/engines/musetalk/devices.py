"""What differs between a CPU, CUDA and Metal, in one place.

On CUDA everything is done with the engine's device as the thread's current one (`using`): the
thread of a pool starts with ``cuda:0``, whatever ``DEVICE`` says, and streams, graphs and kernels
that are made without naming a device go to the current one.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from inference.errors import EngineUnavailable

OUTSIDE_TORCH_GB = 0.8
"""What a process takes of a CUDA device beside torch's allocations: the context with its kernels
(0.3 to 0.6 GB) and recorded graphs. An allowance, not measured with these networks."""

_OUT_OF_MEMORY_WORDS = ("out of memory", "ALLOC_FAILED")


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
    if device.type not in ("cpu", "mps"):
        raise EngineUnavailable(f"DEVICE={wanted}: MuseTalk runs on cpu, cuda and mps")
    return device


def using(device: torch.device) -> AbstractContextManager[Any]:
    """With ``device`` as the current one of this thread."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def stream_of(
    device: torch.device, *, is_urgent: bool
) -> Callable[[], AbstractContextManager[Any]]:
    """A stream of work of its own; urgent work goes first.

    Returns:
        What makes a context for work to be given to the stream; any thread may enter one.
    """
    if device.type != "cuda":
        return nullcontext
    stream = torch.cuda.Stream(device, priority=-2 if is_urgent else 0)
    return lambda: torch.cuda.stream(stream)


def layout_of(device: torch.device) -> torch.memory_format:
    """Return the memory format of pictures and convolution weights.

    Tensor cores and oneDNN want the channels last; Metal computes with the channels first, and has
    had wrong results with the others.
    """
    return torch.contiguous_format if device.type == "mps" else torch.channels_last


def synchronize(device: torch.device) -> None:
    """Wait for all that is queued on the device; faults of queued work are raised here."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def free_cached(device: torch.device) -> None:
    """Give memory that torch keeps for later back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def limit_memory(device: torch.device, gigabytes: float) -> None:
    """Hold the process to ``gigabytes`` of the device's memory, so that others can share it.

    What would be above fails as if memory were short, and batches become smaller. torch can limit
    its own allocations only, so what CUDA takes beside them (`OUTSIDE_TORCH_GB`) is taken off.

    Raises:
        EngineUnavailable: Nothing would be left.
    """
    if device.type == "cuda":
        _, total = torch.cuda.mem_get_info(device)
        torch.cuda.set_per_process_memory_fraction(share_of(gigabytes, total), device)
    elif device.type == "mps":
        total = torch.mps.recommended_max_memory()
        torch.mps.set_per_process_memory_fraction(min(gigabytes * 1e9 / total, 1.0))


def share_of(gigabytes: float, total_bytes: int) -> float:
    """Return the share of a CUDA device's memory that torch may allocate of ``gigabytes``."""
    if gigabytes <= OUTSIDE_TORCH_GB:
        raise EngineUnavailable(
            f"MUSETALK_MEMORY_GB={gigabytes:g} leaves nothing for MuseTalk: CUDA itself takes "
            f"{OUTSIDE_TORCH_GB:g} GB, the networks 2 GB, a batch 0.1 GB a picture; set 4 or more"
        )
    return min((gigabytes - OUTSIDE_TORCH_GB) * 1e9 / total_bytes, 1.0)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was short.

    torch has an error for its own allocator; the driver's, cuDNN's and Metal's allocations fail
    with RuntimeErrors that only say so.
    """
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        word in str(error) for word in _OUT_OF_MEMORY_WORDS
    )
