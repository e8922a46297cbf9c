"""Running the nets on batches: bucket sizes, half precision, compiled and captured.

A GPU likes few shapes: `Runner` pads a batch to the next bucket, and for each bucket the whole way
from latents and tokens to bytes is captured once as a CUDA graph (one launch instead of a thousand)
over nets that may be compiled by region. On other devices the same code runs without either. What a
captured graph computes is what the plain call computes; `Runner(..., capture=False)` is that call.

Work is queued and not waited for: `generate` returns tensors on the device's stream.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inference.engines.musetalk.constants import LATENT_SIZE, TOKENS
from inference.engines.musetalk.nets import blocks, tiny_decoder, unet, vae
from inference.engines.musetalk.networks import Networks
from inference.engines.musetalk.speech import positional_table

log = logging.getLogger(__name__)

BUCKETS = (1, 2, 4, 8, 16, 32)

_REGIONS = (blocks.ResnetBlock, unet.SpatialTransformer, vae.PixelAttention, tiny_decoder.Block)
"""What is compiled: the blocks that repeat, so that compiling takes minutes and not an hour."""

_RECOMPILE_LIMIT = 256
"""A region meets as many shapes as the net has resolutions and widths, times the buckets."""


@dataclass(slots=True)
class _Captured:
    """A graph with the tensors it reads and writes."""

    graph: Any
    latents: Tensor
    tokens: Tensor
    pixels: Tensor
    is_finite: Tensor


def compile_regions(net: Any) -> None:
    """Have torch compile the repeating blocks of ``net`` in place; done at their first calls."""
    config = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, _RECOMPILE_LIMIT)
    for module in net.modules():
        if isinstance(module, _REGIONS):
            module.compile(dynamic=False, fullgraph=True)


def to_pixels(decoded: Tensor) -> Tensor:
    """The decoder's -1..1 ``[B, 3, H, W]`` → uint8, rounded half to even, same layout (RGB)."""
    return ((decoded.float() / 2 + 0.5).clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)


class Runner:
    """The UNet and the decoder of ``nets``, which are on ``device`` in ``dtype`` already."""

    def __init__(
        self,
        nets: Networks,
        device: torch.device,
        dtype: torch.dtype,
        *,
        buckets: Sequence[int] = BUCKETS,
        compiled: bool = False,
        capture: bool | None = None,
    ) -> None:
        self.device = device
        self.dtype = dtype
        self.buckets = tuple(sorted(buckets))
        self._unet = nets.unet
        self._decoder = nets.decoder
        self._width = nets.width
        self._positions = positional_table(nets.width).to(device=device)
        self._captures = device.type == "cuda" if capture is None else capture
        self._captured: dict[int, _Captured] = {}
        if compiled:
            compile_regions(self._unet)
            compile_regions(self._decoder)

    def bucket(self, count: int) -> int:
        """The smallest bucket that holds ``count``."""
        return next(size for size in self.buckets if size >= count)

    def plain(self, latents: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """``[B, 8, 32, 32]``, ``[B, 50, width]`` → uint8 RGB ``[B, 3, 256, 256]``, and per job
        whether all was finite: half precision can overflow, and a black mouth must not be shown.
        """
        context = (tokens.float() + self._positions).to(self.dtype)
        inputs = latents.to(self.dtype).contiguous(memory_format=torch.channels_last)
        decoded = self._decoder(self._unet(inputs, context)).float()
        return to_pixels(decoded), decoded.isfinite().flatten(1).all(1)

    def generate(self, latents: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """`plain` for any number up to the largest bucket, padded to one; on the current stream.

        The tensors returned are overwritten by the next call with the same bucket.
        """
        count = len(latents)
        size = self.bucket(count)
        with torch.inference_mode():
            if not self._captures:
                latents, tokens = _padded(latents, size), _padded(tokens, size)
                pixels, is_finite = self.plain(
                    latents.to(self.device, non_blocking=True),
                    tokens.to(self.device, non_blocking=True),
                )
                return pixels[:count], is_finite[:count]
            captured = self._captured.get(size) or self._capture(size)
            captured.latents[:count].copy_(latents, non_blocking=True)
            captured.tokens[:count].copy_(tokens, non_blocking=True)
            captured.graph.replay()
            return captured.pixels[:count], captured.is_finite[:count]

    def _capture(self, size: int) -> _Captured:
        latents = torch.zeros(
            size, 8, LATENT_SIZE, LATENT_SIZE, device=self.device, dtype=self.dtype
        )
        tokens = torch.zeros(size, TOKENS, self._width, device=self.device)
        side = torch.cuda.Stream(self.device)
        side.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(side):
            # Compiling, choosing convolution algorithms and filling caches must not be captured.
            for _ in range(3):
                self.plain(latents, tokens)
        torch.cuda.current_stream(self.device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool(), capture_error_mode="thread_local"):
            pixels, is_finite = self.plain(latents, tokens)
        captured = _Captured(graph, latents, tokens, pixels, is_finite)
        self._captured[size] = captured
        return captured

    def _pool(self) -> Any:
        """One memory pool for all graphs: they never run at the same time."""
        for captured in self._captured.values():
            return captured.graph.pool()
        return None

    def warm_up(self, say: Callable[[str], None] = log.info) -> None:
        """Compile and capture every bucket, largest first; drop those that memory is short of."""
        for size in reversed(self.buckets):
            say(f"warming up batches of {size}")
            try:
                self.generate(
                    torch.zeros(size, 8, LATENT_SIZE, LATENT_SIZE),
                    torch.zeros(size, TOKENS, self._width),
                )
                self.synchronize()
            except torch.OutOfMemoryError:
                self.forget(size)

    def forget(self, size: int) -> None:
        """Batches of ``size`` and more are too large here; OutOfMemoryError if none is left."""
        smaller = tuple(bucket for bucket in self.buckets if bucket < size)
        if not smaller:
            raise torch.OutOfMemoryError("not enough memory for a single picture")
        log.warning("memory is short: batches of at most %d from now on", smaller[-1])
        self.buckets = smaller
        for bucket in [bucket for bucket in self._captured if bucket >= size]:
            del self._captured[bucket]
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def synchronize(self) -> None:
        """Wait for all that is queued on the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()


def _padded(rows: Tensor, size: int) -> Tensor:
    if len(rows) == size:
        return rows
    return torch.cat((rows, rows.new_zeros(size - len(rows), *rows.shape[1:])))
