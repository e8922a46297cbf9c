"""The upper face while it speaks: brows that rise, a small nod, a blink, on any picture of a face.

Brows and nod are one displacement of the picture, up and down: smooth bumps in the coordinates of
the face, the same for everybody. Brows rise between lid and forehead; in a nod the features go down
within the outline of the head, which is how a head looks that dips by a few degrees. A blink draws
the lids down over the eyes first (`eyelids`).

The mouth that was made for the picture moves along: it is pasted first.
"""

from functools import cache, lru_cache
from math import ceil, floor
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.engines.viseme.emphasis import Emphasis
from inference.engines.viseme.renderers.eyelids import Eye, shut_eye
from inference.media.compositor import cut
from inference.media.types import Patch, Picture, Rectangle

Floats = NDArray[np.float32]

_BROWS, _NOD = 0.034, 0.026
"""How far they go at 1, in distances between the outer corners of the eyes."""
_LEAST_BROWS, _LEAST_NOD = 0.18, 0.32
"""Below these nothing moves: what nobody would see costs nothing, and not every stress is a nod."""
_LEAST_BLINK = 0.02
_UNSEEN_PX = 0.2
"""So much less than they would go: nobody sees it, and the rim of what moves need not be drawn."""
_WHOLE_FACE = (-0.80, -0.68, 0.80, 1.40)
_BROWS_MOVE = (-0.72, -0.60, 0.72, -0.07)
_LIDS_MOVE = (-0.60, -0.40, 0.60, 0.14)
_NOD_MOVES = (-0.78, -0.66, 0.78, 1.38)
"""Left, top, right, bottom of the face, and of what each moves."""
_NOD_FADES = 0.85
"""Share of a nod's radius in which it fades out."""

_CELL = 1 / 48
"""Of the table of the bumps, in the same distances."""


class FacePlace(NamedTuple):
    """Where a face is.

    ``to_picture``: affine map, float64 ``[2, 3]``, from face coordinates to pixels: the origin is
    between the eyes, x runs to the viewer's right, y down, and the outer corners of the eyes are 1
    apart. ``eyes``: none where they are not known, or shut.
    """

    to_picture: NDArray[np.float64]
    eyes: tuple[Eye, ...] = ()


def face_place(left_corner: Floats, right_corner: Floats, eyes: tuple[Eye, ...] = ()) -> FacePlace:
    """Return the place of a face by the outer corners of its eyes, ``[2]``, the left first."""
    across = np.asarray(right_corner, np.float64) - left_corner
    middle = (np.asarray(right_corner, np.float64) + left_corner) / 2
    to_picture = np.array(
        [[across[0], -across[1], middle[0]], [across[1], across[0], middle[1]]], np.float64
    )
    return FacePlace(to_picture, eyes)


def is_seen(emphasis: Emphasis) -> bool:
    """Whether any of it is large enough to be drawn."""
    return (
        emphasis.brows > _LEAST_BROWS or emphasis.nod > _LEAST_NOD or emphasis.blink > _LEAST_BLINK
    )


def express(
    picture: Picture, mouth: Patch | None, face: FacePlace, emphasis: Emphasis
) -> Patch | None:
    """Lay ``mouth`` on ``picture``, and move the rest of the face: one patch for both."""
    unit = float(np.hypot(*face.to_picture[:, 0]))
    brows_px = unit * _BROWS * _beyond(_LEAST_BROWS, emphasis.brows)
    nod_px = unit * _NOD * _beyond(_LEAST_NOD, emphasis.nod)
    parts = []
    if brows_px > _UNSEEN_PX:
        parts.append(_BROWS_MOVE)
    if nod_px > _UNSEEN_PX:
        parts.append(_nod_moves(nod_px))
    blinks = bool(face.eyes) and emphasis.blink > _LEAST_BLINK
    if blinks:
        parts.append(_LIDS_MOVE)
    if not parts:
        return mouth
    box = _box(face, parts, picture)
    if box.width < 2 or box.height < 2:
        return mouth
    patch = _with_mouth(picture, mouth, box)
    if blinks:
        for eye in face.eyes:
            shut_eye(patch, eye, emphasis.blink)
    if max(brows_px, nod_px) > _UNSEEN_PX:
        inner = Rectangle(box.x - patch.x, box.y - patch.y, box.width, box.height)
        half = _place_table(_table(brows_px, nod_px), face, box)
        down = np.asarray(cv2.resize(half, (box.width, box.height)), np.float32)
        _move(patch, inner, down, half)
    return patch


def _beyond(least: float, value: float) -> float:
    """Return 0 up to ``least``, and 1 at 1."""
    return max(value - least, 0.0) / (1 - least)


def _nod_moves(nod_px: float) -> tuple[float, float, float, float]:
    """Return what a nod moves by more than `_UNSEEN_PX`."""
    left, top, right, bottom = _NOD_MOVES
    # The rise of the table at this share of its width is less than what is not seen of the nod.
    inner = 1 - _NOD_FADES * (_UNSEEN_PX / nod_px / 3) ** 0.5
    return (
        inner * left,
        0.36 + inner * (top - 0.36),
        inner * right,
        0.36 + inner * (bottom - 0.36),
    )


def _table(brows_px: float, nod_px: float) -> Floats:
    """Return by how many pixels each cell of the face moves up, less what nobody sees."""
    table = np.zeros(_brow_table().shape, np.float32)
    for height_px, bumps in ((brows_px, _brow_table()), (-nod_px, _nod_table())):
        if abs(height_px) > _UNSEEN_PX:
            moved = np.maximum(bumps - np.float32(_UNSEEN_PX / abs(height_px)), 0)
            table += np.float32(height_px) * moved
    return table


