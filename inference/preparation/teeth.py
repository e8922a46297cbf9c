"""A person's own upper teeth, cut out of the picture that shows them best.

A warp moves what a shut mouth shows, and that is no teeth. Where the material shows the upper row
before the dark of an open mouth, it is cut out along its edge and kept; elsewhere the renderer
draws teeth (`renderers.mouth_textures`). Only a row that is plain to see is taken: clenched teeth
have no edge of their own, and a tongue, a lip or a beard taken for teeth would be worse than drawn
ones.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.engines.viseme.renderers.face_frame import (
    COLUMN_X,
    FaceFrame,
    Floats,
    face_frame,
)
from inference.engines.viseme.renderers.mouth_textures import (
    DENSITY,
    HALF_WIDTH,
    HEIGHT,
    SIZE,
    toward_root,
)
from inference.engines.viseme.renderers.tint import Tint
from inference.faces.mesh import LEFT_EYE_OUTER, RIGHT_EYE_OUTER, lip_gaps
from inference.media.compositor import planes_of
from inference.media.types import Picture

_LOOKED_AT = 12
"""Pictures of a video that are looked at: those whose mouths are open furthest."""
_APART = 5
"""Pictures between two of them."""
_MOST_YAW_DEG, _MOST_PITCH_DEG = 12.0, 20.0
"""How far a head may be turned to the side, and nod, for its teeth to be seen from the front."""
_OPEN = 0.1
"""Gap of the lips, in mouth widths, from which on there may be an edge of teeth."""

# All in mouth widths.
_TOP, _BOTTOM = -0.3, 0.5
"""What is looked at, from above the middle between the corners of the mouth to below it."""
_BEYOND = 0.06
"""How far beyond the landmarks of the lips teeth are looked for."""
_SPECK = 0.03
"""What is light for less than this, downwards, is a gleam on the lip."""
_SIDE = 0.5
"""How far from the middle a row of teeth may reach."""
_FRONT = 0.18
"""So far to each side of the middle every column must show its tooth."""
_SHORTEST, _LONGEST = 0.06, 0.3
"""Of the front teeth, what is seen in the mean."""
_DARK_BELOW = 0.02
"""So much of the dark must be seen below their edge."""
_UNEVEN = 0.02
"""How far the edge of the front teeth may lie from the arch through it, in the mean."""
_HOLLOW = 0.02
"""So much higher than the arch's ends its middle may be; what is held before teeth hollows it."""
_HANGS = 0.04
"""How far below the upper lip the front teeth begin, in the mean: what is lower is held there."""
_OUTSIDE = (0.58, 0.64)
"""How far from the middle there are no teeth any more; a pen between them is still the same."""
_LEAST = 0.045
"""What is seen of the whole row, in squares of a mouth's width."""
_LIP = (0.04, 0.1)
"""Where the lower lip's color is taken, below its inner edge."""
_GAP, _GAP_WIDTH = 0.85, 0.2
"""How light a gap between two teeth is at least, in parts of the median of so much around it: drawn
on up to the roots, a darker one is a stripe."""
_FADE = 0.04
"""Over so much the row passes into drawn teeth at its sides."""

_REDNESS = 2.0
"""Levels of luma that a level of red takes away: lips and tongue are red, teeth are not."""
_CONTRAST = 60.0
"""Levels by which teeth are lighter than what is around them, red taken away."""
_PALE = 0.35
"""Of the lower lip's redness, what teeth have at most."""
_TINGED = 10.0
"""How much bluer, and how much greener than gray they may be."""
_LIT = 0.6
"""Of the skin's light, what they have at least."""
_ALIKE = (20.0, 8.0, 8.0)
"""Levels of Y, U and V by which two parts of one thing differ at most."""
_DARK = 0.55
"""Of the skin's light: what is below the edge of teeth has less, or it is a lip."""
_SHADOW = 0.3
"""Of what is seen of a tooth, the part under the upper lip, which is in its shadow."""

_X = ((np.arange(SIZE[0]) + 0.5) / DENSITY - HALF_WIDTH).astype(np.float32)
_Y = (np.arange(round((_BOTTOM - _TOP) * DENSITY)) + 0.5)[:, None] / DENSITY + _TOP
"""Of the columns, float32 ``[width]``, and of the rows, ``[height, 1]``, of a `_Mouth`."""


