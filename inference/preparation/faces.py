"""Finding a face and its 468 landmarks in a picture.

Two nets, both of MediaPipe and under the Apache licence (see `nets/NOTICE`): BlazeFace says where
faces are, Face Mesh puts 468 points on one of them. They are run by OpenCV alone, so that neither
preparation nor the lip-sync score needs a package that the server does not have anyway.

Face Mesh wants its face upright and filling two thirds of a square of 192 pixels. In a video that
square is taken from the landmarks of the picture before; the detector is asked only for the first
picture and when the face was lost: tracking is steadier, and three times as fast as finding.
OpenCV's newer graph engine loses the detector's scores, hence the classic one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

RgbPicture = NDArray[np.uint8]
"""uint8 ``[height, width, 3]``, red first."""

Landmarks = NDArray[np.float32]
"""float32 ``[468, 3]``: x, y in pixels of the picture, z in the same unit, smaller is nearer."""

LANDMARK_COUNT = 468

LEFT_EYE_OUTER, RIGHT_EYE_OUTER = 33, 263
"""As the viewer sees them; likewise all names below."""

_NETS = Path(__file__).parent / "nets"
_DETECTOR_SIZE = 128
_DETECTOR_GRIDS = ((16, 2), (8, 6))
"""Cells a side and anchors a cell, in the order of the detector's output."""
_MESH_SIZE = 192
_MESH_MARGIN = 1.5
_OVERLAP_SAME_FACE = 0.3
_FLOAT_LIMIT = 80.0


@dataclass(frozen=True, slots=True)
class Detection:
    """A face as the detector sees it: centre, side of its square box, in-plane angle; pixels."""

    x: float
    y: float
    size: float
    angle: float
    """Radians, positive if the viewer's right eye is lower than the left one."""
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """A face with its landmarks; ``score`` 0..1 is the mesh's belief that it is one."""

    landmarks: Landmarks
    score: float

    @property
    def interocular(self) -> float:
        """Distance of the outer corners of the eyes, pixels: the yardstick of the face."""
        return float(np.linalg.norm(np.subtract(*self.landmarks[[33, 263], :2])))

    @property
    def size(self) -> float:
        """The longer side of the landmarks' bounding box, pixels."""
        return float(np.ptp(self.landmarks[:, :2], axis=0).max())


