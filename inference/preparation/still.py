"""Life for a still picture: turns and dips of the head, breathing, glances and blinks.

A head that turns or dips by a few degrees is seen by its features: they go across the face while
its outline hardly moves. So that is what moves most here, and the background stays as it is. The
head as a whole sways a little, and the shoulders rise with the breath; that field is smooth and
fades towards the picture's edges. Eyeballs move within their lids, and lids are drawn down over the
eyes, as `inference.engines.viseme.renderers.eyelids` does it live. All curves are periodic, so
that every clip ends where it began, at the picture itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.assets.manifest import ClipState
from inference.engines.viseme.renderers.eyelids import Eye, edge_of, shut_eye
from inference.engines.viseme.renderers.warp import LIDS
from inference.media.compositor import planes_of
from inference.media.types import Patch, Picture
from inference.timing import FRAMES_PER_SECOND

Floats = NDArray[np.float32]

_BREATH = 0.006
"""Rise of the shoulders, in heights of the head."""
_WITH_HEAD = 0.25
"""Of a dip, the part that the whole head makes."""
_COARSE = 4
"""The field is smooth: one value for so many pixels is enough."""
_BLINK = (0.25, 0.8, 1.0, 0.95, 0.7, 0.4, 0.15)
"""How far the lids are shut, picture by picture."""
_GLANCE = 0.085
"""How far the eyeballs go at 1, in widths of the eye."""
_SACCADE = 2
"""Pictures that a jump of the eyes takes."""


_SECOND = FRAMES_PER_SECOND


@dataclass(frozen=True, slots=True)
class MotionPreset:
    """How a still picture moves in one clip. Lengths in pictures, angles in degrees.

    ``title``: for people; ``sway``: of the head as a whole; ``turn``, ``nod``: how far its features
    go aside and down, in hundredths of its height; ``waves``: how often in the clip; ``blinks``:
    pictures at which one begins; ``glances``: first and last picture, and how far to the viewer's
    right, -1..1.
    """

    title: str
    state: ClipState
    frames: int
    sway: float
    turn: float
    nod: float
    waves: int
    blinks: tuple[int, ...]
    glances: tuple[tuple[int, int, float], ...] = ()


MOTION_PRESETS = (
    MotionPreset("calm", "idle", 5 * _SECOND, 0.25, 0.9, 0.6, 1, (38, 97), ((60, 76, 0.35),)),
    MotionPreset(
        "glance", "idle", 6 * _SECOND, 0.2, 1.3, 0.8, 1, (61,), ((24, 52, 0.9), (88, 108, -0.5))
    ),
    MotionPreset(
        "double blink", "idle", 4 * _SECOND, -0.2, -0.8, 0.5, 1, (27, 36), ((58, 72, -0.4),)
    ),
    MotionPreset("plain", "speaking", 4 * _SECOND, 0.4, 1.5, 1.3, 2, (52,), ((66, 80, 0.4),)),
    MotionPreset(
        "lively", "speaking", 5 * _SECOND, -0.45, -1.8, 1.4, 2, (30, 88), ((96, 112, -0.6),)
    ),
    MotionPreset("nod", "action", 2 * _SECOND, 0.0, 0.0, 4.5, 2, (20,)),
)
"""The clips a still picture is given; the action is a nod."""


def moved_landmarks(landmarks: Floats, preset: MotionPreset) -> Floats:
    """Return the landmarks in each picture of the clip, float32 ``[frames, 468, 2]``."""
    head = _Head.of(landmarks)
    x, y = landmarks[:, 0].astype(np.float32), landmarks[:, 1].astype(np.float32)
    # The field says where a pixel comes from; a landmark goes the other way.
    moves = [head.displacement(x, y, head.motion(preset, frame)) for frame in range(preset.frames)]
    return np.stack([np.stack([x - dx, y - dy], axis=1) for dx, dy in moves])


def moved_pictures(picture: Picture, landmarks: Floats, preset: MotionPreset) -> Iterator[Picture]:
    """Yield the pictures of the clip, I420; the first is ``picture``."""
    height, width = picture.shape[0] * 2 // 3, picture.shape[1]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    coarse_y, coarse_x = (np.mgrid[: height // _COARSE, : width // _COARSE] + 0.5) * _COARSE - 0.5
    head = _Head.of(landmarks)
    eyes = [Eye(landmarks[upper], landmarks[lower]) for upper, lower in LIDS]
    for frame in range(preset.frames):
        coarse = head.displacement(coarse_x, coarse_y, head.motion(preset, frame))
        dx, dy = (np.asarray(cv2.resize(part, (width, height)), np.float32) for part in coarse)
        shut = max((_lid(frame - start) for start in preset.blinks), default=0.0)
        aside = _glance(preset, frame)
        shown = picture
        for eye in eyes:
            if aside:
                _look_aside(dx, eye, aside)
            if shut:
                shown = picture.copy() if shown is picture else shown
                shut_eye(Patch(0, 0, *planes_of(shown)), eye, shut)
        yield _moved(shown, x + dx, y + dy)


@dataclass(frozen=True, slots=True)
class _Motion:
    """Sway in radians, the others in pixels."""

    sway: float
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

    def motion(self, preset: MotionPreset, frame: int) -> _Motion:
        phase = 2 * np.pi * frame / preset.frames
        dip = (1 - np.cos(preset.waves * phase)) / 2
        breath = (1 - np.cos(2 * phase)) / 2
        return _Motion(
            sway=float(np.radians(preset.sway) * np.sin(preset.waves * phase)),
            turn=float(preset.turn / 100 * self.height * np.sin(phase) * (1 - 0.3 * np.cos(phase))),
            dip=float(preset.nod / 100 * self.height * dip),
            breath=float(_BREATH * self.height * breath),
        )

    def displacement(self, x: Floats, y: Floats, motion: _Motion) -> tuple[Floats, Floats]:
        """Where the pixels at ``x, y`` come from, relative to themselves."""
        up = (self.chin - y) / self.height
        across = (x - self.x) / self.height
        # The neck gives way between the chin and the shoulders; far from the head all is still.
        is_head = _rise(up + 0.55, 0.6) * (1 - _rise(np.hypot(across, up - 0.55) - 0.75, 1.1))
        is_body = _rise(-up - 0.1, 0.5) * (1 - _rise(np.abs(across) - 1.0, 0.8))
        # 1 about the nose, 0 at the outline of the face
        is_feature = _rise(1 - np.hypot(across / 0.42, (up - 0.48) / 0.60), 0.85)
        pivot = self.chin + 0.35 * self.height
        dx = motion.sway * (y - pivot) * is_head - motion.turn * is_feature
        dy = -motion.sway * (x - self.x) * is_head
        dy -= motion.dip * (_WITH_HEAD * is_head + (1 - _WITH_HEAD) * is_feature)
        dy += motion.breath * (is_head * 0.6 + is_body)
        return np.asarray(dx, np.float32), np.asarray(dy, np.float32)


def _rise(t: Floats, width: float) -> Floats:
    t = np.clip(t / width, 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _lid(since: int) -> float:
    return _BLINK[since] if 0 <= since < len(_BLINK) else 0.0


def _glance(preset: MotionPreset, frame: int) -> float:
    """Return how far the eyes look aside in a picture, -1..1."""
    return sum(
        aside * min(max(min(frame - first, last - frame) / _SACCADE, 0.0), 1.0)
        for first, last, aside in preset.glances
    )


def _look_aside(dx: Floats, eye: Eye, aside: float) -> None:
    """Move what is between the lids; they and the corners stay."""
    left, right = float(eye.upper[:, 0].min()), float(eye.upper[:, 0].max())
    top, bottom = float(eye.upper[:, 1].min()), float(eye.lower[:, 1].max())
    columns = np.arange(max(int(left), 0), min(int(right) + 1, dx.shape[1]), dtype=np.float32)
    rows = np.arange(max(int(top), 0), min(int(bottom) + 2, dx.shape[0]), dtype=np.float32)
    if not (columns.size and rows.size):
        return
    lid, rim = edge_of(eye.upper, columns), edge_of(eye.lower, columns)
    within = np.clip(np.minimum(rows[:, None] - lid, rim - rows[:, None]) / 1.5, 0, 1)
    corners = np.minimum(columns - left, right - columns) / (0.25 * (right - left))
    part = dx[int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]
    part -= aside * _GLANCE * (right - left) * within * np.clip(corners, 0, 1)


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
