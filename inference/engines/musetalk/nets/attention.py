"""Which attention runs: of those that torch brings, the fastest for each shape, as measured.

torch's own choice goes by rules. On a Hopper GPU it takes a kernel made for the generation before
where cuDNN has one of its own, and for the one head of 512 channels of the VAE, which few kernels
do, the slowest that can.

Kernels are called by name, not by torch's context manager: that switches the whole process, and
another thread may be preparing clips at the time.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from inference.engines.musetalk.nets.device_time import milliseconds

log = logging.getLogger(__name__)

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Query, key and value ``[B, heads, T, C / heads]`` → what is attended to, of the query's shape."""

Shape = tuple[int, ...]
"""Of the query, and how many keys there are."""

LEAST_GAIN = 0.95
"""Another kernel takes at most this share of the time of torch's choice, or is not worth it."""

ALLOWED_ERROR = 2.0
"""And is at most so many times as far from single precision."""

CALLS = 10
ROUNDS = 2

MOST_TRYING_S = 10.0
"""Kernels that are built when they are first met must not keep the start waiting."""


def cudnn(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """That of cuDNN."""
    attend = torch.ops.aten._scaled_dot_product_cudnn_attention
    mixed: Tensor = attend(query, key, value, None, False)[0]
    return mixed


def flash(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """FlashAttention 2."""
    mixed: Tensor = torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)[0]
    return mixed


def efficient(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """CUTLASS's memory-efficient one."""
    attend = torch.ops.aten._scaled_dot_product_efficient_attention
    mixed: Tensor = attend(query, key, value, None, False)[0]
    return mixed


def products(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Two matrix products with the weights in memory, which are in single precision."""
    batch, heads, length, width = query.shape
    rows = [x.reshape(batch * heads, x.shape[2], width) for x in (query * width**-0.5, key, value)]
    scores = torch.bmm(rows[0], rows[1].mT, out_dtype=torch.float32)
    weights = torch.softmax(scores, -1).to(query.dtype)
    return torch.bmm(weights, rows[2]).view(batch, heads, length, width)


CANDIDATES: dict[str, Attention] = {
    "cudnn": cudnn,
    "flash": flash,
    "efficient": efficient,
    "products": products,
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """What came of trying one. Times are of one call; None: it cannot do the shape here."""

    name: str
    error: float = float("inf")
    ms: float | None = None


class MeasuredAttention:
    """Attention by the kernel that is the fastest for its shape, chosen when one is first met.

    That is when batches are warmed up. While something is recorded nothing can be measured: a shape
    that is new then is done as torch chooses.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        candidates: dict[str, Attention] = CANDIDATES,
        measure: Callable[[Callable[[], object], torch.device], float] | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take a device.

        Args:
            device: Where the tensors will be.
            candidates: By name, beside torch's own choice.
            measure: Milliseconds of a call; None: on the device.
            now_s: The clock that limits how long is tried.
        """
        self._device = device
        self._candidates = candidates
        self._measure = measure or _quickly
        self._now_s = now_s
        self._tried_s = 0.0
        self._chosen: dict[tuple[torch.dtype, Shape], Attention] = {}
        """Also by precision: some kernels do half precision alone."""

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        shape = (*query.shape, key.shape[2])
        kernel = self._chosen.get((query.dtype, shape))
        if kernel is None:
            if self._device.type == "cuda" and torch.cuda.is_current_stream_capturing():
                return _torchs(query, key, value)
            kernel = self._chosen[query.dtype, shape] = self._choose(shape, query, key, value)
        return kernel(query, key, value)

    def _choose(self, shape: Shape, query: Tensor, key: Tensor, value: Tensor) -> Attention:
        if self._tried_s > MOST_TRYING_S:
            return _torchs
        began_s = self._now_s()
        try:
            tried = self._tried(query, key, value)
        except RuntimeError as error:  # memory is short: the batch itself will tell
            log.info("attention %s: as torch chooses (%s)", shape, str(error).partition("\n")[0])
            return _torchs
        finally:
            self._tried_s += self._now_s() - began_s
        name = fastest(tried)
        log.info(
            "attention %s: %s; %s", shape, name or "as torch chooses",
            ", ".join(f"{one.name} {one.ms:.3f} ms" for one in tried if one.ms is not None),
        )  # fmt: skip
        return self._candidates[name] if name else _torchs

    def _tried(self, query: Tensor, key: Tensor, value: Tensor) -> list[Candidate]:
        """What torch chooses first."""
        row, digit = slice(0, 1), torch.finfo(query.dtype).eps
        exact = _torchs(query[row].float(), key[row].float(), value[row].float())

        def tried(name: str, kernel: Attention) -> Candidate:
            off = (kernel(query, key, value)[row].float() - exact).abs().max()
            # Below the last digit there is nothing to compare.
            error = max(float(off), digit) if bool(off.isfinite()) else float("inf")
            return Candidate(
                name, error, self._measure(lambda: kernel(query, key, value), self._device)
            )

        found = [tried("torch", _torchs)]
        for name, kernel in self._candidates.items():
            try:
                found.append(tried(name, kernel))
            except Exception as error:  # noqa: BLE001 -- of libraries and drivers: no common parent
                log.debug("attention by %s: %s", name, error)
                found.append(Candidate(name))
        return found


def fastest(tried: list[Candidate]) -> str | None:
    """The name of the one to use; None: the first, which is torch's own choice."""
    own, *others = tried
    assert own.ms is not None
    right = [
        (one.ms, one.name)
        for one in others
        if one.ms is not None and one.error <= ALLOWED_ERROR * own.error
    ]
    best_ms, name = min(right, default=(float("inf"), ""))
    return name if best_ms <= LEAST_GAIN * own.ms else None


def _torchs(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    mixed: Tensor = functional.scaled_dot_product_attention(query, key, value)
    return mixed


def _quickly(work: Callable[[], object], device: torch.device) -> float:
    return milliseconds(work, device, calls=CALLS, rounds=ROUNDS)
