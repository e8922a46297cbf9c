"""The atlas of a drawn mouth: lips for any shape, with what is seen between them.

It holds lips over opening x spread x rounding, and two more rows of openings: the lower lip tucked
under the teeth, and the lips pressed together. Lips are stored with all mouths equally wide, and
blended there: corners meet, so nothing doubles, and the true width comes back with the placement.
Teeth and tongue are separate pieces: the upper teeth belong to the skull and stand still while the
lips move over them.

In the asset folder, under `viseme/`::

    atlas.json      AtlasGeometry
    lips.npy        uint8 [opens + 2, wides, rounds, 3.5 * height, width]: planes on top of each
                    other, luma, chroma (each row u then v, half size), alpha, opening
    measures.npy    float32 [opens + 2, wides, rounds, 3]: half width, and how far the middles of
                    the upper and the lower inner lip lie below the line of the closed lips
    inside.npy      uint8 [3, height, width, 4]: upper teeth, lower teeth, tongue
    cover.npy       uint8 [height, width, 4]: skin to hide the closed lips with
    jaw.npy         float32 [3, height, width, 2]: displacements by opening, spread and rounding
    <clip>.npy      float32 [frames, 2, 3]: of each picture, from canonical pixels to its own about
                    the mouth
    <clip>.eyes.npy the same about the eyes; absent if brows and lids are not to be moved

Colors are YUV (BT.601, limited range) with alpha, premultiplied. Places are *canonical* pixels:
those of a picture with the head at rest.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from inference.assets.arrays import read_array
from inference.engines.viseme.shape import MouthShape
from inference.errors import AvatarInvalid

FOLDER = "viseme"
GEOMETRY_NAME = "atlas.json"
ARRAYS = ("lips", "measures", "inside", "cover", "jaw")

Pixels = NDArray[np.float32]
Texels = NDArray[np.uint8]
Texture = tuple[Pixels, ...]
"""Planes of one size: premultiplied colors, and alpha, 0..1, last."""

_CAVITY_YUV = (38.0, 124.0, 146.0)
_UPPER_TEETH, _LOWER_TEETH, _TONGUE = 0, 1, 2
_TUCK_ROW, _PRESS_ROW = -2, -1
_TUCKED_AT = 0.35
"""Above this opening a mouth cannot be pressed."""

# How the pieces lie as they were drawn, canonical pixels below the line of the closed lips.
_LOWER_TEETH_EDGE = 3.0
_TONGUE_TOP = 4.6
_TONGUE_AT_TEETH = -1.2
_TEETH_HIDDEN_BY = 4.6


class AtlasEyes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The open eyes of the drawn face, canonical pixels."""

    corners: tuple[tuple[float, float], tuple[float, float]]
    """The outer ones, the left one first."""
    lids: list[tuple[list[tuple[float, float]], list[tuple[float, float]]]]
    """Of each eye the edges of the upper and of the lower lid."""
    shut: dict[str, list[int]]
    """Of each clip the pictures in which the eyes are not quite open."""


class AtlasGeometry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where the pieces lie, canonical pixels, and the values along the atlas' axes."""

    scale: float
    """Texels per canonical pixel, of lips and inside."""
    left: float
    top: float
    """Of the lips' textures, at their common width."""
    center_x: float = msgspec.field(name="centre_x")
    half_width: float
    """The common half width of all mouths in the atlas."""
    opens: list[float]
    wides: list[float]
    rounds: list[float]
    cover_left: float
    cover_top: float
    jaw_left: float
    jaw_top: float
    jaw_step: float
    """Canonical pixels from one displacement to the next."""
    region: tuple[float, float, float, float]
    """Left, top, right, bottom of all that may change for the mouth."""
    eyes: AtlasEyes | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Mouth:
    """Lips of one shape with what is between them.

    ``luma``: Y and alpha, float32 ``[height, width]`` each; ``chroma``: U, V and alpha, of half the
    size. Plane by plane: OpenCV places two interleaved planes four times slower than one.
    """

    luma: Texture
    chroma: Texture
    half_width: float


