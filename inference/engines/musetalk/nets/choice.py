"""Which kernels run on a device: those that work there, are right, and are faster than plain torch.

Each operation is tried on its own with shapes of the published nets, before anything is recorded,
and timed as it will run, which is recorded (`device_time`). A kernel that fails (a C compiler is
missing, a driver is too old), that is off, or that is slower there gives way to plain torch, with a
line in the log.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from inference.engines.musetalk.nets import fused
from inference.engines.musetalk.nets.attention import MeasuredAttention
from inference.engines.musetalk.nets.device_time import milliseconds
from inference.engines.musetalk.nets.operations import PLAIN, Operations
from inference.engines.musetalk.nets.upsampling import transposed

log = logging.getLogger(__name__)

Noise = Callable[..., Tensor]
"""Makes noise of a shape about a ``mean``, where and as precise as the probes run."""

LEVERS = replace(fused.KERNELS, upsample=transposed)
"""What is tried in place of plain torch: kernels of ours, and a library's other way."""

KERNEL_NAMES = tuple(
    name for name in Operations.names() if getattr(LEVERS, name) != getattr(PLAIN, name)
)
"""The operations that there is something to try for."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Something to compute in which one operation is what differs.

    ``run`` takes the operations to use and gives what is compared; bytes may be one off.
    """

    name: str
    run: Callable[[Operations], Tensor]


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of one probe. Times are of one call, in milliseconds; None: the kernel failed."""

    name: str
    error: float
    allowed: float
    kernel_ms: float | None
    plain_ms: float
    reason: str = ""

    @property
    def is_kept(self) -> bool:
        """Whether the kernel is used."""
        return (
            self.kernel_ms is not None
            and self.error <= self.allowed
            and self.kernel_ms < self.plain_ms
        )

    def __str__(self) -> str:
        verdict = "kernel" if self.is_kept else "plain torch"
        if self.kernel_ms is None:
            return f"{self.name}: {verdict}, the kernel failed: {self.reason}"
        if self.error > self.allowed:
            return f"{self.name}: {verdict}, the kernel is off by {self.error:.3g}"
        return f"{self.name}: {verdict}, {self.kernel_ms:.3f} against {self.plain_ms:.3f} ms"


def probes(
    device: torch.device, dtype: torch.dtype, *, batch: int = 8, divisor: int = 1
) -> list[Probe]:
    """One for each operation; ``divisor`` makes widths and sides smaller than the published."""
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int, mean: float = 0.0) -> Tensor:
        values = torch.randn(*shape, generator=generator) + mean
        return values.to(device, dtype)

    return [*_probes_of_decoder(noise, batch, divisor), *_probes_of_unet(noise, batch, divisor)]


def _probes_of_decoder(noise: Noise, batch: int, divisor: int) -> list[Probe]:
    """Of operations on pictures, channels-last."""

    def picture(channels: int, side: int, mean: float = 0.0) -> Tensor:
        values = noise(batch, channels, side, side, mean=mean)
        return values.contiguous(memory_format=torch.channels_last)

    wide, side = 256 // divisor, 128 // divisor
    narrow, groups = 128 // divisor, 32 // divisor
    x, y = picture(wide, side, 3.0), picture(wide, side)
    weight, beta, bias = noise(3, wide).unbind()
    wide_norm = nn.GroupNorm(groups, wide, 1e-6).to(x)
    wide_norm.load_state_dict({"weight": weight, "bias": beta})
    last = picture(narrow, 2 * side)
    phases = picture(4 * wide, side // 2 + 1)
    small, taps = picture(wide, side // 2), noise(4 * wide, wide, 2, 2) / (2 * wide**0.5)
    taps = taps.contiguous(memory_format=torch.channels_last)
    norm = nn.GroupNorm(groups, narrow, 1e-6).to(x)
    out = nn.Conv2d(narrow, 3, 3, padding=1).to(x)

    # Where moments are found in passing, it is the norm that gains. It is always the kernel, so
    # that only the operation itself differs.
    def with_norm(operation: str, run: Callable[[Operations], Tensor]) -> Probe:
        return Probe(operation, lambda o: fused.group_norm(run(o), wide_norm, is_silu=True))

    return [
        Probe("group_norm", lambda o: o.group_norm(x, wide_norm, bias=bias, is_silu=True)),
        with_norm("add", lambda o: o.add(x, y, bias)),
        with_norm("interleave", lambda o: o.interleave(phases, bias)),
        # Phases are put together by the kernel, with which the other way competes.
        with_norm("upsample", lambda o: o.upsample(small, taps, bias, fused.interleave)),
        Probe("pixels", lambda o: o.pixels(last, norm, out)[0]),
    ]


def _probes_of_unet(noise: Noise, batch: int, divisor: int) -> list[Probe]:
    """Of operations on tokens."""
    tokens, width = (32 // divisor) ** 2, 320 // divisor
    line, more = noise(batch, tokens, width, mean=1.0), noise(batch, tokens, width)
    layer = nn.LayerNorm(width).to(line)
    gates = noise(batch, tokens, 8 * width)
    return [
        Probe("geglu", lambda o: o.geglu(gates)),
        Probe("layer_norm", lambda o: o.layer_norm(line, layer)),
        Probe("add_and_norm", lambda o: torch.cat(o.add_and_norm(line, more, layer))),
    ]


def allowed_error(found: Tensor, dtype: torch.dtype) -> float:
    """By how much a kernel may be off: bytes by one, other values by some of their last digits."""
    return 1.0 if found.dtype == torch.uint8 else max(1e-4, 32 * torch.finfo(dtype).eps)


def largest_error(found: Tensor, wanted: Tensor) -> float:
    """Return the largest difference; not a number counts as infinitely large."""
    off = (found.float() - wanted.float()).abs().max()
    return float(off) if bool(off.isfinite()) else float("inf")


def try_out(
    probe: Probe,
    device: torch.device,
    dtype: torch.dtype,
    measure: Callable[[Callable[[], object], torch.device], float] = milliseconds,
) -> Trial:
    """Compare a kernel with plain torch, and time both."""
    with_kernel = only(probe.name)
    wanted = probe.run(PLAIN) if probe.name == "group_norm" else None
    error, kernel_ms, reason = float("inf"), None, ""
    allowed = allowed_error(torch.empty(0, dtype=dtype), dtype)
    try:
        found = probe.run(with_kernel)
        wanted = probe.run(PLAIN) if wanted is None else wanted
        error, allowed = largest_error(found, wanted), allowed_error(found, dtype)
        kernel_ms = measure(lambda: probe.run(with_kernel), device)
        plain_ms = measure(lambda: probe.run(PLAIN), device)
    except Exception as failure:  # noqa: BLE001 -- compilers, drivers: no common parent
        reason, kernel_ms, plain_ms = str(failure).partition("\n")[0], None, 0.0
    return Trial(probe.name, error, allowed, kernel_ms, plain_ms, reason)


def only(name: str) -> Operations:
    """Plain torch, but for one operation."""
    chosen: dict[str, Any] = {name: getattr(LEVERS, name)}
    return replace(PLAIN, **chosen)


def choose(trials: list[Trial]) -> Operations | None:
    """Return the kernels that are kept beside plain torch; None if none is.

    Who writes a tensor finds its moments for the norm's kernel alone: without that one, `add` and
    `interleave` are plain too. The transposed convolution was tried against phases with the kernel.
    """
    kept = {trial.name for trial in trials if trial.is_kept}
    if "group_norm" in kept:
        kept.add("concatenate")
    else:
        kept -= {"add", "interleave", "upsample", "pixels"}
    chosen: dict[str, Any] = {name: getattr(LEVERS, name) for name in kept}
    return replace(PLAIN, **chosen) if chosen else None


def find_operations(device: torch.device, dtype: torch.dtype) -> Operations | None:
    """Try all kernels on ``device``; None where it is no CUDA device.

    Which attention runs is found later, when batches are warmed up.
    """
    if device.type != "cuda":
        return None
    chosen = None
    if fused.kernels is not None:
        began_s = time.perf_counter()
        with torch.inference_mode():
            trials = [try_out(probe, device, dtype) for probe in probes(device, dtype)]
        for trial in trials:
            log.info("%s", trial)
        log.info("kernels chosen in %.1f s", time.perf_counter() - began_s)
        chosen = choose(trials)
    return replace(chosen or PLAIN, attend=MeasuredAttention(device))
