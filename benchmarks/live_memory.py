"""How much memory a network's tensors need at once, counted without a device that has it.

Networks on torch's meta device compute shapes alone, and drop their tensors when they would on a
GPU. Not counted: what libraries take as workspace, and what an allocator loses to rounding.
"""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

META = torch.device("meta")


class LiveBytes(TorchDispatchMode):  # type: ignore[misc]  # torch does not type it
    """Inside of it, ``peak`` is the most bytes that new tensors held at the same time.

    With a ``limit`` of bytes what would be above fails, as a device's allocator does.
    """

    def __init__(self, limit: int | None = None) -> None:
        super().__init__()
        self.limit = limit
        self.now: int = 0
        self.peak: int = 0
        self._seen: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        results = function(*args, **(kwargs or {}))
        if not function.is_view:
            for tensor in results if isinstance(results, (tuple, list)) else (results,):
                if isinstance(tensor, Tensor):
                    self._count(tensor, args)
        return results

    def _count(self, tensor: Tensor, args: Any) -> None:
        storage = tensor.untyped_storage()
        if storage in self._seen or any(tensor is given for given in args):
            return
        size = storage.nbytes()
        if self.limit is not None and self.now + size > self.limit:
            raise torch.OutOfMemoryError(
                f"CUDA out of memory. Tried to allocate {size} bytes beside {self.now}"
            )
        self._seen.add(storage)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, size)

    def _forget(self, size: int) -> None:
        self.now -= size


def peak_bytes(work: Callable[[], object]) -> int:
    """Return the most that ``work`` holds at once of what it makes."""
    with torch.inference_mode(), LiveBytes() as live:
        work()
    return int(live.peak)


def weight_bytes(*nets: Any) -> int:
    """Return what the parameters and buffers of networks hold."""
    return sum(
        tensor.numel() * tensor.element_size()
        for net in nets
        for tensor in (*net.parameters(), *net.buffers())
    )