def _with_mouth(picture: Picture, mouth: Patch | None, box: Rectangle) -> Patch:
    """Copy what the picture shows at ``box`` and at ``mouth``, with the mouth on it."""
    if mouth is None:
        return _copied(cut(picture, box))
    x, y = min(box.x, mouth.x), min(box.y, mouth.y)
    place = mouth.rectangle
    right = max(box.x + box.width, place.x + place.width)
    bottom = max(box.y + box.height, place.y + place.height)
    patch = _copied(cut(picture, Rectangle(x, y, right - x, bottom - y)))
    rows, columns = slice(place.y - y, None), slice(place.x - x, None)
    patch.y_plane[rows, columns][: place.height, : place.width] = mouth.y_plane
    rows, columns = slice((place.y - y) // 2, None), slice((place.x - x) // 2, None)
    size = (slice(place.height // 2), slice(place.width // 2))
    patch.u_plane[rows, columns][size] = mouth.u_plane
    patch.v_plane[rows, columns][size] = mouth.v_plane
    return patch


def _copied(patch: Patch) -> Patch:
    return Patch(patch.x, patch.y, patch.y_plane.copy(), patch.u_plane.copy(), patch.v_plane.copy())


def _box(
    face: FacePlace, parts: list[tuple[float, float, float, float]], picture: Picture
) -> Rectangle:
    """Return the even rectangle of the picture that contains parts of the face."""
    lefts, tops, rights, bottoms = zip(*parts, strict=True)
    sides, heights = (min(lefts), max(rights)), (min(tops), max(bottoms))
    (ax, bx, x), (ay, by, y) = face.to_picture.tolist()
    across = [ax * side + bx * height + x for side in sides for height in heights]
    down = [ay * side + by * height + y for side in sides for height in heights]
    height, width = picture.shape[0] * 2 // 3, picture.shape[1]

    def even(first: float, last: float, size: int) -> tuple[int, int]:
        start, end = 2 * floor(first / 2), 2 * ceil(last / 2)
        return min(max(start, 0), size), min(max(end, 0), size)

    left, right = even(min(across), max(across), width)
    top, bottom = even(min(down), max(down), height)
    return Rectangle(left, top, right - left, bottom - top)


def _place_table(table: Floats, face: FacePlace, box: Rectangle) -> Floats:
    """Read a table of the face over ``box`` in half resolution: it is smooth."""
    left, top, _, _ = _WHOLE_FACE
    cell = np.array([[_CELL, 0, left + _CELL / 2], [0, _CELL, top + _CELL / 2], [0, 0, 1]])
    matrix = face.to_picture @ cell
    matrix[:, 2] -= (box.x, box.y)
    matrix *= 0.5
    matrix[:, 2] -= 0.5
    return np.asarray(cv2.warpAffine(table, matrix, (box.width // 2, box.height // 2)), np.float32)


def _move(patch: Patch, box: Rectangle, down: Floats, half: Floats) -> None:
    """Show at each pixel of ``box`` what is ``down`` pixels below; ``half`` has half the size."""
    half = half * np.float32(0.5)
    for planes, shift in (((patch.y_plane,), down), ((patch.u_plane, patch.v_plane), half)):
        height, width = shift.shape
        left, top = (box.x, box.y) if shift is down else (box.x // 2, box.y // 2)
        columns, rows = _pixels(width, height)
        below = rows + shift
        for plane in planes:
            part = plane[top : top + height, left : left + width]
            part[:] = cv2.remap(
                part, columns, below, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )


@lru_cache(maxsize=64)
def _pixels(width: int, height: int) -> tuple[Floats, Floats]:
    """Return the coordinates of pixels: float32 ``[height, width]``, and ``[height, 1]``."""
    columns = np.tile(np.arange(width, dtype=np.float32), (height, 1))
    return columns, np.arange(height, dtype=np.float32)[:, None]


@cache
def _grid() -> tuple[Floats, Floats]:
    """Return face coordinates of the table's cells."""
    left, top, right, bottom = _WHOLE_FACE
    x = np.arange(left + _CELL / 2, right, _CELL, dtype=np.float32)
    y = np.arange(top + _CELL / 2, bottom, _CELL, dtype=np.float32)
    grid_x, grid_y = np.meshgrid(x, y)
    return grid_x, grid_y


@cache
def _brow_table() -> Floats:
    """Make it 1 at the brows, 0 at the lids and on the upper forehead."""
    x, y = _grid()
    aside = np.asarray(np.abs(x), np.float32)
    across = np.exp(-(((aside - 0.30) / 0.24) ** 4)) * _rise(0.72 - aside, 0.16)
    return np.asarray(across * _rise(-0.075 - y, 0.11) * _rise(y + 0.60, 0.30), np.float32)


@cache
def _nod_table() -> Floats:
    """Make it 1 about nose and mouth, 0 at the outline of the face."""
    x, y = _grid()
    away = np.hypot(x / 0.78, (y - 0.36) / 1.02)
    return _rise(np.asarray(1 - away, np.float32), _NOD_FADES)


def _rise(value: Floats, width: float) -> Floats:
    at = np.clip(value / width, 0, 1)
    return np.asarray(at * at * (3 - 2 * at), np.float32)
