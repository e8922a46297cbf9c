"""Finding faces in a picture: BlazeFace, which says where they are and how they are turned."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.faces.tflite import RgbPicture, read_net, run, sigmoid

_DETECTOR_SIZE = 128
_DETECTOR_GRIDS = ((16, 2), (8, 6))
"""Cells a side and anchors a cell, in the order of the detector's output."""
_OVERLAP_SAME_FACE = 0.3


@dataclass(frozen=True, slots=True)
class Detection:
    """A face as the detector sees it: center, side of its square box, in-plane angle; pixels."""

    x: float
    y: float
    size: float
    angle: float
    """Radians, positive if the viewer's right eye is lower than the left one."""
    score: float


class FaceDetector:
    """All faces in a picture. Bound to the thread that made it."""

    def __init__(self, *, min_score: float = 0.5) -> None:
        self._net = read_net("face_detection_short_range.tflite")
        self._min_score = min_score
        self._anchors = _anchors()

    def detect(self, picture: RgbPicture, *, is_thorough: bool = True) -> list[Detection]:
        """Return the faces in ``picture``, largest first.

        The net sees 128 pixels. Where it finds nothing in the whole picture, a thorough look shows
        it parts as well, so that a face in the middle of a wide picture is not too small to be
        seen; where there is none at all that takes up to twenty times as long.
        """
        for side in _sides(picture) if is_thorough else [max(picture.shape[:2])]:
            found: list[Detection] = []
            for part, x, y in _squares(picture, side):
                for face in self._detect(part):
                    face = replace(face, x=face.x + x, y=face.y + y)
                    if not any(_is_same(face, other) for other in found):
                        found.append(face)
            if found:
                return sorted(found, key=lambda detection: -detection.size)
        return []

    def _detect(self, picture: RgbPicture) -> list[Detection]:
        """Return the faces in one square look.

        Of boxes that overlap, the score-weighted mean is taken (as MediaPipe does), which is
        steadier than the best one.
        """
        square, scale, offset = _letterbox(picture, _DETECTOR_SIZE)
        outputs = run(
            self._net, cv2.dnn.blobFromImage(square, 1 / 127.5, mean=(127.5, 127.5, 127.5))
        )
        boxes = next(o for o in outputs if o.size == 16 * len(self._anchors)).reshape(-1, 16)
        logits = next(o for o in outputs if o.size == len(self._anchors)).ravel()
        scores = sigmoid(logits)
        certain = scores > self._min_score
        if not certain.any():
            return []
        scores = scores[certain]
        centers = boxes[certain, :2] + self._anchors[certain] * _DETECTOR_SIZE
        sizes = boxes[certain, 2:4]
        eyes = boxes[certain, 4:8].reshape(-1, 2, 2)

        found: list[Detection] = []
        left = np.argsort(-scores)
        while left.size:
            same = left[_overlap(centers, sizes, left[0], left) > _OVERLAP_SAME_FACE]
            same = same if same.size else left[:1]
            weights = scores[same] / scores[same].sum()
            x, y = (weights @ centers[same] - offset) / scale
            right, down = weights @ (eyes[same, 1] - eyes[same, 0])
            found.append(
                Detection(
                    x=float(x),
                    y=float(y),
                    size=float((weights @ sizes[same]).max() / scale),
                    angle=float(np.arctan2(down, right)),
                    score=float(scores[left[0]]),
                )
            )
            left = np.setdiff1d(left, same, assume_unique=True)
            left = left[np.argsort(-scores[left])]
        return found


def _anchors() -> NDArray[np.float32]:
    """Centers of the detector's anchors, float32 ``[896, 2]``, in parts of its input."""
    grids = []
    for cells, repeats in _DETECTOR_GRIDS:
        centers = (np.arange(cells) + 0.5) / cells
        y, x = np.meshgrid(centers, centers, indexing="ij")
        grids.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), repeats, axis=0))
    return np.concatenate(grids).astype(np.float32)


def _sides(picture: RgbPicture) -> list[int]:
    """Sides of the squares to look at, one after the other: all, the short side, half of it."""
    height, width = picture.shape[:2]
    return sorted({max(height, width), min(height, width), min(height, width) // 2}, reverse=True)


def _squares(picture: RgbPicture, side: int) -> Iterator[tuple[RgbPicture, int, int]]:
    """Squares that cover the picture and overlap by half, each with its place."""
    height, width = picture.shape[:2]
    for y in _starts(height, side):
        for x in _starts(width, side):
            yield picture[y : y + side, x : x + side], x, y


def _starts(length: int, side: int) -> list[int]:
    steps = max(0, -(-2 * (length - side) // side)) if side else 0
    return [(length - side) * step // steps for step in range(steps + 1)] if steps else [0]


def _is_same(one: Detection, other: Detection) -> bool:
    return float(np.hypot(one.x - other.x, one.y - other.y)) < 0.5 * max(one.size, other.size)


def _letterbox(picture: RgbPicture, side: int) -> tuple[RgbPicture, float, NDArray[np.float64]]:
    """``picture`` in the middle of a black square; the scale and the offset that put it there."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(picture, inner, interpolation=cv2.INTER_AREA)
    left, top = (side - inner[0]) // 2, (side - inner[1]) // 2
    square = np.zeros((side, side, 3), np.uint8)
    square[top : top + inner[1], left : left + inner[0]] = small
    return square, scale, np.array([left, top], np.float64)


def _overlap(
    centers: NDArray[np.float32],
    sizes: NDArray[np.float32],
    best: int,
    others: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Intersection over union of box ``best`` with each of ``others``."""
    low, high = centers - sizes / 2, centers + sizes / 2
    sides = np.minimum(high[best], high[others]) - np.maximum(low[best], low[others])
    common = np.maximum(sides, 0).prod(axis=1)
    union = sizes[best].prod() + sizes[others].prod(axis=1) - common
    return np.asarray(common / np.maximum(union, 1e-6), np.float32)
