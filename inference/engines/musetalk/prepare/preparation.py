"""From a clip's pictures and face meshes to what the engine keeps of it: 545 GFLOP a picture.

Each picture for itself: one without a face, or with a face that cannot be boxed, gets an empty
patch and shifts nothing.
"""

import itertools
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from inference.engines.musetalk.constants import LATENT_SIZE
from inference.engines.musetalk.execution.thread_priority import lower_thread_priority
from inference.engines.musetalk.face import latents
from inference.engines.musetalk.face.boxes import Box, crop_box, mesh_box, with_margin
from inference.engines.musetalk.face.masks import (
    Mask,
    face_region,
    oval_region,
    parsing_pixels,
    soft_mask,
    square_crop,
)
from inference.engines.musetalk.prepare.avatar import FaceClip
from inference.engines.musetalk.prepare.background import Progress
from inference.engines.musetalk.prepare.encoding import FaceNets, FacePixels
from inference.engines.musetalk.prepare.threads import drawn, mapped
from inference.media.types import Picture, Rectangle

_NOWHERE = Rectangle(0, 0, 0, 0)

_THREADS = min(4, max(1, (os.cpu_count() or 1) // 4))
"""That cut and mask beside a GPU: one of them did 60 pictures a second on a busy AMD EPYC."""


def to_bgr(picture: Picture) -> NDArray[np.uint8]:
    """I420, limited range, BT.601 → uint8 BGR."""
    bgr: NDArray[np.uint8] = cv2.cvtColor(picture, cv2.COLOR_YUV2BGR_I420).astype(np.uint8)
    return bgr


def patch_of(box: Box, mask: Mask, width: int, height: int) -> tuple[Rectangle, Mask]:
    """Return the rectangle that blending can change, even-aligned, and the mask over it.

    ``mask`` covers the crop box. Outside the face box the blending pastes the picture on itself, so
    there the mask does not count.
    """
    crop = crop_box(box)
    whole = np.zeros((height, width), np.uint8)
    x1, y1 = max(box.x1, crop.x1, 0), max(box.y1, crop.y1, 0)
    x2, y2 = min(box.x2, crop.x2, width), min(box.y2, crop.y2, height)
    if x1 >= x2 or y1 >= y2:
        return _NOWHERE, np.zeros((0, 0), np.uint8)
    whole[y1:y2, x1:x2] = mask[y1 - crop.y1 : y2 - crop.y1, x1 - crop.x1 : x2 - crop.x1]
    rows, columns = np.flatnonzero(whole.any(1)), np.flatnonzero(whole.any(0))
    if not len(rows):
        return _NOWHERE, np.zeros((0, 0), np.uint8)
    left, top = int(columns[0]) // 2 * 2, int(rows[0]) // 2 * 2
    right, bottom = (int(columns[-1]) // 2 + 1) * 2, (int(rows[-1]) // 2 + 1) * 2
    return Rectangle(left, top, right - left, bottom - top), whole[top:bottom, left:right]


@dataclass(frozen=True, slots=True, eq=False)
class FoundFace:
    """A face that was found in a picture."""

    box: Box
    mesh: NDArray[np.float32]
    """``[468, 2]``, pixels."""
    width: int
    """Of the picture, as ``height``."""
    height: int
    pixels: FacePixels


class ClipPreparer:
    """Prepares clips; the nets are on ``device``. Without a face parser, see `masks`.

    Pictures are cut, and masks made, in threads: the nets wait for them no more than they must.
    """

    def __init__(
        self,
        encoder: Any,
        face_parsing: Any | None,
        device: torch.device,
        *,
        batch: int | None = None,
    ) -> None:
        """Take nets that are on the device already; see `FaceNets`."""
        self.device = device
        self._nets = FaceNets(encoder, face_parsing, device, batch=batch)
        self._threads = 1 if device.type == "cpu" else _THREADS

    @property
    def mask_source(self) -> str:
        return "parsing" if self._nets.has_parser else "oval"

    def warm_up(self) -> None:
        """Have the device find its algorithms now; RuntimeError as it comes."""
        self._nets.warm_up()

    def prepare(
        self,
        pictures: Iterable[tuple[Picture, NDArray[np.float32]]],
        count: int,
        progress: Progress | None = None,
    ) -> FaceClip:
        """Prepare the ``count`` pictures of a clip.

        Args:
            pictures: Each with its mesh ``[468, 2 or 3]``, pixels; NaN where no face was found.
                They are drawn in a thread of their own, while those before are worked on.
            count: How many there are.
            progress: Called after each picture.
        """
        faces = np.zeros((count, 8, LATENT_SIZE, LATENT_SIZE), np.float16)
        places = np.zeros((count, 8), np.int32)
        waiting: deque[tuple[int, FoundFace]] = deque()
        masked: list[tuple[int, Box, Future[tuple[Rectangle, Mask]]]] = []
        done = itertools.count(1)

        def note() -> None:
            number = next(done)
            if progress:
                progress(number, count)

        with ExitStack() as ended:
            drawing, working = (_give_threads(ended, number) for number in (1, self._threads))
            ahead = self._threads + 2 * self._nets.batch

            def found() -> Iterator[FacePixels]:
                find = partial(find_face, has_parser=self._nets.has_parser)
                seen = drawn(pictures, drawing, ahead)
                for index, face in enumerate(mapped(find, seen, working, ahead)):
                    if face is None:
                        note()
                    else:
                        waiting.append((index, face))
                        yield face.pixels

            for one in self._nets.each(found()):
                index, face = waiting.popleft()
                faces[index] = one.latents
                # Not the face itself: its pixels take 1 MB a picture.
                masked.append((index, face.box, working.submit(patch_and_mask, face, one.parts)))
                note()
            masks = [np.zeros((0, 0), np.uint8)] * count
            for index, box, made in masked:
                patch, masks[index] = made.result()
                if patch is _NOWHERE:
                    faces[index] = 0
                else:
                    places[index] = (*box, *patch)
        return FaceClip(faces, _stacked(masks), places)


def find_face(seen: tuple[Picture, NDArray[np.float32]], *, has_parser: bool) -> FoundFace | None:
    """Cut out what the nets are shown of a picture with its mesh; None if there is no face."""
    picture, mesh = seen[0], seen[1][:, :2]
    box = mesh_box(mesh) if np.isfinite(mesh).all() else None
    if box is None:
        return None
    bgr = to_bgr(picture)
    height, width = bgr.shape[:2]
    box = with_margin(box, width, height)
    if box.width <= 0 or box.height <= 0:
        return None
    face = np.ascontiguousarray(latents.face_crop(bgr, box)[..., ::-1])
    square = parsing_pixels(square_crop(bgr, crop_box(box))) if has_parser else None
    return FoundFace(box, mesh, width, height, FacePixels(face, square))


def _give_threads(ended: ExitStack, number: int) -> ThreadPoolExecutor:
    """Threads that end with ``ended``, whatever still waits for them."""
    threads = ThreadPoolExecutor(number, "musetalk-preparing", initializer=lower_thread_priority)
    ended.callback(threads.shutdown, cancel_futures=True)
    return threads


def patch_and_mask(face: FoundFace, parts: NDArray[np.uint8] | None) -> tuple[Rectangle, Mask]:
    """Return what is replaced of a picture, and how softly; by the oval without face parts."""
    if parts is None:
        region = oval_region(face.mesh, crop_box(face.box))
    else:
        region = face_region(parts, "jaw")
    return patch_of(face.box, soft_mask(region, face.box), face.width, face.height)


def _stacked(masks: list[Mask]) -> NDArray[np.uint8]:
    height = max((mask.shape[0] for mask in masks), default=0)
    width = max((mask.shape[1] for mask in masks), default=0)
    stack = np.zeros((len(masks), height, width), np.uint8)
    for plane, mask in zip(stack, masks, strict=True):
        plane[: mask.shape[0], : mask.shape[1]] = mask
    return stack
