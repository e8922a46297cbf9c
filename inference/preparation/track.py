"""Following one person's face through a video.

One pass over the pictures gives everything that later stages choose by, in arrays with one row for
each picture, so that they cannot get out of step. The pictures themselves are not kept, only a
thumbnail around the face.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.engines.viseme.renderers.face_frame import (
    INNER_LOWER,
    INNER_UPPER,
    OUTER_LOWER,
    OUTER_UPPER,
)
from inference.errors import PreparationError
from inference.faces.mesh import (
    LANDMARK_COUNT,
    LEFT_MOUTH_CORNER,
    RIGHT_MOUTH_CORNER,
    Face,
    FaceMesh,
)
from inference.faces.tflite import RgbPicture
from inference.preparation.camera import CameraPath
from inference.preparation.covering import MouthLook, look_at_mouth

THUMBNAIL = 64
_TRACKED_SIDE = 960
"""Longer side of the pictures that the nets see; more would only cost time."""
_THUMBNAIL_FACES = 2.6
"""Side of the thumbnail, in faces."""
_CUT_DIFFERENCE = 34.0
"""Mean difference of two thumbnails from which on the scene has changed, of 255."""
_JUMP = 0.03
"""Of a face's height, by which it jumps where pictures are left out, as in an edited video."""
_JUMP_RATIO = 4.0
"""So many times as far as it moves around then; the thumbnail changes that much, too."""
_JUMP_AROUND = 3
"""Pictures before and after that count as around; at 10 a second one of them moves."""
_FIRM = [10, 151, 9, 168, 6, 33, 133, 362, 263, 70, 300, 234, 454, 127, 356, 1]
"""Landmarks that lips and jaw do not take along."""
_FACE_PATCH = 96
_SECOND = 25
_MOSTLY = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One row for each picture; rows without a face are NaN.

    ``landmarks`` float32 ``[n, 468, 3]``, pixels of the full picture; ``sharpness`` and
    ``brightness`` float32 ``[n]`` of the face (variance of its Laplacian at 96 pixels, mean luma);
    ``mouth_visibility`` and ``tongue`` float32 ``[n]``: as in `covering.MouthLook`;
    ``is_hidden`` bool ``[n]``: something like a face is seen, but not the whole of one;
    ``thumbnails`` uint8 ``[n, 64, 64]``, luma around the place of the first face; ``is_cut`` bool
    ``[n]``, whether the scene changed, or moments were left out, before this picture;
    ``people``: most faces seen at once.
    """

    landmarks: NDArray[np.float32]
    sharpness: NDArray[np.float32]
    brightness: NDArray[np.float32]
    mouth_visibility: NDArray[np.float32]
    tongue: NDArray[np.float32]
    is_hidden: NDArray[np.bool_]
    thumbnails: NDArray[np.uint8]
    is_cut: NDArray[np.bool_]
    people: int
    camera: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.landmarks)

    @property
    def is_found(self) -> NDArray[np.bool_]:
        return np.asarray(np.isfinite(self.landmarks[:, 0, 0]))


def follow(pictures: Iterable[RgbPicture], tell: Callable[[int], None]) -> Track:
    """Track the largest face of the beginning; ``tell`` gets the number of pictures done.

    PreparationError ``no_face`` or ``face_covered`` if there is none in any picture.
    """
    follower = _Follower()
    for number, picture in enumerate(pictures, 1):
        follower.add(picture)
        tell(number)
    return follower.track()


class _Follower:
    def __init__(self) -> None:
        self._mesh = FaceMesh()
        self._landmarks: list[NDArray[np.float32]] = []
        self._sharpness: list[float] = []
        self._brightness: list[float] = []
        self._looks: list[MouthLook] = []
        self._hidden: list[bool] = []
        self._thumbnails: list[NDArray[np.uint8]] = []
        self._cuts: list[bool] = []
        self._box: tuple[int, int, int, int] | None = None
        self._last: Face | None = None
        self._people = 0
        self._camera = CameraPath()
        self._picture: RgbPicture | None = None

    def add(self, picture: RgbPicture) -> None:
        if picture is self._picture:
            self._repeat()
            return
        self._picture = picture
        scale = min(1.0, _TRACKED_SIDE / max(picture.shape[:2]))
        small = picture if scale == 1 else _resized(picture, scale)
        is_cut = self._add_thumbnail(small)
        if is_cut:
            self._mesh.forget()
        if len(self._landmarks) % _SECOND == 0:
            self._people = max(self._people, len(self._mesh.detect(small)))
        is_thorough = len(self._landmarks) % (_SECOND // 2) == 0
        face = self._mesh.find(small, near=self._last, is_thorough=is_thorough)
        self._cuts.append(is_cut)
        self._hidden.append(self._mesh.is_hidden)
        self._camera.add(small, face, is_cut=is_cut, scale=scale)
        if face is None:
            self._landmarks.append(np.full((LANDMARK_COUNT, 3), np.nan, np.float32))
            self._sharpness.append(np.nan)
            self._brightness.append(np.nan)
            self._looks.append(MouthLook(np.nan, np.nan))
            return
        if self._box is None:
            self._box = _thumbnail_box(face, small)
            self._thumbnails = [self._thumbnail(small)] * len(self._thumbnails)
        self._last = face
        self._landmarks.append(face.landmarks / np.float32(scale))
        sharpness, brightness = _appearance(small, face)
        self._sharpness.append(sharpness)
        self._brightness.append(brightness)
        self._looks.append(look_at_mouth(small, face.landmarks))

    def _repeat(self) -> None:
        """Count a picture that came once more, as in a video of a lower rate: nothing is new."""
        self._landmarks.append(self._landmarks[-1])
        self._sharpness.append(self._sharpness[-1])
        self._brightness.append(self._brightness[-1])
        self._looks.append(self._looks[-1])
        self._hidden.append(self._hidden[-1])
        self._thumbnails.append(self._thumbnails[-1])
        self._cuts.append(False)
        self._camera.repeat()

    def track(self) -> Track:
        if self._box is None:
            raise _no_face(np.array(self._hidden))
        looks = np.array(self._looks, np.float32)
        landmarks, thumbnails = np.stack(self._landmarks), np.stack(self._thumbnails)
        return Track(
            landmarks=landmarks,
            sharpness=np.array(self._sharpness, np.float32),
            brightness=np.array(self._brightness, np.float32),
            mouth_visibility=looks[:, 0],
            tongue=looks[:, 1],
            is_hidden=np.array(self._hidden, np.bool_),
            thumbnails=thumbnails,
            is_cut=np.array(self._cuts, np.bool_) | jumps(landmarks, thumbnails),
            people=self._people,
            camera=self._camera.matrices(),
        )

    def _add_thumbnail(self, small: RgbPicture) -> bool:
        """Take the thumbnail of a picture; whether the scene has changed since the last one."""
        thumbnail = self._thumbnail(small)
        before = self._thumbnails[-1] if self._thumbnails else thumbnail
        self._thumbnails.append(thumbnail)
        return float(np.abs(thumbnail.astype(np.int16) - before).mean()) > _CUT_DIFFERENCE

    def _thumbnail(self, small: RgbPicture) -> NDArray[np.uint8]:
        left, top, right, bottom = self._box or (0, 0, small.shape[1], small.shape[0])
        part = cv2.resize(
            small[top:bottom, left:right], (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA
        )
        return np.asarray(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY), np.uint8)


def jumps(landmarks: NDArray[np.float32], thumbnails: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Find where moments are missing, though the scene is the same: the face jumps once.

    Args:
        landmarks: Pixels, float32 ``[n, 468, 3]``, not smoothed; NaN without a face.
        thumbnails: uint8 ``[n, 64, 64]``.

    Returns:
        bool ``[n]``: whether it jumped between a picture and the one before.
    """
    if len(landmarks) < 2:
        return np.zeros(len(landmarks), np.bool_)
    firm = landmarks[:, _FIRM, :2]
    height = np.linalg.norm(landmarks[:, 152, :2] - landmarks[:, 10, :2], axis=-1)
    moves = np.sqrt(np.square(np.diff(firm, axis=0)).sum(axis=-1).mean(axis=-1)) / height[1:]
    changes = np.array(
        [np.abs(b.astype(np.int16) - a).mean() for a, b in itertools.pairwise(thumbnails)]
    )
    moves = np.nan_to_num(moves)
    is_alone = (moves > _JUMP) & _stands_out(moves) & _stands_out(changes)
    return np.append(False, is_alone)


