"""Poses, and how the parts of the presenter move with them.

Each part is a texture on a grid of points with a depth. Turning the head turns these points in
space, so the nose travels further than the cheeks, the cheeks further than the ears, and the hair
behind goes the other way. At rest every point is exactly where it was painted.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""Canonical coordinates ``[..., 2]``."""

PIVOT = np.array([256.0, 306.0])
"""Where the skull sits on the spine."""
_AXIS_DEPTH = -12.0
_EYE_DISTANCE = 1500.0
_BODY_PIVOT = np.array([256.0, 600.0])
_NECK_BASE = np.array([256.0, 372.0])


@dataclass(frozen=True, slots=True)
class Pose:
    """Everything that moves. All zeros is the rest pose that clips share."""

    yaw: float = 0.0
    """Degrees, positive to the viewer's right."""
    pitch: float = 0.0
    """Degrees, positive down."""
    roll: float = 0.0
    """Degrees, positive towards the viewer's right shoulder."""
    sway: float = 0.0
    """How far the hair's tips trail behind the head, canonical pixels."""
    breath: float = 0.0
    """-1..1."""
    lean: float = 0.0
    """Degrees, of the whole body to the viewer's right."""
    approach: float = 0.0
    """Towards the viewer, in parts of 1."""
    shrug: float = 0.0
    """Shoulders up, canonical pixels."""
    blink: float = 0.0
    gaze_x: float = 0.0
    gaze_y: float = 0.0
    brows: float = 0.0
    brow_skew: float = 0.0
    frown: float = 0.0
    smile: float = 0.0
    wave: float = 0.0
    """How far the waving hand is up, 0..1."""
    wave_swing: float = 0.0
    """-1..1."""
    offer: float = 0.0
    """How far the presenting hand is up, 0..1."""
    offer_swing: float = 0.0
    """-1..1."""


def _smoothstep(value: NDArray[np.float64]) -> NDArray[np.float64]:
    value = np.clip(value, 0, 1)
    return value * value * (3 - 2 * value)


def turn_head(pose: Pose, points: Points, depth: NDArray[np.float64]) -> Points:
    """Where ``points`` with ``depth`` go as the head turns, the body standing still."""
    yaw, pitch, roll = np.radians([pose.yaw, pose.pitch, pose.roll])
    x, y = points[..., 0] - PIVOT[0], points[..., 1] - PIVOT[1]
    z = depth - _AXIS_DEPTH
    turned_x = x * np.cos(yaw) + z * np.sin(yaw)
    z1 = z * np.cos(yaw) - x * np.sin(yaw)
    turned_y = y * np.cos(pitch) + z1 * np.sin(pitch)
    z2 = z1 * np.cos(pitch) - y * np.sin(pitch)
    # perspective, relative to the one that the rest pose is painted in
    scale = (_EYE_DISTANCE - z) / (_EYE_DISTANCE - z2)
    turned_x, turned_y = turned_x * scale, turned_y * scale
    cos, sin = np.cos(roll), np.sin(roll)
    return np.stack(
        [
            turned_x * cos - turned_y * sin + PIVOT[0],
            turned_x * sin + turned_y * cos + PIVOT[1],
        ],
        axis=-1,
    )


def move_body(pose: Pose, points: Points) -> Points:
    """Breathing, shrugging and leaning of ``points`` on the body."""
    x, y = points[..., 0], points[..., 1]
    lift = _smoothstep((580 - y) / 170)
    rise = 1.5 * pose.breath * lift
    rise = rise + pose.shrug * lift * _smoothstep(np.abs(x - 256) / 110)
    widen = 1 + 0.0032 * pose.breath * np.exp(-(((y - 470) / 60) ** 2))
    moved = np.stack([256 + (x - 256) * widen, y - rise], axis=-1)
    angle = np.radians(pose.lean)
    cos, sin = np.cos(angle), np.sin(angle)
    offset = (moved - _BODY_PIVOT) * (1 + pose.approach)
    turned = np.stack(
        [
            offset[..., 0] * cos - offset[..., 1] * sin,
            offset[..., 0] * sin + offset[..., 1] * cos,
        ],
        axis=-1,
    )
    return np.asarray(turned + _BODY_PIVOT)


def move_with_head(
    pose: Pose, points: Points, depth: NDArray[np.float64], hold: NDArray[np.float64] | float = 1.0
) -> Points:
    """Where ``points`` go with head and body; ``hold`` 1 is all head, 0 all body."""
    held = np.asarray(hold)[..., None] if np.ndim(hold) else hold
    turned = turn_head(pose, points, depth)
    neck = move_body(pose, _NECK_BASE[None])[0] - _NECK_BASE
    angle = np.radians(0.75 * pose.lean)
    cos, sin = np.cos(angle), np.sin(angle)
    offset = (turned - PIVOT) * (1 + pose.approach)
    leaned = np.stack(
        [
            offset[..., 0] * cos - offset[..., 1] * sin,
            offset[..., 0] * sin + offset[..., 1] * cos,
        ],
        axis=-1,
    )
    with_head = leaned + PIVOT + neck
    return np.asarray(with_head * held + move_body(pose, points) * (1 - held))