@dataclass(frozen=True, slots=True, eq=False)
class _Mouth:
    """A mouth in mouth widths, upright. ``yuv``: float32 ``[height, width, 3]``."""

    yuv: Floats
    upper: Floats
    """Y of the inner edge of the upper lip, of each column; and the same of the lower one."""
    lower: Floats
    tint: Tint
    is_seen: NDArray[np.bool_]
    """What is in the picture: beyond its edge ``yuv`` only repeats what is at it."""


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """A row of teeth, column by column: NaN where there is none."""

    top: Floats
    tip: Floats
    first: int
    last: int
    """The columns that belong to it, without a gap."""
    worth: float
    """How much is seen: its area, in squares of a mouth's width."""


def open_mouths(
    landmarks: NDArray[np.float32], is_usable: NDArray[np.bool_], pose_deg: NDArray[np.float32]
) -> list[int]:
    """Choose the pictures that may show teeth.

    Args:
        landmarks: Pixels, float32 ``[n, 468, 2]``.
        is_usable: Which pictures may be used at all, bool ``[n]``.
        pose_deg: Yaw, pitch and roll, float32 ``[n, 3]``.

    Returns:
        Their numbers, at most a dozen, those that are open furthest first.
    """
    gaps = np.nan_to_num(lip_gaps(landmarks))
    is_frontal = (np.abs(pose_deg[:, :2]) < (_MOST_YAW_DEG, _MOST_PITCH_DEG)).all(1)
    may = is_usable & is_frontal & (gaps >= _OPEN)
    chosen: list[int] = []
    for index in np.flatnonzero(may)[np.argsort(-gaps[may], kind="stable")].tolist():
        if all(abs(index - other) >= _APART for other in chosen):
            chosen.append(index)
        if len(chosen) == _LOOKED_AT:
            break
    return chosen


def own_teeth(
    pictures: Iterable[tuple[Picture, NDArray[np.float32]]], rest: NDArray[np.float32]
) -> NDArray[np.float16] | None:
    """Return the texture of the upper teeth, see `OwnTeeth`.

    Args:
        pictures: Pictures with their landmarks, float32 ``[468, 2]``.
        rest: Landmarks of the picture that the avatar rests on: a smile widens a mouth and not its
            teeth, so sizes are compared by the eyes.

    Returns:
        float16 ``[height, width, 4]``; None where no picture shows them plainly.
    """
    scale = _unit_by_eyes(rest)
    best: tuple[_Mouth, _Row] | None = None
    for picture, landmarks in pictures:
        mouth = _mouth(picture, landmarks, scale)
        row = None if mouth is None else _row(mouth)
        if mouth is not None and row is not None and (best is None or row.worth > best[1].worth):
            best = mouth, row
    return None if best is None else _texture(*best).astype(np.float16)


def _unit_by_eyes(landmarks: NDArray[np.float32]) -> float:
    """Return how many distances of the eyes are a mouth's width; 0 if there is no face."""
    frame = face_frame(landmarks)
    return 0.0 if frame is None else frame.unit / _eyes(landmarks)


def _eyes(landmarks: NDArray[np.float32]) -> float:
    return float(np.hypot(*(landmarks[RIGHT_EYE_OUTER] - landmarks[LEFT_EYE_OUTER])))


def _mouth(picture: Picture, landmarks: NDArray[np.float32], scale: float) -> _Mouth | None:
    frame = face_frame(landmarks)
    if frame is None or not scale:
        return None
    # A mouth width of the rest picture, in those of this one.
    size = _eyes(landmarks) * scale / frame.unit
    planes = [
        _sampled(plane, frame, size / step, step)
        for plane, step in zip(planes_of(picture), (1, 2, 2), strict=True)
    ]
    columns = _X * size
    return _Mouth(
        yuv=np.dstack(planes),
        upper=np.interp(columns, COLUMN_X, frame.inner_upper).astype(np.float32) / size,
        lower=np.interp(columns, COLUMN_X, frame.inner_lower).astype(np.float32) / size,
        tint=Tint.of_picture(picture, landmarks, frame.unit),
        is_seen=_is_seen(picture, frame, size),
    )


def _sampled(plane: NDArray[np.uint8], frame: FaceFrame, size: float, step: int) -> Floats:
    """Return a plane of the picture, of which one in ``step`` pixels is there, as `_Mouth` does."""
    return cv2.warpAffine(
        plane,
        _to_plane(frame, size, step),
        (len(_X), len(_Y)),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    ).astype(np.float32)


