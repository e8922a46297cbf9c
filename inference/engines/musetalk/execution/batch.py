"""A batch of render jobs: gathered on the host, pasted on the device, brought back in one copy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.engines.musetalk.constants import LATENT_SIZE, TOKENS
from inference.engines.musetalk.devices import is_out_of_memory
from inference.engines.musetalk.execution.runner import Runner
from inference.engines.musetalk.face.device_blend import PatchBatch, paste
from inference.engines.musetalk.prepare.avatar import FaceClip
from inference.media.types import Patch, Picture, Rectangle

CANVAS_STEP = 64
"""Canvases are multiples of this, so that the device meets few shapes."""


@dataclass(frozen=True, slots=True, eq=False)
class FaceJob:
    """A render job that does need the nets."""

    faces: FaceClip
    index: int
    picture: Picture
    tokens: NDArray[np.float32]
    strength: float


class Region(NamedTuple):
    """The picture's samples under a patch."""

    luma: NDArray[np.uint8]
    chroma: NDArray[np.uint8]


def region_of(picture: Picture, patch: Rectangle) -> Region:
    """Return views of luma ``[h, w]`` and chroma ``[2, h / 2, w / 2]`` of an I420 picture."""
    height, width = picture.shape[0] * 2 // 3, picture.shape[1]
    chroma = picture[height:].reshape(2, height // 2, width // 2)
    top, left = patch.y // 2, patch.x // 2
    return Region(
        picture[patch.y : patch.y + patch.height, patch.x : patch.x + patch.width],
        chroma[:, top : top + patch.height // 2, left : left + patch.width // 2],
    )


@dataclass(slots=True)
class Queued:
    """A batch under way: patches, and the bytes that will be theirs once ``ready``."""

    patches: list[Rectangle]
    luma: Tensor
    chroma: Tensor
    is_finite: Tensor
    ready: Any | None = None

    def wait(self) -> None:
        """Until the bytes are there."""
        if self.ready is not None:
            self.ready.synchronize()

    def finish(self) -> list[Patch | None]:
        """Wait, and cut each job's patch out; None for one whose numbers overflowed."""
        self.wait()
        luma, chroma = self.luma.numpy(), self.chroma.numpy()
        finished: list[Patch | None] = []
        for row, (place, is_finite) in enumerate(
            zip(self.patches, self.is_finite.tolist(), strict=True)
        ):
            if not is_finite:
                finished.append(None)
                continue
            u_plane, v_plane = chroma[row, :, : place.height // 2, : place.width // 2].copy()
            finished.append(
                Patch(
                    x=place.x,
                    y=place.y,
                    y_plane=luma[row, : place.height, : place.width].copy(),
                    u_plane=u_plane,
                    v_plane=v_plane,
                )
            )
        return finished


def canvas_of(patches: Sequence[Rectangle]) -> tuple[int, int]:
    """Height and width that hold all patches, rounded up to `CANVAS_STEP`."""
    height = max(patch.height for patch in patches)
    width = max(patch.width for patch in patches)
    return -(-height // CANVAS_STEP) * CANVAS_STEP, -(-width // CANVAS_STEP) * CANVAS_STEP


class _Staging:
    """The inputs of a batch on the host; pinned where that lets copies run beside the nets.

    What is beside a job's patch is undefined, and of no consequence: each pixel is made of the one
    below it, and what is beside a patch is not cut out.
    """

    def __init__(self, count: int, canvas: tuple[int, int], width: int, *, pinned: bool) -> None:
        height, columns = canvas

        def empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
            return torch.empty(shape, dtype=dtype, pin_memory=pinned)

        self.latents = empty((count, 8, LATENT_SIZE, LATENT_SIZE), torch.float16)
        self.tokens = empty((count, TOKENS, width), torch.float32)
        self.geometry = empty((count, 4), torch.float32)
        self.strength = empty((count,), torch.float32)
        self.masks = empty((count, height, columns), torch.uint8)
        self.luma = empty((count, height, columns), torch.uint8)
        self.chroma = empty((count, 2, height // 2, columns // 2), torch.uint8)

    def put(self, jobs: Sequence[FaceJob]) -> list[Rectangle]:
        """Copy what the device needs of all jobs, and return their patches."""
        latents, tokens, geometry, strength, masks, luma, chroma = (
            tensor.numpy()  # the same memory, without torch's price of an index
            for tensor in (
                self.latents, self.tokens, self.geometry, self.strength,
                self.masks, self.luma, self.chroma,
            )
        )  # fmt: skip
        patches = []
        for row, job in enumerate(jobs):
            box, patch = job.faces.box(job.index), job.faces.patch(job.index)
            region = region_of(job.picture, patch)
            latents[row] = job.faces.latents[job.index]
            tokens[row] = job.tokens
            geometry[row] = (box.width, box.height, patch.x - box.x1, patch.y - box.y1)
            strength[row] = job.strength
            masks[row, : patch.height, : patch.width] = job.faces.mask(job.index)
            luma[row, : patch.height, : patch.width] = region.luma
            chroma[row, :, : patch.height // 2, : patch.width // 2] = region.chroma
            patches.append(patch)
        return patches


class Renderer:
    """Jobs to patches with one `Runner`; on CUDA the way back has a stream of its own.

    Any number of threads may render: batches are queued one after the other, and each thread waits
    for its own.
    """

    def __init__(self, runner: Runner, width: int) -> None:
        self._runner = runner
        self._width = width
        self._is_cuda = runner.device.type == "cuda"
        self._copies = torch.cuda.Stream(runner.device, priority=-1) if self._is_cuda else None

    def queue(self, jobs: Sequence[FaceJob]) -> Queued:
        """Start a batch, at most the largest bucket. Nothing is waited for on CUDA."""
        canvas = canvas_of([job.faces.patch(job.index) for job in jobs])
        staging = _Staging(len(jobs), canvas, self._width, pinned=self._is_cuda)
        patches = staging.put(jobs)

        def finish(pixels: Tensor, is_finite: Tensor, pasted: Sequence[Tensor]) -> Queued:
            results = (*paste(pixels, PatchBatch(*pasted)), is_finite.clone())
            if self._copies is None:
                luma, chroma, flags = (tensor.cpu() for tensor in results)
                return Queued(patches, luma, chroma, flags)
            return self._bring_back(patches, results)

        return self._runner.queue(
            staging.latents,
            staging.tokens,
            finish,
            beside=(
                staging.geometry, staging.masks, staging.luma, staging.chroma, staging.strength
            ),
        )  # fmt: skip

    def _bring_back(self, patches: list[Rectangle], results: Sequence[Tensor]) -> Queued:
        """Copy to pinned memory on a stream of its own, while others run the next batch."""
        assert self._copies is not None
        self._copies.wait_stream(torch.cuda.current_stream(self._runner.device))
        with torch.cuda.stream(self._copies):
            host = []
            for tensor in results:
                pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
                host.append(pinned.copy_(tensor, non_blocking=True))
                # It is let go of now, and must not be given to the next batch before it is read.
                tensor.record_stream(self._copies)
            # The thread that waits for it sleeps: the encoders need the core.
            ready = torch.cuda.Event(blocking=True)
            ready.record(self._copies)
        luma, chroma, is_finite = host
        return Queued(patches, luma, chroma, is_finite, ready)

    def render(self, jobs: Sequence[FaceJob]) -> list[Patch | None]:
        """Any number of jobs; memory running short makes batches smaller.

        Raises torch.OutOfMemoryError when one picture alone is too much.
        """
        finished: list[Any] = []
        queued: list[Queued] = []
        at = 0
        while at < len(jobs):
            with self._runner.lock:  # which sizes there are does not change in between
                size = self._runner.next_batch(len(jobs) - at)
                if (batch := self.queue_if_it_fits(jobs[at : at + size])) is None:
                    self._runner.forget(self._runner.bucket(size))
                    continue
            queued.append(batch)
            at += size
        for batch in queued:
            finished += batch.finish()
        return finished

    def queue_if_it_fits(self, jobs: Sequence[FaceJob]) -> Queued | None:
        """`queue`, or None where memory is too short for as many."""
        try:
            return self.queue(jobs)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        return None
