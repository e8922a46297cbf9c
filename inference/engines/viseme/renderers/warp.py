"""A mouth moved on the picture of a real person.

The quiet picture is warped to the shape (`warp_field`), the inside of the mouth is painted into the
opening (`mouth_interior`). Both work on the Y, U and V planes as they are: no color is converted,
and where nothing moves the pixels stay what they were, bit for bit.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.assets.arrays import read_array
from inference.assets.manifest import Manifest, landmarks_path, teeth_path
from inference.engines.viseme.renderers.expression import FacePlace, face_place
from inference.engines.viseme.renderers.eyelids import Eye
from inference.engines.viseme.renderers.face_frame import (
    COLUMNS,
    REACH,
    FaceFrame,
    Floats,
    face_frame,
)
from inference.engines.viseme.renderers.mouth_interior import (
    Placement,
    paint_interior,
    with_own_teeth,
)
from inference.engines.viseme.renderers.mouth_textures import OwnTeeth
from inference.engines.viseme.renderers.tint import Tint
from inference.engines.viseme.renderers.warp_field import ROWS, WarpField, is_rest, warp_field
from inference.engines.viseme.shape import MouthShape
from inference.errors import AvatarInvalid
from inference.media.compositor import planes_of
from inference.media.types import Patch, Picture

Affine = NDArray[np.float64]
"""An affine map, ``[2, 3]``."""

_LANDMARKS = 468
_FACES_KEPT = 1_024
_EYE_CORNERS = (33, 263)
LIDS = (
    ([33, 246, 161, 160, 159, 158, 157, 173, 133], [33, 7, 163, 144, 145, 153, 154, 155, 133]),
    ([362, 398, 384, 385, 386, 387, 388, 466, 263], [362, 382, 381, 380, 374, 373, 390, 249, 263]),
)
"""Landmarks along the upper and the lower lid of each eye, corner to corner."""
_SEAM_PX = 2.2
"""Half the width of the line between lips that the source picture shows apart."""
_SEAM_OPACITY = 0.5
"""Shut lips are parted by a shadow, not by a stroke."""


@dataclass(frozen=True, slots=True, eq=False)
class _Face:
    """What is computed once for a picture."""

    frame: FaceFrame
    tint: Tint
    x: int
    y: int
    width: int
    height: int
    grid: tuple[Floats, Floats]
    """Picture coordinates of the patch's luma samples: x ``[1, width]``, y ``[height, 1]``."""
    to_face: Affine
    """From the patch's pixels to face coordinates."""
    to_table: Affine
    """From the patch's pixels to row and column of a `WarpField`."""


