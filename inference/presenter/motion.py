"""How she moves: from the score of a clip to a pose for each frame.

Clips must follow one another at any second without a jump, and yet nobody must see her stop every
second. So all motion of size is a sum of *lobes*: half waves that pass through the rest pose every
`BEAT` frames. Each beat has its own height for each joint, its side too, and nods have double
frequency, so what one sees is an irregular sway, but at each beat everything stands where the next
clip begins. What is slow, breathing and a drift of the head, is allowed to be a fraction of a pixel
away. Blinks lie between the beats; the eyes may look anywhere, since jumps are what eyes do.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from inference.assets.manifest import ClipState
from inference.presenter.pose import Pose

BEAT = 22
"""Frames from rest to rest; below the second in which a change of clip must be seen."""

_BLINK = (0.25, 0.72, 0.98, 1.0, 0.84, 0.55, 0.30, 0.12)
_SLOW_BREATH = 0.18
"""Of a breath that takes the whole clip, some 15 a minute: as deep as nobody sees at an exit. The
lobes' own breath is over twice as quick, and therefore shallow."""
_EASE_ARM = 17
"""Frames an arm needs to go up or down."""

Heights = tuple[float, ...]
Window = tuple[float, float, float]
"""First frame, last frame, height: up, held, and down again."""


@dataclass(frozen=True, slots=True)
class ClipMotion:
    """The score of one clip: heights of the lobes beat by beat, and events by frame."""

    name: str
    title: str
    """What she does, for people."""
    state: ClipState
    yaw: Heights
    pitch: Heights
    roll: Heights
    breath: Heights
    nod: Heights = (0.0,)
    """Of pitch, two waves a beat."""
    shake: Heights = (0.0,)
    """Of yaw, two waves a beat."""
    lean: Heights = (0.0,)
    shrug: Heights = (0.0,)
    approach: Heights = (0.0,)
    blinks: tuple[int, ...] = ()
    gazes: tuple[tuple[int, float, float], ...] = ()
    """From this frame on the eyes look there; always ends at (0, 0)."""
    brows: tuple[Window, ...] = ()
    skews: tuple[Window, ...] = ()
    frowns: tuple[Window, ...] = ()
    smiles: tuple[Window, ...] = ()
    wave: Window | None = None
    offer: Window | None = None
    is_attentive: bool = False
    """She listens: shown while the user speaks."""

    @property
    def frames(self) -> int:
        return BEAT * len(self.yaw)


def lobes(frame: float, heights: Sequence[float], per_beat: int = 1) -> float:
    """Half waves, one or more a beat, zero at each beat; ``heights`` says how high and which side.

    A wave whose height blends from one beat's to the next (a cosine between their middles). Two
    neighbors on opposite sides make it swing through rest, on the same side touch it softly.
    """
    count = len(heights)
    position = frame / BEAT - 0.5
    first = math.floor(position)
    weight = 0.5 - 0.5 * math.cos(math.pi * (position - first))
    turns = per_beat % 2  # an odd number of half waves turns the wave's side each beat
    here = heights[first % count] * (-1.0) ** (turns * first)
    there = heights[(first + 1) % count] * (-1.0) ** (turns * (first + 1))
    return float((here + (there - here) * weight) * math.sin(math.pi * per_beat * frame / BEAT))


def window(frame: float, windows: Sequence[Window], ease: float = 6.0) -> float:
    """Return the sum of smooth windows at ``frame``."""
    total = 0.0
    for first, last, height in windows:
        edge = min(frame - first, last - frame) / ease
        edge = min(max(edge, 0.0), 1.0)
        total += height * edge * edge * (3 - 2 * edge)
    return total


def _blink(frame: int, starts: Sequence[int]) -> float:
    for start in starts:
        if 0 <= frame - start < len(_BLINK):
            return _BLINK[frame - start]
    return 0.0


def _gaze(frame: int, gazes: Sequence[tuple[int, float, float]]) -> tuple[float, float]:
    """Return how far the gaze has come at ``age`` frames of a saccade, which takes two."""
    before = now = (0.0, 0.0)
    since = 0
    for start, x, y in gazes:
        if start <= frame:
            before, now, since = now, (x, y), frame - start
    weight = min((since + 1) / 2, 1.0)
    return (
        before[0] + (now[0] - before[0]) * weight,
        before[1] + (now[1] - before[1]) * weight,
    )


def _dip(frame: float) -> float:
    """1 between the beats, 0.25 on them: for what need not quite vanish there."""
    return 0.25 + 0.75 * math.sin(math.pi * frame / BEAT) ** 2


def _sway(motion: ClipMotion, frame: float) -> float:
    """Return the hair's swing: its tips follow the head three frames late."""

    def at(moment: float) -> float:
        turned = lobes(moment, motion.yaw) + lobes(moment, motion.shake, 2)
        return 0.8 * turned - 0.9 * lobes(moment, motion.roll)

    return (at(frame - 3) - at(frame)) * math.sin(math.pi * frame / BEAT) ** 2


def pose_at(motion: ClipMotion, frame: int) -> Pose:
    """Return the pose in frame ``frame`` of the clip."""
    f = float(frame)
    looks = _gaze(frame, motion.gazes)
    cycle = 2 * math.pi * f / motion.frames
    raised = dict.fromkeys(("wave", "wave_swing", "offer", "offer_swing"), 0.0)
    if motion.wave:
        raised["wave"] = window(f, (motion.wave,), _EASE_ARM)
        since = f - motion.wave[0] - 12
        raised["wave_swing"] = math.sin(2 * math.pi * since / 15) * window(
            f, ((motion.wave[0] + 10, motion.wave[1] - 8, 1.0),), 8
        )
    if motion.offer:
        raised["offer"] = window(f, (motion.offer,), _EASE_ARM)
        raised["offer_swing"] = math.sin(2 * math.pi * (f - motion.offer[0]) / 36) * raised["offer"]
    return Pose(
        yaw=lobes(f, motion.yaw) + lobes(f, motion.shake, 2) + 0.06 * math.sin(cycle),
        pitch=lobes(f, motion.pitch) + lobes(f, motion.nod, 2),
        roll=lobes(f, motion.roll) - 0.04 * math.sin(cycle),
        sway=_sway(motion, f),
        breath=lobes(f, motion.breath) + _SLOW_BREATH * math.sin(cycle),
        lean=lobes(f, motion.lean),
        approach=lobes(f, motion.approach),
        shrug=lobes(f, motion.shrug),
        blink=_blink(frame, motion.blinks),
        gaze_x=looks[0],
        gaze_y=looks[1],
        brows=window(f, motion.brows) * _dip(f),
        brow_skew=window(f, motion.skews) * _dip(f),
        frown=window(f, motion.frowns) * _dip(f),
        smile=window(f, motion.smiles, 8) * _dip(f),
        **raised,
    )


def poses(motion: ClipMotion) -> list[Pose]:
    return [pose_at(motion, frame) for frame in range(motion.frames)]
