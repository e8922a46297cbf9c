"""Shut mouths of the same video laid over mouths that were open.

A wide open mouth or a grin that is warped shut (`quiet`) keeps its width and its folds, and its
lips are drawn thin. Where the video shows the same person with shut lips, from about the same side,
that mouth is laid over instead: placed by the nose, the eyes and the chin, in the light of the skin
around it, with a soft border. As the head turns one such mouth passes gradually into another, so
nothing jumps. Where none is fit for it, the warped mouth stays.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.engines.viseme.renderers.face_frame import (
    INNER_LOWER,
    INNER_UPPER,
    OUTER_LOWER,
    OUTER_UPPER,
)
from inference.engines.viseme.renderers.warp_field import SHUT_JAW
from inference.faces.mesh import (
    LEFT_EYE_OUTER,
    LEFT_MOUTH_CORNER,
    RIGHT_EYE_OUTER,
    RIGHT_MOUTH_CORNER,
    lip_gaps,
)
from inference.media.compositor import planes_of
from inference.media.types import Picture
from inference.preparation.quiet import MouthCloser

Floats = NDArray[np.float32]
Affine = NDArray[np.float64]
Pictures = Callable[[set[int]], Iterator[tuple[int, Picture]]]
"""Gives the pictures of a video that are asked for, with their numbers."""

_FITS, _GRINS = 0.06, 0.14
"""Gap of the lips, in mouth widths, up to which a warp shuts them well; at which it does not."""
_AROUND, _SIGMA = 4, 3.0
"""Pictures around such a gap in which a mouth is laid over, and how gradually it comes and goes."""
_SHUT = 0.05
"""Gap of the lips up to which a mouth may be laid over another."""
_LOOKED_AT, _MOST = 48, 8
"""Shut mouths whose pictures are looked at, and that are kept."""
_LEAST_GAIN = 0.02
"""How much better the open mouths, in their mean, have to be served with one more."""
_TURN_DEG = 5.0
"""Heads turned so much apart show another side of the mouth."""
_TOO_FAR_DEG = (14.0, 22.0)
"""From where on a mouth is turned too far to be laid over, and where it is not laid over at all."""
_LEAST_WEIGHT = 0.04
"""Of the mouths that are mixed: what has less is left out."""

_GAP_COST, _MOVING_COST, _WIDTH_COST, _PALE_COST = 20.0, 8.0, 4.0, 4.0
"""Of a mouth width of gap, one of movement in a picture, one of width, and of lips that are not
seen."""
_RED = 10.0
"""How much redder than skin lips are, of 255, for it to be plain where they are less so."""
_SKIN = (0.04, 0.12)
"""Where around the lips the skin is that they stand out of, in mouth widths."""

_LIPS = sorted({*OUTER_UPPER, *OUTER_LOWER, *INNER_UPPER, *INNER_LOWER})
_OUTLINE = [*OUTER_UPPER, *OUTER_LOWER[-2:0:-1]]
_NOSE_BASE = 2
_NOSE, _CHIN = [2, 98, 327, 1, 4, 5, 195, 6, 168, 97, 326], [152, 148, 377, 176, 400]
_EYES, _SIDES = [33, 133, 362, 263], [132, 361, 58, 288, 234, 454]
_FIRM = [*_NOSE, *_CHIN, *_EYES, *_SIDES]
_FIRMNESS = np.repeat([1.0, 0.5, 0.3, 0.25], [len(part) for part in (_NOSE, _CHIN, _EYES, _SIDES)])
"""What each of them counts for: those near the mouth and those that no movement takes along."""
# fmt: off
_FACE = [10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
         152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109]
# fmt: on

# In mouth widths: where what is laid over is whole, and where it ends.
_BEYOND_LIPS = (0.05, 0.21)
_INSIDE_FACE, _BELOW_NOSE = (0.25, 0.09), (0.25, 0.09)
_SMOOTH = 0.03
"""In mouth widths, how far the light of the skin is averaged."""
_BORDER = (0.02, 0.6)
"""Opacity between which the light of both pictures is compared."""
_SUBPIXEL_BITS = 3


class _Donor(NamedTuple):
    """A shut mouth: its picture, landmarks ``[468, 2]``, the head's turn, and its worth, 0..1."""

    picture: Picture
    landmarks: Floats
    pose_deg: Floats
    worth: float


class _Placed(NamedTuple):
    """A donor for one picture: the affine map into it, ``[2, 3]``, and its share."""

    donor: _Donor
    to_picture: Affine
    share: float


class MouthTransplant:
    """Shuts mouths as a `MouthCloser` does, and lays shut ones over those that were wide open."""

    def __init__(self, landmarks: Floats, pose_deg: Floats, donors: list[_Donor]) -> None:
        """Prepare to shut mouths; see `of`."""
        self._open = landmarks
        self._closer = MouthCloser(landmarks)
        self._shut = self._closer.landmarks()
        self._donors = donors
        self._weights = np.zeros((len(landmarks), 0), np.float32)
        self._amount = np.zeros(len(landmarks), np.float32)
        if donors:
            turned = _turned(pose_deg, np.stack([donor.pose_deg for donor in donors]))
            near = np.exp(-np.square(turned / _TURN_DEG)) * [donor.worth for donor in donors]
            self._weights = near / np.maximum(near.sum(1, keepdims=True), 1e-12)
            self._amount = _needed(landmarks) * np.interp(turned.min(1), _TOO_FAR_DEG, (1, 0))

    @classmethod
    def of(
        cls,
        landmarks: Floats,
        pose_deg: Floats,
        is_usable: NDArray[np.bool_],
        wanted: set[int],
        pictures: Pictures,
    ) -> "MouthTransplant":
        """Find the mouths that may be laid over others.

        Args:
            landmarks: Of all pictures of the video, pixels, float32 ``[n, 468, 2]``.
            pose_deg: Yaw, pitch and roll, float32 ``[n, 3]``.
            is_usable: Which pictures may be used at all, bool ``[n]``.
            wanted: Those whose mouths are to be shut.
            pictures: The video's.
        """
        cost = _costs(landmarks, is_usable)
        needed = _needed(landmarks)
        open_ones = [k for k in sorted(wanted) if needed[k] > 0]
        found = np.argsort(cost, kind="stable")[:_LOOKED_AT]
        looked_at = {int(k) for k in found if np.isfinite(cost[k])}
        if not (open_ones and looked_at):
            return cls(landmarks, pose_deg, [])
        seen = dict(pictures(looked_at))
        red = {k: _redness(picture, landmarks[k]) for k, picture in seen.items()}
        best = max(_RED, *red.values())
        costs = {k: float(cost[k]) + _PALE_COST * (1 - red[k] / best) for k in seen}
        worth = {k: float(np.exp(min(costs.values()) - costs[k])) for k in seen}
        chosen = _chosen(worth, pose_deg, open_ones)
        donors = [_donor(seen[k], landmarks[k], pose_deg[k], worth[k]) for k in chosen]
        return cls(landmarks, pose_deg, donors)

    def shut(self, index: int, picture: Picture) -> Picture:
        """Picture ``index`` with its mouth shut as far as it is open."""
        shut = self._closer.shut(index, picture)
        amount = float(self._amount[index])
        if not amount:
            return shut
        face, placed = self._shut_face(index), self._placed(index)
        return _laid_over(shut, face, placed, amount)

    def landmarks(self) -> Floats:
        """Those given, with the lips where `shut` puts them."""
        moved = np.array(self._shut)
        for index in np.flatnonzero(self._amount).tolist():
            lips = _lips_of(self._placed(index))
            moved[index, _LIPS] += self._amount[index] * (lips - moved[index, _LIPS])
        return moved

    def _shut_face(self, index: int) -> Floats:
        """Return where the face is once the `MouthCloser` has shut its mouth: its chin went up."""
        face, before = np.array(self._shut[index]), self._open[index]
        gap = np.linalg.norm(before[INNER_LOWER] - before[INNER_UPPER], axis=1).max()
        face[_CHIN] -= SHUT_JAW * gap * _down(before)
        return face

    def _placed(self, index: int) -> list[_Placed]:
        weights = self._weights[index]
        used = np.flatnonzero(weights >= _LEAST_WEIGHT)
        face = self._shut_face(index)
        return [
            _Placed(donor, _fitted(donor.landmarks, face), float(weights[k] / weights[used].sum()))
            for k in used.tolist()
            for donor in (self._donors[k],)
        ]


def _needed(landmarks: Floats) -> Floats:
    """How much each mouth needs another one, 0..1, float32 ``[n]``, smooth over time."""
    gaps = np.nan_to_num(lip_gaps(landmarks))[None]
    widest = cv2.dilate(gaps, np.ones((1, 2 * _AROUND + 1), np.uint8))
    needed = np.clip((widest - _FITS) / (_GRINS - _FITS), 0, 1)
    smooth = np.clip(cv2.GaussianBlur(needed, (0, 0), _SIGMA)[0], 0, 1)
    return np.asarray(smooth * np.isfinite(landmarks[:, 0, 0]), np.float32)


def _costs(landmarks: Floats, is_usable: NDArray[np.bool_]) -> Floats:
    """How ill each mouth is suited to be laid over others, float32 ``[n]``; inf: not at all."""
    gaps = np.nan_to_num(lip_gaps(landmarks), nan=np.inf)
    may = is_usable & (gaps <= _SHUT)
    costs = np.full(len(gaps), np.inf, np.float32)
    if not may.any():
        return costs
    width = _distance(landmarks, LEFT_MOUTH_CORNER, RIGHT_MOUTH_CORNER)
    eyes = _distance(landmarks, LEFT_EYE_OUTER, RIGHT_EYE_OUTER)
    steps = np.abs(np.diff(landmarks[:, _OUTLINE], axis=0)).mean((1, 2))
    steps = np.nan_to_num(steps, nan=np.inf)
    moving = np.maximum(np.append(0, steps), np.append(steps, 0)) / width
    wide = np.abs(width / eyes - np.median((width / eyes)[may]))
    cost = _GAP_COST * gaps + _MOVING_COST * moving + _WIDTH_COST * wide
    costs[may] = cost[may]
    return costs


def _distance(landmarks: Floats, first: int, second: int) -> Floats:
    return np.asarray(np.linalg.norm(landmarks[:, second] - landmarks[:, first], axis=-1))


def _redness(picture: Picture, landmarks: Floats) -> float:
    """How much redder than the skin lips are: less where they are pressed, or show what is behind.

    Landmarks know neither.
    """
    luma, _, v_plane = planes_of(picture)
    outline = _filled(luma.shape, landmarks[_OUTLINE])
    unit = _unit(landmarks)
    near, far = (_grown(outline, reach * unit) for reach in _SKIN)
    lips, skin = outline > 0, (far > 0) & (near == 0)
    red = cv2.resize(v_plane, luma.shape[::-1], interpolation=cv2.INTER_LINEAR)
    if not (lips.any() and skin.any()):
        return 0.0
    return max(float(red[lips].mean() - red[skin].mean()), 0.0)


def _chosen(worth: dict[int, float], pose_deg: Floats, open_ones: list[int]) -> list[int]:
    """Choose shut mouths that are good and suit the open ones: the one that adds most comes next.

    Args:
        worth: Of each shut mouth, 0..1.
        pose_deg: Of all pictures, ``[n, 3]``.
        open_ones: The pictures with mouths to lay them over.
    """
    shut_ones = np.array(sorted(worth))
    turned = _turned(pose_deg[open_ones], pose_deg[shut_ones])
    suits = np.exp(-0.5 * np.square(turned / _TURN_DEG)) * [worth[k] for k in shut_ones.tolist()]
    chosen: list[int] = []
    so_far = np.zeros((len(open_ones), 1))
    while len(chosen) < min(_MOST, len(shut_ones)):
        gains = np.maximum(suits - so_far, 0).mean(0)
        best = int(gains.argmax())
        if chosen and gains[best] < _LEAST_GAIN:
            break
        chosen.append(int(shut_ones[best]))
        so_far = np.maximum(so_far, suits[:, best : best + 1])
    return chosen


def _donor(picture: Picture, landmarks: Floats, pose_deg: Floats, worth: float) -> _Donor:
    closer = MouthCloser(landmarks[None])
    return _Donor(closer.shut(0, picture), closer.landmarks()[0], pose_deg, worth)


def _turned(first: Floats, second: Floats) -> Floats:
    """How far heads are turned apart, in degrees: ``[n, 3]`` and ``[m, 3]`` → ``[n, m]``.

    Roll counts for nothing: what is laid over is turned with it.
    """
    apart = first[:, None, :2] - second[None, :, :2]
    return np.asarray(np.nan_to_num(np.linalg.norm(apart, axis=-1), nan=np.inf), np.float32)


def _fitted(source: Floats, target: Floats) -> Affine:
    """Return the affine map ``[2, 3]`` that lays the firm parts of one face over another's."""
    weights = _FIRMNESS[:, None]
    points = np.column_stack([source[_FIRM], np.ones(len(_FIRM))]) * weights
    found = np.linalg.lstsq(points, target[_FIRM] * weights, rcond=None)[0]
    return np.asarray(found.T, np.float64)


def _lips_of(placed: list[_Placed]) -> Floats:
    """Return the landmarks of the lips that are laid over a picture, in the order of `_LIPS`."""
    lips = sum(
        share * (donor.landmarks[_LIPS] @ moved[:, :2].T + moved[:, 2])
        for donor, moved, share in placed
    )
    return np.asarray(lips, np.float32)


def _laid_over(picture: Picture, face: Floats, placed: list[_Placed], amount: float) -> Picture:
    """Return ``picture`` with the mixture of mouths laid over it.

    Args:
        picture: Its mouth shut by a warp.
        face: Its landmarks, ``[468, 2]``.
        placed: What to lay over it.
        amount: Its opacity, 0..1.
    """
    unit = _unit(face)
    result = picture.copy()
    planes = planes_of(result)
    height, width = planes[0].shape
    lips = np.concatenate([face[_OUTLINE], _lips_of(placed)])
    reach = (_BEYOND_LIPS[1] + _SMOOTH) * unit + 2
    left, top = (np.maximum(lips.min(0) - reach, 0) // 2 * 2).astype(int).tolist()
    right, bottom = (np.minimum(lips.max(0) + reach, (width, height)) // 2 * 2).astype(int).tolist()
    if right - left < 4 or bottom - top < 4:
        return picture
    opacity = _opacity((bottom - top, right - left), lips, face, np.array([left, top]), unit)
    for number, step in enumerate((1, 2, 2)):
        box = slice(top // step, bottom // step), slice(left // step, right // step)
        part = planes[number][box].astype(np.float32)
        laid = np.zeros_like(part)
        for donor, to_picture, share in placed:
            laid += share * _seen_at(
                planes_of(donor.picture)[number], to_picture, step, (left, top), part.shape
            )
        shown = opacity if step == 1 else _half(opacity)
        laid += _light(part - laid, shown, _SMOOTH * unit / step)
        part += amount * shown * (laid - part)
        planes[number][box] = np.rint(np.clip(part, 0, 255))
    return result


def _seen_at(
    plane: NDArray[np.uint8],
    to_picture: Affine,
    step: int,
    corner: tuple[int, int],
    size: tuple[int, ...],
) -> Floats:
    """Return a donor's plane, of which one in ``step`` pixels is there, as a box of the picture."""
    moved = to_picture.copy()
    middle = np.full(2, 0.5 * (step - 1))
    moved[:, 2] = (moved[:, 2] + moved[:, :2] @ middle - middle - corner) / step
    return cv2.warpAffine(
        plane, moved, size[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    ).astype(np.float32)


def _opacity(
    size: tuple[int, int], lips: Floats, face: Floats, corner: NDArray[np.int64], unit: float
) -> Floats:
    """Return how much of what is laid over is seen, 0..1, float32 of ``size``."""
    outline = cv2.convexHull((lips - corner).astype(np.float32))[:, 0]
    beyond = cv2.distanceTransform(1 - _filled(size, outline), cv2.DIST_L2, 5)
    inside = cv2.distanceTransform(
        np.pad(_filled(size, np.asarray(face[_FACE] - corner)), 1, "edge"), cv2.DIST_L2, 5
    )[1:-1, 1:-1]
    down, rows, columns = _down(face), np.arange(size[0])[:, None], np.arange(size[1])
    nose = face[_NOSE_BASE] - corner
    below = (columns - nose[0]) * down[0] + (rows - nose[1]) * down[1]
    opacity = np.ones(size, np.float32)
    for far, (whole, gone) in (
        (beyond, _BEYOND_LIPS),
        (inside, _INSIDE_FACE),
        (below, _BELOW_NOSE),
    ):
        part = np.clip((far / unit - gone) / (whole - gone), 0, 1)
        opacity *= part * part * (3 - 2 * part)
    return opacity


def _light(difference: Floats, opacity: Floats, smooth_px: float) -> Floats:
    """Continue the difference of two pictures from the border of ``opacity`` to where it is 1."""
    border = ((opacity > _BORDER[0]) & (opacity < _BORDER[1])).astype(np.float32)
    smooth = np.asarray(cv2.GaussianBlur(difference, (0, 0), smooth_px), np.float32)
    return np.asarray(cv2.GaussianBlur(_spread(smooth, border), (0, 0), smooth_px), np.float32)


def _spread(values: Floats, known: Floats) -> Floats:
    """Fill in what is not ``known`` (0..1), smoothly, from coarse to fine."""
    height, width = values.shape
    if min(height, width) <= 2:
        return np.full_like(values, (values * known).sum() / max(float(known.sum()), 1e-6))
    half = ((width + 1) // 2, (height + 1) // 2)
    share = np.asarray(cv2.resize(known, half, interpolation=cv2.INTER_AREA), np.float32)
    mean = np.asarray(cv2.resize(values * known, half, interpolation=cv2.INTER_AREA), np.float32)
    mean /= np.maximum(share, 1e-6)
    coarse = _spread(mean, np.asarray(np.minimum(2 * share, 1), np.float32))
    around = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(known * values + (1 - known) * around, np.float32)


def _filled(size: tuple[int, ...], outline: NDArray[Any]) -> NDArray[np.uint8]:
    """Return 1 within an outline, 0 elsewhere."""
    mask = np.zeros(size, np.uint8)
    points = np.rint(outline * 2**_SUBPIXEL_BITS).astype(np.int32)
    cv2.fillPoly(mask, [points], 1, cv2.LINE_8, _SUBPIXEL_BITS)
    return mask


def _grown(mask: NDArray[np.uint8], reach_px: float) -> NDArray[np.uint8]:
    side = 2 * max(round(reach_px), 1) + 1
    return np.asarray(cv2.dilate(mask, np.ones((side, side), np.uint8)), np.uint8)


def _half(opacity: Floats) -> Floats:
    size = (opacity.shape[1] // 2, opacity.shape[0] // 2)
    return np.asarray(cv2.resize(opacity, size, interpolation=cv2.INTER_AREA), np.float32)


def _down(landmarks: Floats) -> Floats:
    """Return the direction in which a face points down, a unit vector."""
    eyes = landmarks[RIGHT_EYE_OUTER] - landmarks[LEFT_EYE_OUTER]
    return np.asarray(np.array([-eyes[1], eyes[0]]) / np.hypot(*eyes), np.float32)


def _unit(landmarks: Floats) -> float:
    """Return a mouth's width, by the eyes, too: a grin does not make the face larger."""
    mouth = landmarks[RIGHT_MOUTH_CORNER] - landmarks[LEFT_MOUTH_CORNER]
    eyes = landmarks[RIGHT_EYE_OUTER] - landmarks[LEFT_EYE_OUTER]
    return float(0.5 * np.hypot(*mouth) + 0.25 * np.hypot(*eyes))