def _stands_out(steps: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Whether each step is much larger than all around it, bool ``[n]``."""
    padded = np.pad(steps, _JUMP_AROUND)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _JUMP_AROUND + 1).copy()
    windows[:, _JUMP_AROUND] = 0
    return np.asarray(steps > _JUMP_RATIO * windows.max(axis=1))


def _no_face(is_hidden: NDArray[np.bool_]) -> PreparationError:
    if is_hidden.mean() >= _MOSTLY:
        return PreparationError(
            "face_covered",
            "A face is there, but not all of it is seen: look at the camera, with nothing before"
            " the face: no hand, mask, scarf, microphone or hair.",
        )
    return PreparationError(
        "no_face",
        "No face was found in any picture: record one person from the front, head and shoulders, in"
        " good light, with nothing before the face: no hand, mask or scarf.",
    )


def _resized(picture: RgbPicture, scale: float) -> RgbPicture:
    return np.asarray(
        cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
    )


def _thumbnail_box(face: Face, picture: RgbPicture) -> tuple[int, int, int, int]:
    x, y = face.landmarks[:, :2].mean(axis=0)
    reach = face.size * _THUMBNAIL_FACES / 2
    height, width = picture.shape[:2]
    return (
        max(0, round(x - reach)),
        max(0, round(y - reach)),
        min(width, round(x + reach)),
        min(height, round(y + reach)),
    )


def _appearance(picture: RgbPicture, face: Face) -> tuple[float, float]:
    low = np.maximum(face.landmarks[:, :2].min(axis=0), 0).astype(int)
    high = np.ceil(face.landmarks[:, :2].max(axis=0)).astype(int)
    part = picture[low[1] : high[1], low[0] : high[0]]
    if part.size == 0:
        return 0.0, 0.0
    gray = cv2.cvtColor(
        cv2.resize(part, (_FACE_PATCH, _FACE_PATCH), interpolation=cv2.INTER_AREA),
        cv2.COLOR_RGB2GRAY,
    )
    return float(cv2.Laplacian(gray, cv2.CV_32F).var()), float(gray.mean())


def smoothed(
    landmarks: NDArray[np.float32], is_cut: NDArray[np.bool_], *, longest_gap: int = 5
) -> NDArray[np.float32]:
    """Landmarks without the nets' tremble, short gaps bridged, longer ones left NaN.

    The head's own movement (shift, turn, size) is smoothed little, the face within it more, so a
    still head is still and a moving one is not left behind. Lips are smoothed as much while they
    rest and hardly while they speak: within a picture or two they close. Filters look both ways:
    nothing lags. Nothing is carried across a cut.
    """
    result = np.array(landmarks, np.float32)
    for start, end in _stretches(result, is_cut, longest_gap):
        part = result[start:end]
        _bridge(part)
        result[start:end] = _steadied(part)
    return result


def _stretches(
    landmarks: NDArray[np.float32], is_cut: NDArray[np.bool_], longest_gap: int
) -> list[tuple[int, int]]:
    """Return runs of pictures that begin and end with a face, without cut or long gap in them."""
    runs: list[tuple[int, int]] = []
    for index in np.flatnonzero(np.isfinite(landmarks[:, 0, 0])):
        place = int(index)
        if (
            runs
            and place - runs[-1][1] <= longest_gap
            and not is_cut[runs[-1][1] : place + 1].any()
        ):
            runs[-1] = (runs[-1][0], place + 1)
        else:
            runs.append((place, place + 1))
    return runs


def _bridge(part: NDArray[np.float32]) -> None:
    known = np.isfinite(part[:, 0, 0])
    places = np.arange(len(part))
    flat = part.reshape(len(part), -1)
    for column in flat.T:
        column[~known] = np.interp(places[~known], places[known], column[known])


def _steadied(part: NDArray[np.float32]) -> NDArray[np.float32]:
    plane = part[..., 0] + 1j * part[..., 1]
    # A similarity in the plane is one complex number and a shift: fit both to the mean face.
    mean = plane.mean(axis=0)
    mean = mean - mean.mean()
    center = plane.mean(axis=1, keepdims=True)
    turn = ((plane - center) @ mean.conj())[:, None] / (np.abs(mean) ** 2).sum()
    seen = (plane - center) / turn
    local = _blurred(seen, _FACE_SIGMA)
    mouth_width = float(np.abs(mean[RIGHT_MOUTH_CORNER] - mean[LEFT_MOUTH_CORNER]))
    local[:, _LIPS] = _blurred_at_rest(seen[:, _LIPS], _FACE_SIGMA, _LIPS_MOVE * mouth_width)
    plane = _blurred(center, _HEAD_SIGMA) + _blurred(turn, _HEAD_SIGMA) * local
    depth = _blurred(part[..., 2], _FACE_SIGMA)
    return np.stack([plane.real, plane.imag, depth], axis=-1).astype(np.float32)


_HEAD_SIGMA, _FACE_SIGMA = 1.0, 1.4
"""Of the Gaussians over time, in pictures."""
_LIPS = sorted({*OUTER_UPPER, *OUTER_LOWER, *INNER_UPPER, *INNER_LOWER})
_LIPS_MOVE = 0.01
"""In mouth widths: the nets tremble by less, lips that speak move by more in a picture."""


def _blurred(curves: NDArray[Any], sigma: float) -> NDArray[Any]:
    """``curves [n, k]`` under a Gaussian along n; the ends are continued by point reflection."""
    reach = min(round(3 * sigma), len(curves) - 1)
    if reach < 1:
        return curves
    weights = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / sigma))
    weights /= weights.sum()
    before = 2 * curves[:1] - curves[reach:0:-1]
    after = 2 * curves[-1:] - curves[-2 : -reach - 2 : -1]
    padded = np.concatenate([before, curves, after])
    blurred = np.zeros_like(curves)
    for shift, weight in enumerate(weights):
        blurred += weight * padded[shift : shift + len(curves)]
    return blurred


def _blurred_at_rest(
    points: NDArray[np.complex128], sigma: float, moves: float
) -> NDArray[np.complex128]:
    """Return points over time, each moment the mean of those near it in time and in place.

    It is a bilateral filter: C. Tomasi, R. Manduchi, Bilateral filtering, ICCV 1998.

    Args:
        points: Complex ``[n, k]``.
        sigma: Of the Gaussian over time.
        moves: Of the one over the distance of all points together.
    """
    reach = min(round(3 * sigma), len(points) - 1)
    total = np.zeros_like(points)
    weights = np.zeros((len(points), 1))
    for shift in range(-reach, reach + 1):
        here = slice(max(0, -shift), len(points) - max(0, shift))
        there = slice(max(0, shift), len(points) - max(0, -shift))
        far = np.square(np.abs(points[there] - points[here])).mean(axis=1, keepdims=True)
        weight = np.exp(-0.5 * (far / moves**2 + (shift / sigma) ** 2))
        total[here] += weight * points[there]
        weights[here] += weight
    return total / weights
