"""How the camera moved while a person was filmed.

An avatar's clips are cut from different moments and joined. If the camera moved between them, the
background swims behind a head that the joins hold still. So the background, which is all
beside the person, is followed from picture to picture: corners by optical flow, and of their moves
the similarity (shift, turn, zoom) that most of them agree on. Where there is nothing to follow, as
on a plain wall, nothing would be seen to swim either.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.faces.mesh import Face
from inference.faces.tflite import RgbPicture

Floats = NDArray[np.float32]

_SIDE = 320
"""Longer side of the pictures that are compared."""
_MOST_CORNERS, _LEAST_CORNERS = 80, 12
_AGREEING = 0.6
"""Share of the corners that must agree, else something else moves, or it cannot be known."""
_NEAR = 1.0
"""Pixels within which a corner agrees, and comes back when it is followed backwards."""
_PERSON_WIDTH, _HAIR = 2.2, 0.5
"""The person: a column below the top of the hair, in widths and heights of the face, and all that
is below the chin, where shoulders and arms are."""
_WINDOW = 100
"""Pictures within which a movement counts: the length of a clip, about."""


@dataclass(frozen=True, slots=True, eq=False)
class _Anchor:
    """A picture that later ones are compared with, so that small errors do not add up.

    ``corners`` float32 ``[k, 1, 2]``: of its background; ``total`` ``[3, 3]``: the path up to it.
    """

    gray: NDArray[np.uint8]
    corners: Floats
    total: NDArray[np.float64]

    @classmethod
    def of(
        cls, gray: NDArray[np.uint8], mask: NDArray[np.uint8], total: NDArray[np.float64]
    ) -> "_Anchor | None":
        """Make an anchor of a picture; None if nothing in its background can be followed."""
        corners = cv2.goodFeaturesToTrack(gray, _MOST_CORNERS, 0.02, 6, mask=mask)
        if corners is None or len(corners) < _LEAST_CORNERS:
            return None
        return cls(gray, np.asarray(corners, np.float32), total)


class CameraPath:
    """The camera's movement over one video, picture by picture."""

    def __init__(self) -> None:
        self._anchor: _Anchor | None = None
        self._before: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None
        self._total = np.eye(3)
        self._path: list[NDArray[np.float64]] = []

    def add(self, picture: RgbPicture, face: Face | None, *, is_cut: bool, scale: float) -> None:
        """Take the next picture.

        Args:
            picture: RGB.
            face: The person in it; without it the camera counts as still.
            is_cut: The scene changed before it.
            scale: Pixels of ``picture`` for one of the full picture, the path's unit.
        """
        scale_down = _SIDE / max(picture.shape[:2])
        small = cv2.resize(
            picture, None, fx=scale_down, fy=scale_down, interpolation=cv2.INTER_AREA
        )
        gray = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
        if face is None or is_cut:
            self._anchor = self._before = None
        if face is not None:
            mask = _beside(face.landmarks[:, :2] * scale_down, gray.shape)
            self._follow(gray, scale_down * scale)
            if self._anchor is None:
                self._anchor = _Anchor.of(gray, mask, self._total)
            self._before = gray, mask
        self._path.append(self._total)

    def repeat(self) -> None:
        """Take the same picture once more."""
        self._path.append(self._total)

    def matrices(self) -> Floats:
        """Return where the first picture's background is in each, float32 ``[n, 2, 3]``, affine."""
        return np.array(self._path, np.float32).reshape(-1, 3, 3)[:, :2]

    def _follow(self, gray: NDArray[np.uint8], scale: float) -> None:
        """Find the camera's move since the anchor, or since the picture before as a new anchor."""
        for _ in range(2):
            if self._anchor is not None:
                move = _move(self._anchor, gray)
                if move is not None:
                    move[:2, 2] /= scale
                    self._total = move @ self._anchor.total
                    return
            self._anchor = self._before and _Anchor.of(*self._before, self._total)
            self._before = None
        self._anchor = None


def swing(camera: Floats, corners: Floats) -> Floats:
    """Measure how far the background moves around each picture.

    Args:
        camera: float32 ``[n, 2, 3]``, as `CameraPath.matrices` gives them.
        corners: float32 ``[k, 2]``, the places whose movement counts.

    Returns:
        float32 ``[n]``: the farthest that any of the places moves within a clip's length.
    """
    places = np.einsum("nij,kj->nki", camera[..., :2], corners) + camera[:, None, :, 2]
    flat = places.reshape(len(places), -1)
    reach = np.ones((min(_WINDOW, 2 * len(flat)), 1), np.uint8)
    ranges = cv2.dilate(flat, reach) - cv2.erode(flat, reach)
    return np.asarray(np.hypot(ranges[:, ::2], ranges[:, 1::2]).max(axis=1), np.float32)


def _beside(points: Floats, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Make a mask of what is not the person."""
    low, high = points.min(axis=0), points.max(axis=0)
    width, height = high - low
    middle, half = (low[0] + high[0]) / 2, _PERSON_WIDTH * width / 2
    left, right = (int(np.clip(x, 0, shape[1])) for x in (middle - half, middle + half))
    top, chin = (int(np.clip(y, 0, shape[0])) for y in (low[1] - _HAIR * height, high[1]))
    mask = np.full(shape, 255, np.uint8)
    mask[top:, left:right] = 0
    mask[chin:] = 0
    return mask


def _move(anchor: _Anchor, gray: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    """Find the similarity ``[3, 3]`` from the anchor to a picture; None if it cannot be known."""
    corners = anchor.corners
    moved, is_found, _ = cv2.calcOpticalFlowPyrLK(
        anchor.gray, gray, corners, np.empty_like(corners)
    )
    back, is_back, _ = cv2.calcOpticalFlowPyrLK(gray, anchor.gray, moved, np.empty_like(corners))
    returns = np.linalg.norm((back - corners)[:, 0], axis=1) < _NEAR
    is_good = returns & (is_found[:, 0] == 1) & (is_back[:, 0] == 1)
    if is_good.sum() < _LEAST_CORNERS:
        return None
    matrix, agrees = cv2.estimateAffinePartial2D(
        corners[is_good], moved[is_good], ransacReprojThreshold=_NEAR
    )
    if matrix is None or agrees.mean() < _AGREEING:
        return None
    return np.vstack([matrix, [0, 0, 1]])
