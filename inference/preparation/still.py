"""Life for a still picture: a little sway of the head, breathing, and blinks.

A displacement field moves the head as a whole and the shoulders with the breath; it is smooth and
fades towards the picture's edges, so the background bends by a pixel or two and nothing tears. The
eyelids are drawn down over the eyes column by column, as the engine's warp moves lips. All curves
are periodic, so that every clip ends where it began, at the picture itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.assets.manifest import ClipState
from inference.media.types import Picture
from inference.timing import FRAMES_PER_SECOND

Floats = NDArray[np.float32]

_BREATH = 0.006
"""Rise of the shoulders, in heights of the head."""
_COARSE = 4
"""The field is smooth: one value for so many pixels is enough."""
_BLINK = (0.25, 0.8, 1.0, 0.95, 0.7, 0.4, 0.15)
"""How far the lids are shut, picture by picture."""
EYES = (
    # landmarks of the upper and the lower lid, corner to corner, and of the fold above
    ([33, 246, 161, 160, 159, 158, 157, 173, 133], [33, 7, 163, 144, 145, 153, 154, 155, 133], 223),
    (
        [362, 398, 384, 385, 386, 387, 388, 466, 263],
        [362, 382, 381, 380, 374, 373, 390, 249, 263],
        443,
    ),
)


@dataclass(frozen=True, slots=True)
class Life:
    """How a still picture moves in one clip. Lengths in pictures, angles in degrees.

    ``title``: for people; ``sway``: turn of the head; ``nod``: its dip, in hundredths of its
    height; ``waves``: how often in the clip; ``blinks``: pictures at which one begins.
    """

    title: str
    state: ClipState
    frames: int
    sway: float
    nod: float
    waves: int
    blinks: tuple[int, ...]


LIVES = (
    Life("calm", "idle", 5 * FRAMES_PER_SECOND, 0.7, 0.5, 1, (38, 97)),
    Life("slow nod", "idle", 6 * FRAMES_PER_SECOND, 0.5, 0.8, 1, (61,)),
    Life("double blink", "idle", 4 * FRAMES_PER_SECOND, -0.6, 0.4, 1, (27, 36)),
    Life("plain", "speaking", 4 * FRAMES_PER_SECOND, 1.3, 1.2, 2, (52,)),
    Life("lively", "speaking", 5 * FRAMES_PER_SECOND, -1.5, 1.0, 2, (30, 88)),
    Life("nod", "action", 2 * FRAMES_PER_SECOND, 0.0, 5.0, 2, (20,)),
)
"""The clips a still picture is given; the action is a nod."""


def moved_landmarks(landmarks: Floats, life: Life) -> Floats:
    """Return the landmarks in each picture of the clip, float32 ``[frames, 468, 2]``."""
    head = _Head.of(landmarks)
    x, y = landmarks[:, 0].astype(np.float32), landmarks[:, 1].astype(np.float32)
    # The field says where a pixel comes from; a landmark goes the other way.
    moves = [head.displacement(x, y, head.motion(life, frame)) for frame in range(life.frames)]
    return np.stack([np.stack([x - dx, y - dy], axis=1) for dx, dy in moves])


def moved_pictures(picture: Picture, landmarks: Floats, life: Life) -> Iterator[Picture]:
    """Yield the pictures of the clip, I420; the first is ``picture``."""
    height, width = picture.shape[0] * 2 // 3, picture.shape[1]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    coarse_y, coarse_x = (np.mgrid[: height // _COARSE, : width // _COARSE] + 0.5) * _COARSE - 0.5
    head = _Head.of(landmarks)
    for frame in range(life.frames):
        coarse = head.displacement(coarse_x, coarse_y, head.motion(life, frame))
        dx, dy = (cv2.resize(part, (width, height)) for part in coarse)
        shut = max((_lid(frame - start) for start in life.blinks), default=0.0)
        if shut:
            for upper, lower, fold in EYES:
                lid = _eyelid(x, y, landmarks[upper], landmarks[lower], landmarks[fold], shut)
                dy = np.asarray(dy + lid, np.float32)
        yield _moved(picture, x + dx, y + dy)


@dataclass(frozen=True, slots=True)
class _Motion:
    """Turn in radians, dip and breath in pixels."""

    turn: float
    dip: float
    breath: float


@dataclass(frozen=True, slots=True)
class _Head:
    x: float
    chin: float
    middle: float
    height: float

    @classmethod
    def of(cls, landmarks: Floats) -> "_Head":
        chin, top = landmarks[152], landmarks[10]
        return cls(
            float(chin[0]), float(chin[1]), float(landmarks[1, 1]), float(np.hypot(*(chin - top)))
        )

    def motion(self, life: Life, frame: int) -> _Motion:
        phase = 2 * np.pi * frame / life.frames
        dip = (1 - np.cos(life.waves * phase)) / 2
        breath = (1 - np.cos(2 * phase)) / 2
        return _Motion(
            turn=float(np.radians(life.sway) * np.sin(life.waves * phase)),
            dip=float(life.nod / 100 * self.height * dip),
            breath=float(_BREATH * self.height * breath),
        )

    def displacement(self, x: Floats, y: Floats, motion: _Motion) -> tuple[Floats, Floats]:
        """Where the pixels at ``x, y`` come from, relative to themselves."""
        up = (self.chin - y) / self.height
        across = (x - self.x) / self.height
        # The neck gives way between the chin and the shoulders; far from the head all is still.
        is_head = _rise(up + 0.55, 0.6) * (1 - _rise(np.hypot(across, up - 0.55) - 0.75, 1.1))
        is_body = _rise(-up - 0.1, 0.5) * (1 - _rise(np.abs(across) - 1.0, 0.8))
        pivot = self.chin + 0.35 * self.height
        dx = motion.turn * (y - pivot) * is_head
        dy = -motion.turn * (x - self.x) * is_head - motion.dip * is_head
        dy += motion.breath * (is_head * 0.6 + is_body)
        return np.asarray(dx, np.float32), np.asarray(dy, np.float32)


def _rise(t: Floats, width: float) -> Floats:
    t = np.clip(t / width, 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _lid(since: int) -> float:
    return _BLINK[since] if 0 <= since < len(_BLINK) else 0.0


def _eyelid(
    x: Floats, y: Floats, upper: Floats, lower: Floats, fold: Floats, shut: float
) -> Floats:
    """Displacement down of the skin above an eye, zero outside of it."""
    left, right = float(upper[:, 0].min()), float(upper[:, 0].max())
    columns = np.arange(x.shape[1], dtype=np.float32)
    order_u, order_l = np.argsort(upper[:, 0]), np.argsort(lower[:, 0])
    lid = np.interp(columns, upper[order_u, 0], upper[order_u, 1])
    rim = np.interp(columns, lower[order_l, 0], lower[order_l, 1])
    inside = np.clip(np.minimum(columns - left, right - columns) / (0.06 * (right - left)), 0, 1)
    drop = (rim - lid) * 0.98 * shut * inside
    brow = np.minimum(float(fold[1]), lid - 1)
    target = lid + drop
    # Above the lid skin stretches, the eye below it is squeezed away under the lower rim.
    stretched = np.clip((y - brow) / np.maximum(target - brow, 1), 0, 1)
    squeezed = np.clip((y - target) / np.maximum(rim - target, 0.5), 0, 1)
    return np.asarray(-drop * (stretched - squeezed), np.float32)


def _moved(picture: Picture, from_x: Floats, from_y: Floats) -> Picture:
    height, width = picture.shape[0] * 2 // 3, picture.shape[1]
    chroma = picture[height:].reshape(2, height // 2, width // 2)
    result = np.empty_like(picture)
    result[:height] = cv2.remap(
        picture[:height], from_x, from_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    out = result[height:].reshape(2, height // 2, width // 2)
    size = (width // 2, height // 2)
    half_x = (cv2.resize(from_x, size, interpolation=cv2.INTER_AREA) - 0.5) / 2
    half_y = (cv2.resize(from_y, size, interpolation=cv2.INTER_AREA) - 0.5) / 2
    for plane in range(2):
        out[plane] = cv2.remap(
            chroma[plane], half_x, half_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    return result