def _to_plane(frame: FaceFrame, size: float, step: int) -> NDArray[np.float64]:
    """Return the affine map from the middles of a `_Mouth`'s pixels to a plane's, ``[2, 3]``."""
    to_plane = frame.to_picture.astype(np.float64)
    linear = to_plane[:, :2] * (size / DENSITY)
    corner = np.array([-HALF_WIDTH * DENSITY + 0.5, _TOP * DENSITY + 0.5])
    origin = to_plane[:, 2] / step + (1 / step - 1) / 2
    return np.column_stack([linear, linear @ corner + origin])


def _is_seen(picture: Picture, frame: FaceFrame, size: float) -> NDArray[np.bool_]:
    to_picture = _to_plane(frame, size, 1)
    down, across = np.mgrid[: len(_Y), : len(_X)]
    x, y = (k[0] * across + k[1] * down + k[2] for k in to_picture)
    height, width = planes_of(picture)[0].shape
    return np.asarray((x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1), np.bool_)


def _row(mouth: _Mouth) -> _Row | None:
    """Find the upper teeth; None where they are not plain to see."""
    y_plane, _, v_plane = (mouth.yuv[..., k] for k in range(3))
    whiteness = (y_plane - _REDNESS * np.maximum(v_plane - 128, 0)).astype(np.float32)
    is_tooth = _is_tooth(whiteness, mouth)
    if is_tooth is None:
        return None
    is_dark = (y_plane < mouth.tint.lit(_DARK)) & mouth.is_seen
    top, tip = np.full((2, len(_X)), np.nan, np.float32)
    for column in np.flatnonzero(np.abs(_X) <= _SIDE).tolist():
        tooth = _tooth(is_tooth[:, column], is_dark[:, column], mouth, column)
        if tooth is not None:
            top[column], tip[column] = tooth
    middle = len(_X) // 2
    missing = np.flatnonzero(np.isnan(tip))
    first = int(missing[missing < middle].max(initial=-1)) + 1
    last = int(missing[missing > middle].min(initial=len(_X))) - 1
    if np.isnan(tip[middle]) or _X[first] > -_FRONT or _X[last] < _FRONT:
        return None
    front = np.abs(_X) <= _FRONT
    seen = float((tip - top)[front].mean())
    arch = np.polyfit(_X[front], tip[front], 2)
    uneven = float(np.abs(tip[front] - np.polyval(arch, _X[front])).mean())
    hollow = float(arch[0]) * _FRONT**2
    if not _SHORTEST <= seen <= _LONGEST or uneven > _UNEVEN or hollow > _HOLLOW:
        return None
    worth = float((tip - top)[first : last + 1].sum()) / DENSITY
    found = _Row(top, tip, first, last, worth)
    is_row = worth >= _LEAST and _hangs(mouth, found) and _ends(mouth, found)
    return found if is_row and _has_their_color(mouth, found) else None


def _is_tooth(whiteness: Floats, mouth: _Mouth) -> NDArray[np.bool_] | None:
    """Which pixels are as light as teeth; None where nothing stands out of the mouth."""
    is_inside = _between(mouth.upper, mouth.lower) & (np.abs(_X) <= _SIDE)
    inside = np.clip(whiteness[is_inside], 0, 255).astype(np.uint8)
    if not inside.size:
        return None
    level, _ = cv2.threshold(inside[:, None], 0, 255, cv2.THRESH_OTSU)
    light = inside > level
    if not light.any() or light.all():
        return None
    if inside[light].mean() - inside[~light].mean() < _CONTRAST:
        return None
    return np.asarray((whiteness > level) & mouth.is_seen, np.bool_)


def _between(top: Floats, bottom: Floats) -> NDArray[np.bool_]:
    """Which pixels of a `_Mouth` lie between two curves, bool ``[height, width]``."""
    return np.asarray((top < _Y) & (bottom > _Y), np.bool_)


def _tooth(
    is_tooth: NDArray[np.bool_], is_dark: NDArray[np.bool_], mouth: _Mouth, column: int
) -> tuple[float, float] | None:
    """Return where the upper tooth of a column begins and ends; None if that is not plain."""
    first = max(int((mouth.upper[column] - _BEYOND - _TOP) * DENSITY), 0)
    end = int((mouth.lower[column] + _BEYOND - _TOP) * DENSITY)
    tooth = is_tooth[first:end]
    # Where it becomes light and dark, alternately, from above.
    edges = np.flatnonzero(np.diff(np.concatenate([[False], tooth, [False]])))
    for top, tip in edges.reshape(-1, 2):
        if tip - top < _SPECK * DENSITY:
            continue
        below = is_dark[first + tip + 1 :][: round(_DARK_BELOW * DENSITY)]
        if top == 0 or first + tip == len(is_tooth) or not below.all():
            return None
        return (first + top) / DENSITY + _TOP, (first + tip) / DENSITY + _TOP
    return None