class WarpedMouth:
    """An avatar whose mouth is moved by warping. Thread-safe."""

    def __init__(
        self, landmarks: dict[str, NDArray[np.float32]], teeth: OwnTeeth | None = None
    ) -> None:
        """Prepare to render.

        Args:
            landmarks: Of each clip that shows a face, float32 ``[frames, 468, 2]``, pixels.
            teeth: The person's own; None: they are drawn.
        """
        self._landmarks = landmarks
        self._teeth = teeth
        self._faces: OrderedDict[tuple[str, int], _Face | None] = OrderedDict()
        self._lock = threading.Lock()
        self._places = lru_cache(_FACES_KEPT)(self._find_place)

    @classmethod
    def open(cls, folder: Path, manifest: Manifest) -> "WarpedMouth":
        """Map the landmarks of all clips, and read the teeth.

        Raises:
            AvatarInvalid: they do not fit the clips, or are none.
        """
        landmarks = {}
        for clip in manifest.clips:
            path = landmarks_path(folder, clip.name)
            try:
                found = read_array(path)
            except FileNotFoundError:
                continue
            if found.shape != (clip.frames, _LANDMARKS, 2) or found.dtype != np.float32:
                raise AvatarInvalid(
                    f"{path} holds {found.dtype} {found.shape},"
                    f" clip {clip.name} needs float32 {(clip.frames, _LANDMARKS, 2)}"
                )
            landmarks[clip.name] = found
        if not landmarks:
            raise AvatarInvalid(f"{folder}: no clip has landmarks, so no mouth can be moved")
        return cls(landmarks, OwnTeeth.read(teeth_path(folder)))

    def render(self, clip: str, index: int, picture: Picture, shape: MouthShape) -> Patch | None:
        """Return the region around the mouth with ``shape`` on it.

        None where the picture is right as it is: the shape is the rest pose, or the picture shows
        no face. ``picture`` is frame ``index`` of ``clip``.
        """
        if is_rest(shape):
            return None
        face = self._face(clip, index, picture)
        if face is None:
            return None
        field = warp_field(face.frame, shape)
        y_plane, u_plane, v_plane = _warp(face, field, picture)
        _paint(face, field, shape, (y_plane, u_plane, v_plane), self._teeth)
        return Patch(face.x, face.y, y_plane, u_plane, v_plane)

    def place(self, clip: str, index: int) -> FacePlace | None:
        """Where the upper face is in frame ``index`` of ``clip``; None if it shows no face."""
        return self._places(clip, index)

    def _find_place(self, clip: str, index: int) -> FacePlace | None:
        if clip not in self._landmarks:
            return None
        landmarks = np.asarray(self._landmarks[clip][index], np.float32)
        if not np.isfinite(landmarks).all():
            return None
        left, right = landmarks[_EYE_CORNERS[0]], landmarks[_EYE_CORNERS[1]]
        if float(np.hypot(*(right - left))) < 1:
            return None
        return face_place(
            left, right, tuple(Eye(landmarks[upper], landmarks[lower]) for upper, lower in LIDS)
        )

    def _face(self, clip: str, index: int, picture: Picture) -> _Face | None:
        key = clip, index
        with self._lock:
            if key in self._faces:
                self._faces.move_to_end(key)
                return self._faces[key]
        face = self._look_at(clip, index, picture)
        with self._lock:
            self._faces[key] = face
            if len(self._faces) > _FACES_KEPT:
                self._faces.popitem(last=False)
        return face

    def _look_at(self, clip: str, index: int, picture: Picture) -> _Face | None:
        if clip not in self._landmarks:
            return None
        landmarks = np.asarray(self._landmarks[clip][index], np.float32)
        frame = face_frame(landmarks)
        if frame is None:
            return None
        height, width = _size(picture)
        box = _box_around(frame, (-REACH, REACH), frame.y_range, (0, 0), (width, height))
        if box is None:
            return None
        left, top, right, bottom = box
        to_face = _to_face(frame, left, top)
        return _Face(
            frame=frame,
            tint=with_own_teeth(Tint.of_picture(picture, landmarks, frame.unit), self._teeth),
            x=left,
            y=top,
            width=right - left,
            height=bottom - top,
            grid=(
                np.arange(left, right, dtype=np.float32)[None],
                np.arange(top, bottom, dtype=np.float32)[:, None],
            ),
            to_face=to_face,
            to_table=_to_table(frame) @ np.vstack([to_face, [0, 0, 1]]),
        )


def _box_around(
    frame: FaceFrame,
    xs: tuple[float, float],
    ys: tuple[float, float],
    origin: tuple[int, int],
    size: tuple[int, int],
) -> tuple[int, int, int, int] | None:
    """Return left, top, right, bottom of the rectangle around a part of the face.

    Args:
        frame: The face.
        xs: From where to where the part reaches, in face coordinates.
        ys: The same downwards.
        origin: The pixel that pixels are counted from.
        size: Width and height to which the rectangle is cut.

    Returns:
        Pixels, all even, so that they are whole chroma samples; None if nothing is left.
    """
    corners = np.array([(x, y) for x in xs for y in ys], np.float32)
    box = corners @ frame.to_picture[:, :2].T + frame.to_picture[:, 2] - origin
    left, top = np.clip(np.floor(box.min(axis=0) / 2).astype(int) * 2, 0, None)
    right = min(int(np.ceil(box[:, 0].max() / 2)) * 2, size[0])
    bottom = min(int(np.ceil(box[:, 1].max() / 2)) * 2, size[1])
    if right - left < 2 or bottom - top < 2:
        return None
    return int(left), int(top), right, bottom


def _size(picture: Picture) -> tuple[int, int]:
    return picture.shape[0] * 2 // 3, picture.shape[1]