class MouthAtlas:
    """Read only once it is made: any thread may ask."""

    def __init__(self, geometry: AtlasGeometry, arrays: dict[str, NDArray[np.generic]]) -> None:
        """AvatarInvalid if the arrays do not fit the geometry."""
        self.geometry = geometry
        # Still mapped from the file, but without what numpy's own class for that costs a view.
        self._lips = np.asarray(arrays["lips"], np.uint8).view(np.ndarray)
        self._measures = np.asarray(arrays["measures"], np.float32)
        self._inside = np.ascontiguousarray(np.asarray(arrays["inside"], np.uint8))
        self.cover = np.asarray(arrays["cover"], np.float32)
        self.cover[..., 3] /= 255
        self.jaw = np.asarray(arrays["jaw"], np.float32)
        axes = (len(geometry.opens) + 2, len(geometry.wides), len(geometry.rounds))
        if self._lips.shape[:3] != axes or self._measures.shape != (*axes, 3):
            raise AvatarInvalid(f"the mouth atlas does not fit its axes {axes}")
        self._height, self._width = self._lips.shape[3] * 2 // 7, self._lips.shape[4]
        if any(piece.shape != (self._height, self._width, 4) for piece in self._inside):
            raise AvatarInvalid("the inside of the mouth does not fit the lips")

    @classmethod
    def open(cls, home: Path) -> "MouthAtlas":
        """Map the atlas in ``home``; AvatarInvalid if it cannot be read."""
        try:
            geometry = msgspec.json.decode((home / GEOMETRY_NAME).read_bytes(), type=AtlasGeometry)
            arrays = {name: read_array(home / f"{name}.npy") for name in ARRAYS}
        except (OSError, ValueError, msgspec.DecodeError, AvatarInvalid) as error:
            raise AvatarInvalid(f"the mouth atlas in {home} cannot be read: {error}") from None
        return cls(geometry, arrays)

    def mouth(self, shape: MouthShape) -> Mouth:
        """Return the mouth of ``shape``, continuous in all its values."""
        texels, measure = self._blend(shape)
        height, half = self._height, self._height // 2
        luma = texels[:height].astype(np.float32)
        u_and_v = texels[height : height + half].astype(np.float32)
        u, v = u_and_v[:, : self._width // 2], u_and_v[:, self._width // 2 :]
        shares = np.multiply(texels[height + half :], np.float32(1 / 255), dtype=np.float32)
        alpha, opening = shares[:height], shares[height:]
        small_alpha = halve(alpha)

        half_width, upper, lower = measure.tolist()
        rows = _rows_of(opening)
        if rows.stop > rows.start:
            seen = self._look_inside(shape, opening, rows, half_width, upper, lower)
            under = (1 - alpha[rows]) * opening[rows]
            luma[rows] += seen[0] * under
            alpha[rows] += under
            small_rows, small = slice(rows.start // 2, rows.stop // 2), halve(under)
            u[small_rows] += halve(seen[1]) * small
            v[small_rows] += halve(seen[2]) * small
            small_alpha[small_rows] += small
        return Mouth(luma=(luma, alpha), chroma=(u, v, small_alpha), half_width=half_width)

    def _blend(self, shape: MouthShape) -> tuple[Texels, Pixels]:
        """Lips between the nearest ones of the atlas, and their measures."""
        geometry = self.geometry
        wide = _bracket(geometry.wides, shape.wide)
        rounding = _bracket(geometry.rounds, shape.round)
        near, far, weight = _bracket(geometry.opens, shape.open)
        lips = self._row(near, wide, rounding)
        if weight > 0:
            lips = _lerp(lips, self._row(far, wide, rounding), weight)
        closed = max(0.0, 1 - shape.open / _TUCKED_AT)
        if shape.tuck > 0:
            tucked = self._row(_TUCK_ROW, wide, rounding)
            lips = _lerp(lips, tucked, min(shape.tuck, 1.0) * (0.5 + 0.5 * closed))
        if shape.press * closed > 0:
            lips = _lerp(
                lips, self._row(_PRESS_ROW, wide, rounding), min(shape.press, 1.0) * closed
            )
        return lips

    def _row(
        self, row: int, wide: tuple[int, int, float], rounding: tuple[int, int, float]
    ) -> tuple[Texels, Pixels]:
        columns = [
            _lerp(
                (self._lips[row, column, rounding[0]], self._measures[row, column, rounding[0]]),
                (self._lips[row, column, rounding[1]], self._measures[row, column, rounding[1]]),
                rounding[2],
            )
            for column in wide[:2]
        ]
        return _lerp(columns[0], columns[1], wide[2])

    def _look_inside(
        self,
        shape: MouthShape,
        opening: Pixels,
        rows: slice,
        half_width: float,
        upper: float,
        lower: float,
    ) -> Pixels:
        """Return these rows of the mouth's inside, opaque, YUV ``[3, rows, width]``."""
        seen = np.empty((3, rows.stop - rows.start, self._width), np.float32)
        seen[:] = np.array(_CAVITY_YUV, np.float32)[:, None, None]
        gap = max(lower - upper, 0.0)
        tongue_low = lower - 0.30 * gap - 2.0 - _TONGUE_TOP
        tongue_high = min(tongue_low, _TONGUE_AT_TEETH)
        shown = max(shape.teeth, shape.tuck)
        for piece, down, amount in (
            (_TONGUE, tongue_low + (tongue_high - tongue_low) * shape.tongue, 1.0),
            (_LOWER_TEETH, lower - min(3.4, 0.13 * gap) - _LOWER_TEETH_EDGE, 1 - shape.tongue),
            (_UPPER_TEETH, -(1 - shown) * _TEETH_HIDDEN_BY, 1.0),
        ):
            if amount > 0:
                self._lay_piece(seen, rows.start, piece, down, amount, half_width)
        # Light falls in from the front: what is deep, or just under the upper lip, is darker.
        scale = self.geometry.scale
        light = cv2.GaussianBlur(opening[rows], (0, 0), 3.0 * scale, borderType=cv2.BORDER_CONSTANT)
        sunk = round(1.4 * scale)
        light[sunk:] = light[:-sunk].copy()
        light[:sunk] = 0
        light = np.clip(0.30 + 1.20 * light, 0, 1) * min(1.0, 0.5 + 0.5 * gap / 4)
        seen[0] = 16 + (seen[0] - 16) * light
        seen[1:] = 128 + (seen[1:] - 128) * (0.4 + 0.6 * light)
        return seen

    def _lay_piece(
        self,
        seen: Pixels,
        first_row: int,
        piece: int,
        down: float,
        amount: float,
        half_width: float,
    ) -> None:
        """Lay teeth or tongue over ``seen``, ``down`` below their place at rest."""
        geometry = self.geometry
        stretch = geometry.half_width / half_width
        middle = (geometry.center_x - geometry.left) * geometry.scale - 0.5
        matrix = np.array(
            [
                [stretch, 0, middle * (1 - stretch)],
                [0, 1, down * geometry.scale - first_row],
            ]
        )
        laid = cv2.warpAffine(self._inside[piece], matrix, (self._width, seen.shape[1]))
        *colors, alpha = cv2.split(laid)
        rest = 1 - alpha * np.float32(amount / 255)
        for plane, color in zip(seen, colors, strict=True):
            plane *= rest
            plane += color if amount == 1 else color * np.float32(amount)


def _rows_of(opening: Pixels) -> slice:
    """Return the rows in which there is an opening: an even number from an even one on."""
    seen = np.flatnonzero(cv2.reduce(opening, 1, cv2.REDUCE_MAX))
    if not seen.size:
        return slice(0, 0)
    return slice(int(seen[0]) // 2 * 2, min(int(seen[-1]) // 2 * 2 + 2, len(opening)))


def halve(plane: Pixels) -> Pixels:
    """At half the resolution, as chroma is."""
    size = (plane.shape[1] // 2, plane.shape[0] // 2)
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.float32)


def _bracket(axis: list[float], value: float) -> tuple[int, int, float]:
    """Return the neighbors of ``value`` on ``axis`` and its place between them, 0..1."""
    high = min(max(int(np.searchsorted(axis, value)), 1), len(axis) - 1)
    low = high - 1
    weight = (value - axis[low]) / (axis[high] - axis[low])
    return low, high, min(max(float(weight), 0.0), 1.0)


def _lerp(
    first: tuple[Texels, Pixels], second: tuple[Texels, Pixels], weight: float
) -> tuple[Texels, Pixels]:
    if weight <= 0:
        return first
    if weight >= 1:
        return second
    texels = cv2.addWeighted(first[0], 1 - weight, second[0], weight, 0)
    return np.asarray(texels, np.uint8), first[1] * (1 - weight) + second[1] * weight
