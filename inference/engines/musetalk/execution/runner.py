"""Running the nets on batches: bucket sizes, half precision, recorded graphs.

A GPU likes few shapes: `Runner` pads a batch to the next bucket, and for each bucket the whole way
from latents and tokens to bytes is recorded once as a CUDA graph (`graphs`: one launch instead of
a thousand). On other devices the same code runs without. What a graph computes is what the plain
call computes; `Runner(..., records=False)` is that call, and so is any runner on whose device
recording fails.

Work is queued and not waited for: `generate` returns tensors on the device's stream.
"""

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from inference.engines.musetalk.audio.speech import positional_table
from inference.engines.musetalk.constants import LATENT_SIZE, TOKENS
from inference.engines.musetalk.devices import (
    free_cached,
    is_out_of_memory,
    layout_of,
    synchronize,
    using,
)
from inference.engines.musetalk.execution import buckets as bucket_sizes
from inference.engines.musetalk.execution.graphs import Graphs, RecordingFailed
from inference.engines.musetalk.nets.blocks import use_operations
from inference.engines.musetalk.nets.choice import find_operations
from inference.engines.musetalk.networks import Networks

log = logging.getLogger(__name__)


class Runner:
    """The UNet and the decoder of ``nets``, which are on ``device`` in ``dtype`` already."""

    def __init__(
        self,
        nets: Networks,
        device: torch.device,
        dtype: torch.dtype,
        *,
        buckets: Sequence[int] = bucket_sizes.SIZES,
        records: bool | None = None,
        fuses: bool = True,
    ) -> None:
        self.device = device
        self.dtype = dtype
        self.buckets = tuple(sorted(buckets))
        self.milliseconds: dict[int, float] = {}
        """What a batch of each bucket takes, once measured."""
        self._unet = nets.unet
        self._decoder = nets.decoder
        self._width = nets.width
        self._positions = positional_table(nets.width).to(device=device)
        self._layout = layout_of(device)
        self._is_cuda = device.type == "cuda"
        self._graphs: Graphs | None = None
        if self._is_cuda if records is None else records:
            with using(device):
                self._graphs = Graphs(self.plain, self._inputs, device)
        with using(device):
            chosen = find_operations(device, dtype) if fuses else None
        use_operations(self._unet, chosen)
        use_operations(self._decoder, chosen)

    def bucket(self, count: int) -> int:
        """Return the smallest bucket that holds ``count``."""
        return next(size for size in self.buckets if size >= count)

    def next_batch(self, count: int) -> int:
        """How many of ``count`` jobs to take at once, so that all together take least time."""
        times = {size: self.milliseconds.get(size) for size in self.buckets}
        known = {size: time for size, time in times.items() if time is not None}
        # Not measured: as if a batch cost as much as one more job.
        guessed = {size: size + 1.0 for size in self.buckets}
        return bucket_sizes.next_batch(count, known if len(known) == len(times) else guessed)

    def plain(self, latents: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """``[B, 8, 32, 32]``, ``[B, 50, width]`` → uint8 RGB ``[B, 3, 256, 256]``.

        And per job whether all was finite: half precision can overflow, and a black mouth must not
        be shown.
        """
        context = (tokens.float() + self._positions).to(self.dtype)
        inputs = latents.to(self.dtype).contiguous(memory_format=self._layout)
        pixels: tuple[Tensor, Tensor] = self._decoder.to_bytes(self._unet(inputs, context))
        return pixels

    def generate(self, latents: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """`plain` for any number up to the largest bucket, padded to one; on the current stream.

        The tensors returned are overwritten by the next call with the same bucket. Raises
        torch.OutOfMemoryError, or what the device raises.
        """
        count = len(latents)
        size = self.bucket(count)
        with torch.inference_mode(), using(self.device):
            if self._graphs is not None:
                try:
                    recorded = self._graphs.get(size)
                except RecordingFailed as error:
                    log.warning("batches are not recorded as CUDA graphs: %s", error)
                    self._graphs = None
                else:
                    return recorded.replay(latents, tokens)
            # Only CUDA's copies know whether the memory they read is still there.
            pixels, is_finite = self.plain(
                _padded(latents, size).to(self.device, non_blocking=self._is_cuda),
                _padded(tokens, size).to(self.device, non_blocking=self._is_cuda),
            )
            return pixels[:count], is_finite[:count]

    def _inputs(self, size: int) -> tuple[Tensor, Tensor]:
        latents = torch.zeros(
            size, 8, LATENT_SIZE, LATENT_SIZE, device=self.device, dtype=self.dtype
        )
        return latents, torch.zeros(size, TOKENS, self._width, device=self.device)

    def warm_up(
        self,
        say: Callable[[str], None] = log.info,
        check_open: Callable[[], None] = lambda: None,
    ) -> None:
        """Choose algorithms, record; drop the buckets that memory is short of.

        All sizes run before the first is recorded, largest first: the memory of a plain call is
        given back before a recording takes the same again for good. RuntimeError as it comes where
        the nets cannot run at all; OutOfMemoryError where not a single picture fits. ``check_open``
        is called between sizes; what it raises ends the warm-up.
        """
        with torch.inference_mode(), using(self.device):
            for size in reversed(self.buckets):
                check_open()
                say(f"warming up batches of {size}")
                self._or_smaller(size, self._warm)
            for size in reversed(self.buckets) if self._graphs is not None else ():
                check_open()
                self._or_smaller(size, self._record)

    def _or_smaller(self, size: int, work: Callable[[int], None]) -> None:
        try:
            work(size)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        else:
            return
        # Not while the error is handled: its frames hold the memory.
        self.forget(size)

    def _warm(self, size: int) -> None:
        if self._graphs is not None:
            self._graphs.warm(size)
        else:
            self.plain(*self._inputs(size))
            synchronize(self.device)

    def _record(self, size: int) -> None:
        self.generate(*self._inputs(size))
        synchronize(self.device)

    def forget(self, size: int) -> None:
        """Batches of ``size`` and more are too large here; OutOfMemoryError if none is left."""
        smaller = tuple(bucket for bucket in self.buckets if bucket < size)
        if not smaller:
            raise torch.OutOfMemoryError("not enough memory for a single picture")
        log.warning("memory is short: batches of at most %d from now on", smaller[-1])
        self.buckets = smaller
        if self._graphs is not None:
            self._graphs.forget()
        free_cached(self.device)


def _padded(rows: Tensor, size: int) -> Tensor:
    if len(rows) == size:
        return rows
    return torch.cat((rows, rows.new_zeros(size - len(rows), *rows.shape[1:])))