def _hangs(mouth: _Mouth, row: _Row) -> bool:
    """Whether what was found comes from under the upper lip, as upper teeth do."""
    below = (row.top - mouth.upper)[np.abs(_X) <= _FRONT]
    return bool(below.mean() <= _HANGS)


def _ends(mouth: _Mouth, row: _Row) -> bool:
    """Whether what was found ends in the mouth: a pen looks the same beside it, on either side."""
    teeth = _mean_color(mouth, _between(row.top, row.tip) & (np.abs(_X) <= _FRONT))
    for side, end in ((-_X, row.first), (_X, row.last)):
        beside = (side >= _OUTSIDE[0]) & (side <= _OUTSIDE[1])
        level = np.full_like(_X, row.top[end]), np.full_like(_X, row.tip[end])
        outside = _mean_color(mouth, _between(*level) & beside)
        if (np.abs(outside - teeth) <= _ALIKE).all():
            return False
    return True


def _has_their_color(mouth: _Mouth, row: _Row) -> bool:
    """Whether it has the color of teeth, not of a tongue, a lip in the light or a blue pen."""
    is_front = np.abs(_X) <= _FRONT
    light, blue, red = _mean_color(mouth, _between(row.top, row.tip) & is_front).tolist()
    lip = _between(mouth.lower + _LIP[0], mouth.lower + _LIP[1]) & is_front
    lip_red = max(float(_mean_color(mouth, lip)[2]), 128.0)
    # A gray picture has no redness at all, but for a level or two of coding.
    is_pale = red - 128 <= _PALE * (lip_red - 128) + 2
    is_gray = max(blue - 128, 128 - red) <= _TINGED
    return bool(is_pale and is_gray and light >= mouth.tint.lit(_LIT))


def _mean_color(mouth: _Mouth, where: NDArray[np.bool_]) -> Floats:
    """Return the mean Y, U and V of pixels, float32 ``[3]``."""
    return np.asarray(mouth.yuv[where].mean(axis=0), np.float32)


def _texture(mouth: _Mouth, row: _Row) -> Floats:
    """Return the row as a texture, its tips on the middle line, continued up to the roots."""
    front = np.abs(_X) <= _FRONT
    height = SIZE[1]
    anchor = float(row.tip[front].mean())
    y = ((np.arange(height) + 0.5) / DENSITY - HEIGHT / 2 + anchor).astype(np.float32)[:, None]
    inside = np.clip(np.arange(len(_X)), row.first, row.last)
    top, tip = row.top[inside], row.tip[inside]
    # Below a tip and above what is in the lip's shadow, a tooth continues as it is there.
    lit = top + _SHADOW * (tip - top)
    source_y = np.clip(y, lit, tip - 1.5 / DENSITY)
    texture = np.empty((height, len(_X), 4), np.float32)
    texture[..., :3] = cv2.remap(
        mouth.yuv,
        np.broadcast_to(inside.astype(np.float32), source_y.shape).copy(),
        ((source_y - _TOP) * DENSITY - 0.5).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    texture[..., 0] = np.maximum(mouth.tint.brightness(texture[..., 0]), 0)
    texture[..., 0] *= _brightened(texture[..., 0], (lit <= y) & (y < tip)) * toward_root(lit - y)
    beside = np.minimum(_X - _X[row.first], _X[row.last] - _X)
    sides = np.clip(beside / _FADE, 0, 1)
    edge = np.clip((tip - y) * DENSITY + 0.5, 0, 1) * sides
    texture[..., 3] = cv2.GaussianBlur(edge, (0, 0), 0.6)
    return texture


def _brightened(light: Floats, is_seen: NDArray[np.bool_]) -> Floats:
    """Return by what each column of a row is multiplied, so that none is a dark stripe.

    Args:
        light: Of the row, in parts of the skin's, ``[height, width]``.
        is_seen: What of it is seen in the picture, likewise.
    """
    columns = (light * is_seen).sum(0) / np.maximum(is_seen.sum(0), 1)
    around = np.pad(columns, round(_GAP_WIDTH * DENSITY / 2), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(around, len(around) - len(columns) + 1)
    least = _GAP * np.median(windows, axis=1)
    return np.asarray(np.maximum(least / np.maximum(columns, 1e-3), 1), np.float32)
