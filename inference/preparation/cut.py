"""Cutting clips so that all of them begin and end in the same picture.

A clip's first pictures are those after the rest picture, bent over into its own; its last ones are
bent into those before the rest picture. So every clip begins with the rest picture itself, ends
with the one before it, and what follows it, itself or any other clip, continues as the video did.

Bending is a morph along the optical flow between the two pictures, not a cross-fade: a face that is
a few pixels away moves there instead of appearing twice.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.media.types import Picture
from inference.preparation.choose import BEND, Stretch

Pictures = Callable[[int], Picture]

_EXIT_STEP = 0.7
"""Of a usual step, so that what encoding adds at an IDR does not make it a larger one."""


@dataclass(frozen=True, slots=True)
class Mix:
    """One picture of a clip: ``source`` of the video, bent by ``weight`` to ``towards``."""

    source: int
    towards: int
    weight: float

    def landmarks(self, of: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the landmarks of the mix, float32 ``[468, 2]``, from those of the video."""
        if self.weight == 0:
            return np.asarray(of[self.source], np.float32)
        return np.asarray(
            of[self.source] * (1 - self.weight) + of[self.towards] * self.weight, np.float32
        )


def cut(stretch: Stretch, rest: int) -> list[Mix]:
    """Return the pictures of a clip, in order; see the module."""
    if stretch.is_mirrored:
        return [Mix(place, place, 0.0) for place in _forth_and_back(stretch, rest)]
    mixes = [Mix(place, place, 0.0) for place in range(stretch.start, stretch.end)]
    for k in range(BEND):
        mixes[k] = Mix(stretch.start + k, rest + k, _eased(1 - k / BEND))
        last = stretch.end - BEND + k
        mixes[k - BEND] = Mix(last, rest - BEND + k, _eased((k + 1) / BEND))
    return mixes


def sources(mixes: list[Mix]) -> set[int]:
    """Return the pictures of the video that a clip is made of."""
    return {mix.source for mix in mixes} | {mix.towards for mix in mixes}


def assemble(mixes: list[Mix], pictures: Pictures) -> Iterator[Picture]:
    """Yield the pictures of a clip; ``pictures`` gives those of the video."""
    for mix in mixes:
        if mix.weight == 0 or mix.source == mix.towards:
            yield pictures(mix.source)
        elif mix.weight == 1:
            yield pictures(mix.towards)
        else:
            yield morph(pictures(mix.source), pictures(mix.towards), mix.weight)


def morph(first: Picture, second: Picture, weight: float) -> Picture:
    """Return the picture ``weight`` of the way from ``first`` to ``second``, I420."""
    height, width = first.shape[0] * 2 // 3, first.shape[1]
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    no_guess = np.zeros((height, width, 2), np.float32)
    there = finder.calc(first[:height], second[:height], no_guess.copy())
    back = finder.calc(second[:height], first[:height], no_guess)
    columns, rows = np.meshgrid(
        np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    )
    mixed = np.empty_like(first)
    moves = ((first, there, weight), (second, back, 1 - weight))
    for plane in range(3):
        warped = []
        for picture, flow, part in moves:
            shift = flow if plane == 0 else cv2.resize(flow, (width // 2, height // 2)) / 2
            h, w = shift.shape[:2]
            # Backward along the flow of the same place: exact enough for the few pixels there are.
            x = columns[:h, :w] - part * shift[..., 0]
            y = rows[:h, :w] - part * shift[..., 1]
            warped.append(cv2.remap(_plane(picture, plane), x, y, cv2.INTER_LINEAR, None, 1))
        _plane(mixed, plane)[:] = cv2.addWeighted(warped[0], 1 - weight, warped[1], weight, 0)
    return mixed


def exits(from_rest: NDArray[np.float32], usual_step: float) -> list[int]:
    """Where a clip may be left: after pictures that are less than a step from the rest picture.

    ``from_rest`` float32 ``[frames]``: each picture's distance from rest. The end always is one.
    """
    near = np.flatnonzero(from_rest <= _EXIT_STEP * usual_step) + 1
    return sorted({int(place) for place in near} | {len(from_rest)})


def _plane(picture: Picture, number: int) -> NDArray[np.uint8]:
    height, width = picture.shape[0] * 2 // 3, picture.shape[1]
    if number == 0:
        return picture[:height]
    chroma: NDArray[np.uint8] = picture[height:].reshape(2, height // 2, width // 2)
    return np.asarray(chroma[number - 1])


def _forth_and_back(stretch: Stretch, rest: int) -> list[int]:
    forth = list(range(stretch.start, stretch.end))
    if rest != stretch.start:
        forth.reverse()
    # Neither turning point twice: the loop's next picture is the rest picture again.
    return forth + forth[-2:0:-1]


def _eased(part: float) -> float:
    return part * part * (3 - 2 * part)