class FaceDetector:
    """All faces in a picture. Bound to the thread that made it."""

    def __init__(self, *, min_score: float = 0.5) -> None:
        self._net = _read_net("face_detection_short_range.tflite")
        self._min_score = min_score
        self._anchors = _anchors()

    def detect(self, picture: RgbPicture, *, is_thorough: bool = True) -> list[Detection]:
        """The faces in ``picture``, largest first.

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
        """The faces in one square look.

        Of boxes that overlap, the score-weighted mean is taken (as MediaPipe does), which is
        steadier than the best one.
        """
        square, scale, offset = _letterbox(picture, _DETECTOR_SIZE)
        outputs = _run(
            self._net, cv2.dnn.blobFromImage(square, 1 / 127.5, mean=(127.5, 127.5, 127.5))
        )
        boxes = next(o for o in outputs if o.size == 16 * len(self._anchors)).reshape(-1, 16)
        logits = next(o for o in outputs if o.size == len(self._anchors)).ravel()
        scores = _sigmoid(logits)
        certain = scores > self._min_score
        if not certain.any():
            return []
        scores = scores[certain]
        centres = boxes[certain, :2] + self._anchors[certain] * _DETECTOR_SIZE
        sizes = boxes[certain, 2:4]
        eyes = boxes[certain, 4:8].reshape(-1, 2, 2)

        found: list[Detection] = []
        left = np.argsort(-scores)
        while left.size:
            same = left[_overlap(centres, sizes, left[0], left) > _OVERLAP_SAME_FACE]
            same = same if same.size else left[:1]
            weights = scores[same] / scores[same].sum()
            x, y = (weights @ centres[same] - offset) / scale
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


class FaceMesh:
    """Landmarks of one face, followed from picture to picture.

    Bound to the thread that made it, and to one video at a time: `forget` before another one, or
    after a cut.
    """

    def __init__(self, *, min_score: float = 0.5) -> None:
        self._net = _read_net("face_landmark.tflite")
        self._detector = FaceDetector()
        self._min_score = min_score
        self._last: Face | None = None

    def forget(self) -> None:
        """Make the next `find` look at the whole picture."""
        self._last = None

    def detect(self, picture: RgbPicture) -> list[Detection]:
        """All faces in ``picture``, largest first."""
        return self._detector.detect(picture)

    def find(
        self, picture: RgbPicture, *, near: Face | None = None, is_thorough: bool = True
    ) -> Face | None:
        """The face of the picture before, or one found anew if there was none; None if none.

        Anew means the face closest to ``near``, or without it the largest; ``is_thorough`` as in
        `FaceDetector.detect`.
        """
        face = self._place(picture, _roi_of_face(self._last)) if self._last else None
        if face is None:
            detections = self._detector.detect(picture, is_thorough=is_thorough)
            if near is not None:
                detections.sort(key=lambda found: _distance(found, near))
            for detection in detections:
                face = self.find_at(picture, detection)
                if face is not None:
                    break
        self._last = face
        return face

    def find_at(self, picture: RgbPicture, detection: Detection) -> Face | None:
        """The landmarks of a detected face, without regard to the picture before."""
        rough = self._place(picture, _roi_of_detection(detection))
        # Once more from its own landmarks: what a tracked face would get, less a little bias.
        return self._place(picture, _roi_of_face(rough)) if rough else None

    def _place(self, picture: RgbPicture, roi: "_Roi") -> Face | None:
        to_roi = roi.matrix()
        crop = cv2.warpAffine(picture, to_roi, (_MESH_SIZE, _MESH_SIZE), flags=cv2.INTER_LINEAR)
        outputs = _run(self._net, cv2.dnn.blobFromImage(crop, 1 / 255))
        score = float(_sigmoid(next(o for o in outputs if o.size == 1).ravel())[0])
        if score < self._min_score:
            return None
        points = next(o for o in outputs if o.size == LANDMARK_COUNT * 3).reshape(-1, 3)
        back = cv2.invertAffineTransform(to_roi)
        landmarks = np.empty((LANDMARK_COUNT, 3), np.float32)
        landmarks[:, :2] = points[:, :2] @ back[:, :2].T + back[:, 2]
        landmarks[:, 2] = points[:, 2] * roi.size / _MESH_SIZE
        return Face(landmarks, score)


@dataclass(frozen=True, slots=True)
class _Roi:
    """A rotated square of the picture."""

    x: float
    y: float
    size: float
    angle: float

    def matrix(self) -> NDArray[np.float64]:
        """The affine map ``[2, 3]`` from the picture to the mesh's input."""
        scale = _MESH_SIZE / self.size
        cos, sin = np.cos(self.angle) * scale, np.sin(self.angle) * scale
        turn = np.array([[cos, sin], [-sin, cos]])
        shift = _MESH_SIZE / 2 - turn @ (self.x, self.y)
        return np.column_stack([turn, shift])


def _roi_of_detection(detection: Detection) -> _Roi:
    return _Roi(detection.x, detection.y, detection.size * _MESH_MARGIN, detection.angle)


def _roi_of_face(face: Face) -> _Roi:
    points = face.landmarks[:, :2]
    low, high = points.min(axis=0), points.max(axis=0)
    x, y = (low + high) / 2
    right, down = points[RIGHT_EYE_OUTER] - points[LEFT_EYE_OUTER]
    return _Roi(float(x), float(y), face.size * _MESH_MARGIN, float(np.arctan2(down, right)))


def _distance(detection: Detection, face: Face) -> float:
    x, y = face.landmarks[:, :2].mean(axis=0)
    return float(np.hypot(detection.x - x, detection.y - y))


def _read_net(name: str) -> cv2.dnn.Net:
    return cv2.dnn.readNetFromTFLite(str(_NETS / name), cv2.dnn.ENGINE_CLASSIC)


def _run(net: cv2.dnn.Net, blob: cv2.typing.MatLike) -> list[NDArray[np.float32]]:
    net.setInput(blob)
    outputs = net.forward(net.getUnconnectedOutLayersNames())
    return [np.asarray(output, np.float32) for output in outputs]


def _anchors() -> NDArray[np.float32]:
    """Centres of the detector's anchors, float32 ``[896, 2]``, in parts of its input."""
    grids = []
    for cells, repeats in _DETECTOR_GRIDS:
        centres = (np.arange(cells) + 0.5) / cells
        y, x = np.meshgrid(centres, centres, indexing="ij")
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
    centres: NDArray[np.float32],
    sizes: NDArray[np.float32],
    best: int,
    others: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Intersection over union of box ``best`` with each of ``others``."""
    low, high = centres - sizes / 2, centres + sizes / 2
    sides = np.minimum(high[best], high[others]) - np.maximum(low[best], low[others])
    common = np.maximum(sides, 0).prod(axis=1)
    union = sizes[best].prod() + sizes[others].prod(axis=1) - common
    return np.asarray(common / np.maximum(union, 1e-6), np.float32)


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -_FLOAT_LIMIT, _FLOAT_LIMIT))), np.float32)
