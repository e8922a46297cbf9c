"""Lids that shut over the eyes of any picture of a face.

The upper lid is drawn down over the eye, column by column: what it covers is hidden, as it is by a
real lid, and its edge is laid over the picture softly. Were the eye pressed together under it
instead, some of it would always be seen along the edge. What stretches above it is skin without
lashes and wrinkles, or they would be drawn out to stripes.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.media.types import Patch

Floats = NDArray[np.float32]

# All in widths of the eye.
_LASHES = 0.15
"""How much above its edge a lid keeps its shape; what stretches is the skin above it."""
_SKIN = 0.30
"""From how far above its edge on."""
_FRAME, _NEAREST, _THICK = 0.4, 0.2, 0.08
"""Of the light of the skin below the eye: what is darker, so far above the eye and so thick is a
brow or the rim of glasses, and stays. What is lighter, nearer or thinner is a crease of the lid."""
_FRAME_SMOOTH = 0.25
"""How wide the mean is by which that is seen."""
_SMOOTH = 0.24
"""How wide the mean is across the skin that is stretched; a quarter of it downwards."""
_FADE = 0.1
"""Over so much the stretched skin passes into what is below it, over twice that above."""
_STRETCHED = 0.2
"""How far a lid has come down that shows smooth skin alone, and how far from the eye's corners."""
_CHEEK = (0.22, 0.37)
"""Where the skin is looked at, below the middle of the lower lid."""
_CORNERS = 0.08
"""How far from its corners a lid begins to move."""
_BELOW, _BELOW_PX = 0.06, 0.8
"""How far over the edge of the lower lid a shut one reaches, and by how many pixels more."""
_BRIGHTENS, _DARKEST = 0.35, 0.75
"""How much of the skin below the eye is in that of a shut lid, at least, and how much of its light
the lid has, at least: above an eye there is shadow, and lids come out of it."""


class Eye(NamedTuple):
    """One eye of a picture: the edges of its lids, float32 ``[n, 2]`` each, pixels."""

    upper: Floats
    lower: Floats


