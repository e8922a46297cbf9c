"""Half precision on a device that computes in single: every operation's result is rounded.

That is what a GPU's tensor cores do: products are summed in single precision, and what is written
to memory is rounded. So the numbers of this mode are those of no certain device, but those of the
precision itself, and the same on every machine.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class RoundsResults(TorchDispatchMode):  # type: ignore[misc]  # torch does not type it
    """Inside of it, whatever is computed in float32 is rounded to ``dtype`` and kept as float32.

    What overflows ``dtype`` becomes infinite, as it would there.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        results = function(*args, **(kwargs or {}))
        if function.is_view:
            return results  # values that were rounded when they were made
        if function._schema.is_mutable:
            if isinstance(results, Tensor) and results.dtype == torch.float32:
                results.copy_(rounded(results, self._dtype))
            return results
        if isinstance(results, (tuple, list)):
            return type(results)(self._rounded(one) for one in results)
        return self._rounded(results)

    def _rounded(self, value: Any) -> Any:
        if isinstance(value, Tensor) and value.dtype == torch.float32:
            return rounded(value, self._dtype)
        return value


def rounded(values: Tensor, dtype: torch.dtype) -> Tensor:
    """``values`` as ``dtype`` can hold them, in their own type."""
    return values.to(dtype).to(values.dtype)


def round_weights(net: torch.nn.Module, dtype: torch.dtype) -> None:
    """Round a net's parameters and buffers in place, as moving it to ``dtype`` would."""
    for tensor in (*net.parameters(), *net.buffers()):
        if tensor.is_floating_point():
            tensor.data = rounded(tensor.data, dtype)
