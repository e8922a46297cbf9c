"""The nets of preparation on small batches: what a device is given, and fetched when it is done.

Live batches go first on the device, so a preparation's must be short; one picture at a time leaves
a GPU idle between two of them. So pictures come in batches of a few (`BATCH`), and the next batch
is queued before the one before it is waited for.

Batches have one size always: the last one of a clip is filled up. A GPU would otherwise try out its
convolutions for every other size that it meets, while the stream waits.
"""

import copy
import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.engines.musetalk.constants import FACE_SIZE, PARSING_SIZE
from inference.engines.musetalk.devices import free_cached, is_out_of_memory
from inference.engines.musetalk.face import latents
from inference.engines.musetalk.face.masks import normalized

log = logging.getLogger(__name__)

BATCH = 4
"""Pictures in one batch on a GPU. Elsewhere a picture takes so long that it is one."""


@dataclass(frozen=True, slots=True, eq=False)
class FacePixels:
    """What the nets see of a picture; RGB, uint8."""

    face: NDArray[np.uint8]
    """``[256, 256, 3]``."""
    square: NDArray[np.uint8] | None
    """``[512, 512, 3]`` for the face parser; None without one."""


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """Of one picture."""

    latents: NDArray[np.float16]
    """``[8, 32, 32]``."""
    parts: NDArray[np.uint8] | None
    """Map of face parts ``[512, 512]``; None without a parser."""


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """A batch under way; the tensors are on the host, and hold numbers once it is ``ready``."""

    pictures: Sequence[FacePixels]
    latents: Tensor
    parts: Tensor | None
    is_single: bool
    """Whether it was encoded in single precision."""
    ready: Any | None


class FaceNets:
    """The encoder and the face parser, on ``device``; the first in any precision."""

    def __init__(
        self, encoder: Any, face_parsing: Any | None, device: torch.device, *, batch: int | None
    ) -> None:
        """Take nets that are on the device already.

        Args:
            encoder: Of the VAE.
            face_parsing: Float32; None: there is none.
            device: Where they are.
            batch: How many pictures are done at once at most; None: as many as suit the device.
        """
        self.has_parser = face_parsing is not None
        self.batch = batch or (1 if device.type == "cpu" else BATCH)
        self._encoder = encoder
        self._parser = face_parsing
        self._device = device
        self._is_cuda = device.type == "cuda"

    def warm_up(self) -> None:
        """Have the device find its algorithms now, and not while a session speaks.

        Memory that is short is an error only when a clip is to be prepared.

        Raises:
            RuntimeError: As the device raises it.
        """
        square = np.zeros((PARSING_SIZE, PARSING_SIZE, 3), np.uint8) if self.has_parser else None
        face = np.zeros((FACE_SIZE, FACE_SIZE, 3), np.uint8)
        try:
            self._encode([FacePixels(face, square)])
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            log.warning("there is hardly memory for preparing clips: %s", error)

    def each(self, pictures: Iterable[FacePixels]) -> Iterator[Encoded]:
        """Encode all, in order; one batch is queued before the one before it is waited for.

        Raises:
            torch.OutOfMemoryError: One picture alone is too much.
            RuntimeError: As the device raises it.
        """
        before: _Batch | None = None
        for some in _batches(pictures, self.batch):
            batch = self._start_if_it_fits(some)
            if before is not None:
                yield from self._finish(before)
            if batch is None:
                yield from self._encode(some)
            before = batch
        if before is not None:
            yield from self._finish(before)

    def _encode(self, pictures: Sequence[FacePixels]) -> list[Encoded]:
        """One batch after the other, as large as memory allows."""
        done: list[Encoded] = []
        while len(done) < len(pictures):
            batch = self._start_if_it_fits(pictures[len(done) : len(done) + self.batch])
            if batch is not None:
                done += self._finish(batch)
        return done

    def _start_if_it_fits(self, pictures: Sequence[FacePixels]) -> _Batch | None:
        """Queue a batch; None, and smaller ones from now on, where memory is too short for it."""
        if len(pictures) > self.batch:
            return None
        try:
            return self._start(pictures)
        except RuntimeError as error:
            if self.batch == 1 or not is_out_of_memory(error):
                raise
        # Not while the error is handled: its frames hold the memory.
        self.batch //= 2
        log.warning("memory is short: clips are prepared %d pictures at a time", self.batch)
        free_cached(self._device)
        return None

    def _start(self, pictures: Sequence[FacePixels]) -> _Batch:
        """Queue a batch; nothing is waited for on CUDA."""
        filled = [*pictures, *[pictures[-1]] * (self.batch - len(pictures))]
        dtype = next(self._encoder.parameters()).dtype
        with torch.inference_mode():
            faces = self._moved([one.face for one in filled])
            mean, deviation = self._encoder(latents.encoder_input(faces).to(dtype))
            results = [latents.unet_latents(mean.float(), deviation.float()).half()]
            if self._parser is not None:
                squares = self._moved([one.square for one in filled if one.square is not None])
                logits = self._parser(normalized(squares))
                results.append(logits.argmax(1).to(torch.uint8))
            host, ready = self._fetched(results)
        parts = host[1] if self._parser is not None else None
        return _Batch(pictures, host[0], parts, dtype == torch.float32, ready)

    def _finish(self, batch: _Batch) -> list[Encoded]:
        """Wait for a batch; what overflowed in half precision is done again in single."""
        if batch.ready is not None:
            batch.ready.synchronize()
        count = len(batch.pictures)
        if not batch.is_single and not bool(batch.latents[:count].isfinite().all()):
            if next(self._encoder.parameters()).dtype != torch.float32:
                log.warning("the encoder overflows in half precision: single is used")
                self._encoder = copy.deepcopy(self._encoder).float()
            return self._encode(batch.pictures)
        return [
            Encoded(
                batch.latents[row].numpy(),
                None if batch.parts is None else batch.parts[row].numpy(),
            )
            for row in range(count)
        ]

    def _moved(self, rows: Sequence[NDArray[np.uint8]]) -> Tensor:
        """On the device; on CUDA from pinned memory, so that nothing is waited for."""
        host = torch.from_numpy(np.stack(rows))
        return (host.pin_memory() if self._is_cuda else host).to(
            self._device, non_blocking=self._is_cuda
        )

    def _fetched(self, results: Sequence[Tensor]) -> tuple[list[Tensor], Any | None]:
        """Copies on the host, and what happens when they are there."""
        if not self._is_cuda:
            return [tensor.cpu() for tensor in results], None
        host = [
            torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(
                tensor, non_blocking=True
            )
            for tensor in results
        ]
        # Behind this batch and before the next: who waits for it does not wait for both.
        ready = torch.cuda.Event(blocking=True)
        ready.record(torch.cuda.current_stream(self._device))
        return host, ready


def _batches(pictures: Iterable[FacePixels], size: int) -> Iterator[list[FacePixels]]:
    iterator = iter(pictures)
    while some := list(itertools.islice(iterator, size)):
        yield some
