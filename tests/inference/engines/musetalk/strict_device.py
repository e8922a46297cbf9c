"""A device that is not the CPU, on a machine that has no other: the meta device, watched closely.

torch's meta device computes shapes only, and its kernels are lenient where a GPU's are not. This
mode looks at every operation and refuses what CUDA or Metal would refuse, or what would make the
host wait in the midst of queued work.
"""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

DEVICE = torch.device("meta")

aten = torch.ops.aten

_ONE_DTYPE = {
    aten.convolution,
    aten.addmm,
    aten.mm,
    aten.bmm,
    aten.baddbmm,
    aten.native_group_norm,
    aten.native_layer_norm,
    aten.grid_sampler_2d,
    aten.scaled_dot_product_attention,
    aten._scaled_dot_product_attention_math,
    aten.lerp,
}
_SINGLE_ONLY = {aten._fft_r2c}
"""cuFFT takes half precision for powers of two only."""


class RefusedHere(RuntimeError):
    """A GPU would have refused it."""


class StrictDevice(TorchDispatchMode):  # type: ignore[misc]  # torch is not followed
    """``copies`` lists the operations that moved a tensor between host and device."""

    def __init__(self) -> None:
        super().__init__()
        self.copies: list[str] = []
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with self:  # what is made of other operations is looked at piece by piece
            taken_apart = func.decompose(*args, **kwargs)
        if taken_apart is not NotImplemented:
            return taken_apart
        packet = func.overloadpacket
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        self.operations += 1
        if packet in (aten._to_copy, aten.copy_):
            devices = {tensor.device.type for tensor in tensors}
            if "device" in kwargs and kwargs["device"] is not None:
                devices.add(torch.device(kwargs["device"]).type)
            if len(devices) > 1:
                self.copies.append(str(func))
                if packet is aten._to_copy and torch.device(kwargs["device"]).type == "cpu":
                    dtype = kwargs.get("dtype") or tensors[0].dtype
                    return torch.zeros(tensors[0].shape, dtype=dtype)
            return func(*args, **kwargs)
        # A number (a tensor of no dimension) may lie on the host.
        devices = {tensor.device.type for tensor in tensors if tensor.ndim}
        if len(devices) > 1:
            raise RefusedHere(f"{func}: tensors on {sorted(devices)}")
        if devices == {"meta"}:
            dtypes = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
            if torch.float64 in dtypes:
                raise RefusedHere(f"{func}: Metal has no float64")
            if packet in _ONE_DTYPE and len(dtypes) > 1:
                raise RefusedHere(f"{func}: {dtypes}")
            if packet in _SINGLE_ONLY and dtypes != {torch.float32}:
                raise RefusedHere(f"{func}: {dtypes}")
        return func(*args, **kwargs)
