"""Running the nets on batches: bucket sizes, half precision, recorded graphs, two streams.

A GPU likes few shapes: `Runner` pads a batch to the next bucket, and for each bucket the UNet and
the decoder, from latents and tokens to bytes, are recorded once as CUDA graphs (`graphs`: two
launches instead of a thousand). They run on streams of their own, so that one batch can be decoded
beside the UNet of the next (`overlap`). On other devices the same code runs without. What a graph
computes is what the plain call computes; `Runner(..., records=False)` is that call, and so is any
runner on whose device recording fails.

Memory on two streams: a tensor belongs to the stream on which it was made. What the first stream
makes for the second is either copied there before the first writes again (`Overlap`), or torch's
allocator gets to know the second stream (``record_stream``) and gives it to nobody else before.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from inference.engines.musetalk.audio.speech import positional_table
from inference.engines.musetalk.constants import LATENT_CHANNELS, LATENT_SIZE, TOKENS
from inference.engines.musetalk.devices import (
    free_cached,
    is_out_of_memory,
    layout_of,
    synchronize,
    using,
)
from inference.engines.musetalk.execution import buckets as bucket_sizes
from inference.engines.musetalk.execution.graphs import Graphs, Recorded
from inference.engines.musetalk.execution.overlap import Overlap
from inference.engines.musetalk.nets.blocks import use_operations
from inference.engines.musetalk.nets.choice import find_operations
from inference.engines.musetalk.networks import Networks
from inference.engines.musetalk.recording import RecordingFailed

log = logging.getLogger(__name__)

Result = TypeVar("Result")

UNET_PRIORITY, DECODER_PRIORITY = -1, -2
"""Of CUDA's streams, less is more urgent: the older of two batches first, and both before what
nobody waits for (0)."""


@dataclass(slots=True)
class _Halves:
    """The recorded UNet and decoder of one batch size."""

    unet: Recorded
    decoder: Recorded


class Runner:
    """The UNet and the decoder of ``nets``, which are on ``device`` in ``dtype`` already."""

    def __init__(
        self,
        nets: Networks,
        device: torch.device,
        dtype: torch.dtype,
        *,
        buckets: Sequence[int] = bucket_sizes.SIZES,
        records: bool = True,
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
        self.lock = threading.RLock()
        """Held by the thread that queues a batch, or changes which batches there are."""
        self._streams = _two_streams(device) if self._is_cuda else None
        self._overlap: Overlap | None = None
        self._graphs: tuple[Graphs, Graphs] | None = None
        if self._streams is not None:
            first, second = self._streams
            self._overlap = Overlap(first, second, torch.cuda.stream)
            if records:
                self._graphs = (
                    Graphs(self.predict, self._inputs, first),
                    Graphs(self.decode, self._hidden_inputs, second),
                )
        with using(device):
            self.operations = find_operations(device, dtype) if fuses else None
            """What was chosen for this device; None: as torch has it."""
        for net in (self._unet, self._decoder):
            use_operations(net, self.operations)
        # Weights were brought here on another stream than those that read them.
        synchronize(device)

    def bucket(self, count: int) -> int:
        """Return the smallest bucket that holds ``count``."""
        return bucket_sizes.bucket_of(count, self.buckets)

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
        return self.decode(*self.predict(latents, tokens))

    def predict(self, latents: Tensor, tokens: Tensor) -> tuple[Tensor]:
        """The first half of `plain`: the face's latents ``[B, 4, 32, 32]``."""
        context = (tokens.float() + self._positions).to(self.dtype)
        inputs = latents.to(self.dtype).contiguous(memory_format=self._layout)
        return (self._unet(inputs, context),)

    def decode(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """The second half of `plain`."""
        pixels: tuple[Tensor, Tensor] = self._decoder.to_bytes(hidden)
        return pixels

    def generate(self, latents: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """`plain` for any number up to the largest bucket, padded to one; on the current stream.

        The tensors returned are overwritten by the next call. Raises torch.OutOfMemoryError, or
        what the device raises.
        """
        if self._streams is None:
            return self.queue(latents, tokens, lambda *made: made[:2])
        with using(self.device):
            first, second = self._streams
            current = torch.cuda.current_stream(self.device)
            first.wait_stream(current)
            made = self.queue(latents, tokens, lambda *made: made[:2])
            current.wait_stream(second)
        return made

    def queue(
        self,
        latents: Tensor,
        tokens: Tensor,
        finish: Callable[[Tensor, Tensor, Sequence[Tensor]], Result],
        beside: Sequence[Tensor] = (),
    ) -> Result:
        """Start a batch of any number up to the largest bucket; nothing is waited for on CUDA.

        Args:
            latents: ``[B, 8, 32, 32]`` on the host, pinned where copies are to be asynchronous.
            tokens: Float32 ``[B, 50, width]`` on the host, likewise.
            finish: Is called with bytes ``[B, 3, 256, 256]``, flags ``[B]`` and what is beside, to
                queue what is to be done with them: the next batch overwrites the first two.
            beside: What else the device needs of this batch, on the host; it is copied there.

        Returns:
            What ``finish`` returns.

        Raises:
            torch.OutOfMemoryError: Memory is too short for so many.
            RuntimeError: As the device raises it.
        """
        with self.lock, torch.inference_mode(), using(self.device):
            count = len(latents)
            size = self.bucket(count)
            halves = self._recorded(size)

            def make() -> tuple[Tensor, list[Tensor]]:
                # Only CUDA's copies know whether the memory they read is still there.
                moved = [x.to(self.device, non_blocking=self._is_cuda) for x in beside]
                if halves is not None:
                    halves.unet.load(latents, tokens)
                    return halves.unet.run()[0], moved
                rows = (
                    _padded(x, size).to(self.device, non_blocking=self._is_cuda)
                    for x in (latents, tokens)
                )
                return self.predict(*rows)[0], moved

            def take(made: tuple[Tensor, list[Tensor]]) -> tuple[Tensor, list[Tensor]]:
                hidden, moved = made
                if halves is not None:
                    halves.decoder.load(hidden)
                if self._streams is not None:
                    for tensor in moved if halves is not None else (hidden, *moved):
                        tensor.record_stream(self._streams[1])
                return hidden, moved

            def end(taken: tuple[Tensor, list[Tensor]]) -> Result:
                hidden, moved = taken
                made = halves.decoder.run() if halves is not None else self.decode(hidden)
                pixels, is_finite = made
                return finish(pixels[:count], is_finite[:count], moved)

            if self._overlap is None:
                return end(take(make()))
            return self._overlap.run(make, take, end)

    def _recorded(self, size: int) -> _Halves | None:
        """The graphs of a batch size, recorded now if they are not yet; None: called plainly."""
        if self._graphs is None:
            return None
        try:
            unet, decoder = (graphs.get(size) for graphs in self._graphs)
        except RecordingFailed as error:
            log.warning("batches are not recorded as CUDA graphs: %s", error)
            self._graphs = None
            return None
        return _Halves(unet, decoder)

    @property
    def overlaps(self) -> bool:
        """Whether one batch is decoded beside the UNet of the next."""
        return self._overlap is not None and self._overlap.is_on

    @overlaps.setter
    def overlaps(self, is_on: bool) -> None:
        if self._overlap is not None:
            self._overlap.is_on = is_on

    def _inputs(self, size: int) -> tuple[Tensor, Tensor]:
        """Noise, as real latents are to a net: what is chosen by trying is tried with it."""
        latents = torch.randn(
            size, 8, LATENT_SIZE, LATENT_SIZE, device=self.device, dtype=self.dtype
        )
        return latents, torch.randn(size, TOKENS, self._width, device=self.device)

    def _hidden_inputs(self, size: int) -> tuple[Tensor]:
        """What the UNet gives, in the layout that it gives it in."""
        shape = (size, LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE)
        hidden = torch.randn(shape, device=self.device, dtype=self.dtype)
        return (hidden.contiguous(memory_format=self._layout),)

    def warm_up(
        self,
        say: Callable[[str], None] = log.info,
        check_open: Callable[[], None] = lambda: None,
    ) -> None:
        """Choose algorithms and kernels, record; drop the buckets that memory is short of.

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
            for graphs in self._graphs:
                graphs.warm(size)
        else:
            self.plain(*self._inputs(size))
            synchronize(self.device)

    def _record(self, size: int) -> None:
        with self.lock:
            self._recorded(size)
            self.generate(*self._inputs(size))
        synchronize(self.device)

    def forget(self, size: int) -> None:
        """Batches of ``size`` and more are too large here; OutOfMemoryError if none is left."""
        with self.lock:
            smaller = tuple(bucket for bucket in self.buckets if bucket < size)
            if not smaller:
                raise torch.OutOfMemoryError("not enough memory for a single picture")
            log.warning("memory is short: batches of at most %d from now on", smaller[-1])
            self.buckets = smaller
            for graphs in self._graphs or ():
                graphs.forget()
            free_cached(self.device)


def _two_streams(device: torch.device) -> tuple[Any, Any]:
    """For the UNet, and for the decoder."""
    with using(device):
        return (
            torch.cuda.Stream(device, priority=UNET_PRIORITY),
            torch.cuda.Stream(device, priority=DECODER_PRIORITY),
        )


def _padded(rows: Tensor, size: int) -> Tensor:
    if len(rows) == size:
        return rows
    return torch.cat((rows, rows.new_zeros(size - len(rows), *rows.shape[1:])))
