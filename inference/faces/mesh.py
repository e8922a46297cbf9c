"""Finding a face and its 468 landmarks in a picture.

Two nets, both of MediaPipe and under the Apache license: BlazeFace says where faces are
(`detector`), Face Mesh puts 468 points on one of them.

Face Mesh wants its face upright and filling two thirds of a square of 192 pixels. In a video that
square is taken from the landmarks of the picture before; the detector is asked only for the first
picture and when the face was lost: tracking is steadier, and three times as fast as finding.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.faces.detector import Detection, FaceDetector
from inference.faces.tflite import RgbPicture, read_net, run, sigmoid

Landmarks = NDArray[np.float32]
"""float32 ``[468, 3]``: x, y in pixels of the picture, z in the same unit, smaller is nearer."""

LANDMARK_COUNT = 468

LEFT_EYE_OUTER, RIGHT_EYE_OUTER = 33, 263
"""As the viewer sees them; likewise all names below."""

INNER_UPPER_LIP, INNER_LOWER_LIP = 13, 14
LEFT_MOUTH_CORNER, RIGHT_MOUTH_CORNER = 61, 291

_MESH_SIZE = 192
_MESH_MARGIN = 1.5


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


class Crop(NamedTuple):
    """How another look at a face differs from the usual one.

    ``right``, ``down``: where its middle is, in sides of the usual square; ``zoom``: how much
    larger the square is; ``turn``: by how many radians it is turned.
    """

    right: float = 0.0
    down: float = 0.0
    zoom: float = 1.0
    turn: float = 0.0


class FaceMesh:
    """Landmarks of one face, followed from picture to picture.

    Bound to the thread that made it, and to one video at a time: `forget` before another one, or
    after a cut.
    """

    def __init__(self, *, min_score: float = 0.5) -> None:
        self._net = read_net("face_landmark.tflite")
        self._detector = FaceDetector()
        self._min_score = min_score
        self._last: Face | None = None
        self.is_hidden = False
        """Whether the last `find` saw a face, but nothing that it takes for the whole of one."""

    def forget(self) -> None:
        """Make the next `find` look at the whole picture."""
        self._last = None

    def detect(self, picture: RgbPicture) -> list[Detection]:
        """All faces in ``picture``, largest first."""
        return self._detector.detect(picture)

    def find(
        self, picture: RgbPicture, *, near: Face | None = None, is_thorough: bool = True
    ) -> Face | None:
        """Return the face of the picture before, or one found again if there was none.

        It is None if there is none.

        Then it is the face closest to ``near``, or without it the largest; ``is_thorough`` as in
        `FaceDetector.detect`.
        """
        self.is_hidden = False
        face = self._place(picture, _roi_of_face(self._last)) if self._last else None
        if face is None:
            detections = self._detector.detect(picture, is_thorough=is_thorough)
            if near is not None:
                detections.sort(key=lambda found: _distance(found, near))
            for detection in detections:
                face = self.find_at(picture, detection)
                if face is not None:
                    break
            self.is_hidden = face is None and bool(detections)
        self._last = face
        return face

    def find_at(self, picture: RgbPicture, detection: Detection) -> Face | None:
        """Return the landmarks of a detected face, without regard to the picture before."""
        rough = self._place(picture, _roi_of_detection(detection))
        # Once more from its own landmarks: what a tracked face would get, less a little bias.
        return self._place(picture, _roi_of_face(rough)) if rough else None

    def find_again(self, picture: RgbPicture, face: Face, crop: Crop) -> Face | None:
        """Return the landmarks of a face that was found in ``picture``, by another look at it.

        Where the mesh puts a point depends a little on where the face is in its square: the mean
        of several looks is steadier than any of them.
        """
        usual = _roi_of_face(face)
        x, y = usual.x + crop.right * usual.size, usual.y + crop.down * usual.size
        return self._place(picture, _Roi(x, y, usual.size * crop.zoom, usual.angle + crop.turn))

    def _place(self, picture: RgbPicture, roi: "_Roi") -> Face | None:
        to_roi = roi.matrix()
        crop = cv2.warpAffine(picture, to_roi, (_MESH_SIZE, _MESH_SIZE), flags=cv2.INTER_LINEAR)
        outputs = run(self._net, cv2.dnn.blobFromImage(crop, 1 / 255))
        score = float(sigmoid(next(o for o in outputs if o.size == 1).ravel())[0])
        if score < self._min_score:
            return None
        points = next(o for o in outputs if o.size == LANDMARK_COUNT * 3).reshape(-1, 3)
        back = cv2.invertAffineTransform(to_roi)
        landmarks = np.empty((LANDMARK_COUNT, 3), np.float32)
        landmarks[:, :2] = points[:, :2] @ back[:, :2].T + back[:, 2]
        landmarks[:, 2] = points[:, 2] * roi.size / _MESH_SIZE
        return Face(landmarks, score)


def lip_gaps(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far mouths are open: the gap of the inner lips, in mouth widths.

    Args:
        landmarks: float32 ``[n, 468, 2 or 3]``; NaN where there is no face.

    Returns:
        float32 ``[n]``; about .02 where the lips rest on each other.
    """

    def distance(a: int, b: int) -> NDArray[np.float32]:
        return np.asarray(np.linalg.norm(landmarks[:, a, :2] - landmarks[:, b, :2], axis=-1))

    gaps = distance(INNER_UPPER_LIP, INNER_LOWER_LIP)
    return np.asarray(gaps / distance(LEFT_MOUTH_CORNER, RIGHT_MOUTH_CORNER), np.float32)


@dataclass(frozen=True, slots=True)
class _Roi:
    """A rotated square of the picture."""

    x: float
    y: float
    size: float
    angle: float

    def matrix(self) -> NDArray[np.float64]:
        """Return the affine map ``[2, 3]`` from the picture to the mesh's input."""
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