def _warp(
    face: _Face, field: WarpField, picture: Picture
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    size = (face.width, face.height)
    x, y = (
        _resample(field.across * by_across + field.down * by_down, face.to_table, size)
        for by_across, by_down in face.frame.to_picture[:, :2]
    )
    columns, rows = face.grid
    # Chroma samples lie between the luma samples of their 2x2 block: same movement, half the size.
    half_x = (_half_size(x) + columns[:, ::2]) / 2
    half_y = (_half_size(y) + rows[::2]) / 2
    x += columns
    y += rows
    y_plane, u_plane, v_plane = planes_of(picture)
    return (
        _remap(y_plane, x, y, cv2.INTER_CUBIC),
        _remap(u_plane, half_x, half_y, cv2.INTER_LINEAR),
        _remap(v_plane, half_x, half_y, cv2.INTER_LINEAR),
    )


def _paint(
    face: _Face,
    field: WarpField,
    shape: MouthShape,
    planes: tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]],
    teeth: OwnTeeth | None,
) -> None:
    """Paint the inside of the mouth into the warped planes, and the line between shut lips."""
    frame = face.frame
    margin = 3 / frame.unit
    xs = (frame.left * 1.2, frame.right * 1.2)
    ys = (float(field.upper.min()) - margin, float(field.lower.max()) + margin)
    box = _box_around(frame, xs, ys, (face.x, face.y), (face.width, face.height))
    if box is None:
        return
    left, top, right, bottom = box
    to_table, size = _from(left, top, face.to_table), (right - left, bottom - top)
    below, above, apart = (
        _resample(plane, to_table, size)
        for plane in (field.below_upper, field.above_lower, field.seam)
    )
    opacity = _opacity(below, above, apart, frame.unit) * np.float32(field.awake)
    if not opacity.any():
        return
    place = Placement(_from(left, top, face.to_face), below, above)
    middle = COLUMNS // 2
    painted = paint_interior(
        place,
        shape,
        face.tint,
        lip_line=float(frame.inner_upper[middle] + frame.inner_lower[middle]) / 2,
        floor=float(field.lower[middle]),
        own=teeth,
    )
    whole = (slice(top, bottom), slice(left, right))
    half = (slice(top // 2, bottom // 2), slice(left // 2, right // 2))
    _blend(planes[0], whole, painted[0], opacity)
    opacity = _half_size(opacity)
    for plane, chroma in zip(planes[1:], painted[1:], strict=True):
        _blend(plane, half, _half_size(chroma), opacity)


def _opacity(below: Floats, above: Floats, apart: Floats, unit: float) -> Floats:
    """Return how much of the inside is seen, and of the line between shut lips; see `WarpField`."""
    inside_px = np.minimum(below, above) * unit
    seam = _SEAM_OPACITY * apart * np.clip(1 + inside_px / _SEAM_PX, 0, 1)
    # An edge half a pixel outside covers what the warp has squeezed into it, but only once open.
    rim = np.clip((below + above) * unit / 3, 0, 0.5)
    opacity: Floats = np.maximum(np.clip(inside_px + rim, 0, 1), seam)
    return opacity


def _blend(
    plane: NDArray[np.uint8], where: tuple[slice, slice], painted: Floats, opacity: Floats
) -> None:
    under = plane[where].astype(np.float32)
    plane[where] = np.rint(np.clip(under + (painted - under) * opacity, 0, 255)).astype(np.uint8)


def _to_face(frame: FaceFrame, x: int, y: int) -> Affine:
    """Return the map to face coordinates from pixels counted from ``x, y``."""
    to_picture = frame.to_picture.astype(np.float64)
    to_picture[:, 2] -= (x, y)
    return np.asarray(cv2.invertAffineTransform(to_picture), np.float64)


def _to_table(frame: FaceFrame) -> Affine:
    """Return the map from face coordinates to column and row of a `WarpField`."""
    low, high = frame.y_range
    across, down = (COLUMNS - 1) / (2 * REACH), (ROWS - 1) / (high - low)
    return np.array([[across, 0, REACH * across], [0, down, -low * down]])


def _from(x: int, y: int, affine: Affine) -> Affine:
    """Return an affine map of pixels for pixels that are counted from ``x, y``."""
    moved = affine.copy()
    moved[:, 2] += affine[:, 0] * x + affine[:, 1] * y
    return moved


def _resample(plane: Floats, from_pixels: Affine, size: tuple[int, int]) -> Floats:
    return np.asarray(
        cv2.warpAffine(
            plane,
            from_pixels,
            size,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        np.float32,
    )


def _half_size(samples: Floats) -> Floats:
    """Return the mean of each 2x2 block."""
    size = (samples.shape[1] // 2, samples.shape[0] // 2)
    return np.asarray(cv2.resize(samples, size, interpolation=cv2.INTER_AREA), np.float32)


def _remap(
    plane: NDArray[np.uint8],
    x: NDArray[np.floating[Any]],
    y: NDArray[np.floating[Any]],
    interpolation: int,
) -> NDArray[np.uint8]:
    return np.asarray(
        cv2.remap(plane, x, y, interpolation, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )
