"""Eyes that are larger than a person's, as drawn figures have them.

The mesh has learned the eyes of people. In larger ones it puts the lids over the iris, so that
lids that shut there leave a rim of the eye to be seen. What has the colors of an eye and adjoins it
is eye, too: GrabCut (Rother et al. 2004) decides where it ends. Of a person's eye the landmarks say
that better than colors do: lids move only if both eyes are much larger than their landmarks.
"""

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.engines.viseme.renderers.warp import LIDS
from inference.media.types import Picture

Floats = NDArray[np.float32]
Mask = NDArray[np.uint8]

_WIDTH = 96
"""Pixels of an eye between its corners where it is looked at."""
_LEFT, _TOP, _RIGHT, _BOTTOM = 0.85, 0.55, 0.85, 0.65
"""What is looked at around the middle between the corners; this and what follows in eye widths."""
_ASIDE, _UP, _DOWN = 0.15, 0.08, 0.30
"""How far beyond its landmarks an eye may reach."""
_MARGIN = 0.04
"""How much further it is certain that there is no eye."""
_CORE = 0.9
"""Of the landmarks' outline, counted from its middle: what is eye in any case."""
_ROUNDS = 4
_SMALLEST = 0.12
"""What is narrower than this is a lash or a wrinkle."""
_LARGER = (0.20, 0.32)
"""Of an eye's outline, what adjoins it below its upper lid: from which share on lids move, and at
which they move all the way. People's eyes have less of it, one of the two at least."""
_SMOOTH = 0.08
"""How far along an edge its height is evened."""
_LEAST_PX = 10
"""Width of an eye from which on it can be looked at."""


class _Look(NamedTuple):
    """One eye, upright.

    ``picture``: uint8 ``[height, width, 3]``; ``to_picture``: float64 ``[2, 3]`` maps its pixels to
    those of the whole picture.
    """

    picture: NDArray[np.uint8]
    to_picture: NDArray[np.float64]

    @classmethod
    def at(cls, bgr: NDArray[np.uint8], left: Floats, right: Floats) -> "_Look":
        """Look at the eye between two corners."""
        across = (right.astype(np.float64) - left) / _WIDTH
        down = np.array([-across[1], across[0]])
        corner = (left + right) / 2 - _WIDTH * (_LEFT * across + _TOP * down)
        to_picture = np.column_stack([across, down, corner])
        size = round((_LEFT + _RIGHT) * _WIDTH), round((_TOP + _BOTTOM) * _WIDTH)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        seen = cv2.warpAffine(bgr, to_picture, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return cls(np.asarray(seen, np.uint8), to_picture)

    def placed(self, points: Floats) -> Floats:
        """Return where points of the picture are in it."""
        return _mapped(points, np.asarray(cv2.invertAffineTransform(self.to_picture), np.float64))

    def put_back(self, points: Floats) -> Floats:
        """Return where points in it are in the picture."""
        return _mapped(points, self.to_picture)


def on_eye_outlines(picture: Picture, landmarks: Floats) -> Floats:
    """Return ``landmarks``, float32 ``[468, 2]``, with the lids around the eyes that are seen."""
    bgr = np.asarray(cv2.cvtColor(picture, cv2.COLOR_YUV2BGR_I420), np.uint8)
    moved = landmarks.copy()
    larger = []
    for upper, lower in LIDS:
        left, right = landmarks[upper[0]], landmarks[upper[-1]]
        if right[0] < left[0] or float(np.hypot(*(right - left))) < _LEAST_PX:
            return landmarks
        look = _Look.at(bgr, left, right)
        lids = look.placed(landmarks[upper]), look.placed(landmarks[lower])
        outline = np.concatenate([lids[0], lids[1][::-1]])
        eye = _eye(look.picture, outline)
        larger.append(_beyond(eye, outline, lids[0]))
        for names, points in zip((upper, lower), _around(*lids, eye), strict=True):
            moved[names] = look.put_back(points)
    share = float(np.interp(min(larger), _LARGER, (0, 1)))
    return np.asarray(landmarks + share * (moved - landmarks), np.float32)


def _eye(seen: NDArray[np.uint8], outline: Floats) -> Mask:
    """Return 1 where the eye is: the part of the picture that is like what is in ``outline``."""
    shape = seen.shape[:2]
    middle = outline.mean(axis=0)
    whole = _filled(shape, outline)
    core = _filled(shape, middle + (outline - middle) * _CORE)
    near = np.asarray(cv2.dilate(whole, _ellipse(_ASIDE + _MARGIN, _DOWN + _MARGIN)), np.uint8)
    highest = int(outline[:, 1].min() - (_UP + _MARGIN) * _WIDTH)
    near[: max(highest, 0)] = 0
    kinds = np.where(near, cv2.GC_PR_BGD, cv2.GC_BGD).astype(np.uint8)
    kinds[whole > 0] = cv2.GC_PR_FGD
    kinds[core > 0] = cv2.GC_FGD
    cv2.setRNGSeed(0)  # the first clusters of colors are drawn at random
    everywhere = (0, 0, 0, 0)  # the mask says where
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(seen, kinds, everywhere, *models, _ROUNDS, cv2.GC_INIT_WITH_MASK)
    eye = np.isin(kinds, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    eye = np.asarray(
        cv2.morphologyEx(eye, cv2.MORPH_OPEN, _ellipse(_SMALLEST / 2, _SMALLEST / 2)), np.uint8
    )
    _, parts = cv2.connectedComponents(eye | core)
    return np.asarray(np.isin(parts, np.unique(parts[core > 0])), np.uint8)


def _beyond(eye: Mask, outline: Floats, upper: Floats) -> float:
    """Return how much of the ``eye`` is outside its outline, below its upper lid: its share."""
    height, width = eye.shape
    within = _filled(eye.shape, outline)
    is_beyond = (eye > within) & (np.arange(height)[:, None] >= _height(upper, np.arange(width)))
    return float(is_beyond.sum()) / max(int(within.sum()), 1)


def _around(upper: Floats, lower: Floats, eye: Mask) -> tuple[Floats, Floats]:
    """Return both lids, moved outwards to where the ``eye`` ends."""
    reach = _ASIDE * _WIDTH
    left, right = float(upper[0, 0]), float(upper[-1, 0])
    columns = np.flatnonzero(eye.any(axis=0))
    first = max(min(left, float(columns[0])), left - reach)
    last = min(max(right, float(columns[-1])), right + reach)
    x = np.arange(first, last, dtype=np.float32)
    seen = eye[:, x.astype(int)]
    is_seen = seen.any(axis=0)
    tops = np.where(is_seen, seen.argmax(axis=0), np.inf)
    bottoms = np.where(is_seen, len(seen) - seen[::-1].argmax(axis=0), -np.inf)
    return (
        _moved(upper, x, -_evened(np.clip(_height(upper, x) - tops, 0, _UP * _WIDTH))),
        _moved(lower, x, _evened(np.clip(bottoms - _height(lower, x), 0, _DOWN * _WIDTH))),
    )


def _moved(lid: Floats, x: Floats, down: Floats) -> Floats:
    """Return a lid that ends where ``x`` does, and is lower by ``down`` there."""
    old = float(lid[0, 0]), float(lid[-1, 0])
    columns = np.interp(lid[:, 0], old, (x[0], x[-1]))
    heights = _height(lid, columns) + np.interp(columns, x, down)
    return np.stack([columns, heights], axis=1).astype(np.float32)


def _height(lid: Floats, x: NDArray[Any]) -> NDArray[np.float64]:
    """Return how far down a lid is at ``x``; beyond its ends, where they are."""
    order = np.argsort(lid[:, 0])
    return np.asarray(np.interp(x, lid[order, 0], lid[order, 1]))


def _evened(heights: NDArray[np.float64]) -> Floats:
    smooth = cv2.GaussianBlur(
        heights[None].astype(np.float32),
        (0, 0),
        _SMOOTH * _WIDTH / 2,
        borderType=cv2.BORDER_REPLICATE,
    )
    return np.asarray(smooth[0], np.float32)


def _filled(shape: tuple[int, ...], outline: Floats) -> Mask:
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.rint(outline).astype(np.int32)], 1)
    return mask


def _ellipse(across: float, down: float) -> Mask:
    """Return one of these half axes."""
    size = 2 * round(across * _WIDTH) + 1, 2 * round(down * _WIDTH) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, size), np.uint8)


def _mapped(points: Floats, affine: NDArray[np.floating]) -> Floats:
    return np.asarray(points @ affine[:, :2].T + affine[:, 2], np.float32)