def shut_eye(patch: Patch, eye: Eye, amount: float) -> None:
    """Draw the upper lid of an eye over it, in a part of the picture whose arrays are written to.

    Args:
        patch: The part; of the eye, what is in it is shut.
        eye: The eye, in pixels of the picture.
        amount: How far it is shut, 0..1.
    """
    height, width = patch.y_plane.shape
    left, right = float(eye.upper[:, 0].min()), float(eye.upper[:, 0].max())
    first = max(int(left) - patch.x, 0) // 2 * 2
    last = min((int(right) + 2 - patch.x) // 2 * 2, width)
    if last - first < 4:
        return
    columns = np.arange(first, last, dtype=np.float32) + patch.x
    lid, rim = edge_of(eye.upper, columns), edge_of(eye.lower, columns)
    size = right - left
    inside = np.minimum(columns - left, right - columns) / size
    below = _BELOW * size + _BELOW_PX
    drop = np.maximum(rim - lid + below, 0) * amount * np.clip(inside / _CORNERS, 0, 1)
    edge = lid + drop
    cheek = _cheek(patch, columns, rim, size)
    above = lid - _skin_above(patch, columns, lid, size, float(patch.y_plane[cheek].mean()))
    top = max(int(above.min()) - patch.y, 0) // 2 * 2
    bottom = min((int(edge.max()) + 3 - patch.y) // 2 * 2, height)
    if bottom - top < 2:
        return
    rows = (np.arange(top, bottom, dtype=np.float32) + patch.y)[:, None]
    kept = edge - _LASHES * size
    down = drop * np.clip((rows - above) / np.maximum(kept - above, 1), 0, 1)
    cover = np.clip(edge + 0.5 - rows, 0, 1)
    stretched = np.clip((kept - rows) / (_FADE * size) + 0.5, 0, 1)
    stretched *= np.clip((rows - above) / (2 * _FADE * size), 0, 1)
    stretched *= np.clip(drop / size / _STRETCHED, 0, 1) * np.clip(inside / _STRETCHED, 0, 1)
    lid_maps = _Lid(*(np.asarray(part, np.float32) for part in (down, cover, stretched)))
    box = slice(top, bottom), slice(first, last)
    share = _cheek_share(patch.y_plane[box], lid_maps, float(patch.y_plane[cheek].mean()))
    _lay(patch.y_plane[box], lid_maps, _SMOOTH * size, patch.y_plane[cheek], share)
    half, (box, cheek) = lid_maps.half(), (_halved(box), _halved(cheek))
    for plane in (patch.u_plane, patch.v_plane):
        _lay(plane[box], half, _SMOOTH * size / 2, plane[cheek], share)


class _Lid(NamedTuple):
    """A lid over the part of the picture around an eye, float32 ``[height, width]`` each.

    ``down``: how far it has come down, in samples; ``cover``: where it is, 0..1; ``stretched``:
    where it is skin that was stretched, 0..1.
    """

    down: Floats
    cover: Floats
    stretched: Floats

    def half(self) -> "_Lid":
        """Return it for chroma."""
        size = (self.down.shape[1] // 2, self.down.shape[0] // 2)
        down, cover, stretched = (
            np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.float32)
            for part in self
        )
        return _Lid(down * np.float32(0.5), cover, stretched)


def _cheek_share(luma: NDArray[np.uint8], lid: _Lid, light: float) -> float:
    """Return how much of the skin below an eye is in that of its lid.

    Args:
        luma: The part of the picture around the eye.
        lid: The lid over it.
        light: Luma of the skin below the eye.
    """
    weights = lid.stretched * lid.cover
    total = float(weights.sum())
    if total < 1:
        return _BRIGHTENS
    own = float((_moved(luma, lid.down) * weights).sum()) / total
    if own >= _DARKEST * light:
        return _BRIGHTENS
    return max(_BRIGHTENS, (_DARKEST * light - own) / (light - own))


def _lay(
    part: NDArray[np.uint8], lid: _Lid, reach: float, cheek: NDArray[np.uint8], share: float
) -> None:
    """Lay a lid over ``part``.

    Args:
        part: One plane of the picture around the eye.
        lid: The lid, in its samples.
        reach: Over how much of its skin the mean is taken.
        cheek: The skin below the eye.
        share: How much of that is in the lid's.
    """
    moved = _moved(part, lid.down)
    around = max(round(reach), 1), max(round(reach / 4), 1)
    skin = cv2.blur(moved, around).astype(np.float32) * np.float32(1 - share)
    skin += np.float32(share * float(np.mean(cheek)))
    skin -= moved
    skin *= lid.stretched
    skin += moved
    # Each times its share, and not their difference: what is covered must not count at all.
    skin *= lid.cover
    skin += part * (1 - lid.cover)
    part[:] = np.rint(skin)


def _skin_above(patch: Patch, columns: Floats, lid: Floats, size: float, light: float) -> Floats:
    """Return how far above an eye there is nothing but skin to stretch, ``[columns]``, pixels.

    Args:
        patch: The part of the picture.
        columns: Of the eye, in pixels of the picture.
        lid: The height of its upper lid there.
        size: Its width.
        light: Luma of the skin below it.
    """
    up = np.arange(round(_NEAREST * size), round((_SKIN + _THICK) * size) + 1, dtype=np.float32)
    rows = np.clip(np.rint(lid - up[:, None] - patch.y), 0, len(patch.y_plane) - 1).astype(np.intp)
    luma = patch.y_plane[rows, (columns - patch.x).astype(np.intp)]
    luma = cv2.blur(luma, (max(round(_FRAME_SMOOTH * size), 1), 1))
    thick = np.ones((max(round(_THICK * size), 1), 1))
    is_frame = cv2.dilate(luma, thick, anchor=(0, 0)) < _FRAME * light
    first = np.where(is_frame.any(axis=0), up[is_frame.argmax(axis=0)] - 2, np.inf)
    skin = np.minimum(first, _SKIN * size)
    around = max(round(_LASHES * size), 1)
    lowest = cv2.erode(skin[None].astype(np.float32), np.ones((1, around)))
    return np.asarray(cv2.blur(lowest, (around, 1))[0], np.float32)


def _halved(box: tuple[slice, slice]) -> tuple[slice, slice]:
    rows, columns = (slice(side.start // 2, side.stop // 2) for side in box)
    return rows, columns


def _cheek(patch: Patch, columns: Floats, rim: Floats, size: float) -> tuple[slice, slice]:
    """Return rows and columns of a bit of skin below an eye, in samples of the patch, all even.

    Args:
        patch: The part of the picture.
        columns: Of the eye, in pixels of the picture.
        rim: The height of its lower lid there.
        size: Its width.
    """
    quarter = len(columns) // 4
    left, right = (int(columns[k]) - patch.x for k in (quarter, -1 - quarter))
    top, bottom = (int(rim[quarter:-quarter].max() + part * size) - patch.y for part in _CHEEK)
    height, width = patch.y_plane.shape
    return _even(top, bottom, height), _even(left, right, width)


def _even(first: int, last: int, end: int) -> slice:
    """Return a stretch of at least two samples that is within ``end``."""
    begin = min(max(first, 0), end - 2) // 2 * 2
    return slice(begin, max(min(last, end) // 2 * 2, begin + 2))


def edge_of(points: Floats, columns: Floats) -> Floats:
    """Return the height of a lid's edge at each of ``columns``, pixels."""
    order = np.argsort(points[:, 0])
    edge = np.interp(columns, points[order, 0], points[order, 1])
    return np.asarray(edge, np.float32)


def _moved(part: NDArray[np.uint8], down: Floats) -> NDArray[np.uint8]:
    """Return for each sample what ``part`` shows ``down`` pixels above."""
    height, width = part.shape
    columns = np.tile(np.arange(width, dtype=np.float32), (height, 1))
    rows = np.arange(height, dtype=np.float32)[:, None] - down
    moved = cv2.remap(part, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)
