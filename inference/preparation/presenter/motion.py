"""What she does in each clip.

Clips must follow one another at any second without a jump, and yet nobody must see her stop every
second. So all slow motion is a sum of *lobes*: half waves that pass through the rest pose every
`BEAT` frames, at speed, swinging over from one side to the other. Each beat has its own height for
each joint and some have double frequency, so what one sees is an irregular sway, but at each beat
everything stands where the next clip begins. Blinks lie between the beats; the eyes may look
anywhere, since a jump of the gaze is what eyes do.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from inference.manifest import ClipState
from inference.preparation.presenter.pose import Pose

BEAT = 22
"""Frames from rest to rest; below the second in which a change of clip must be seen."""

_BLINK = (0.25, 0.72, 0.98, 1.0, 0.84, 0.55, 0.30, 0.12)
_EASE_ARM = 17
"""Frames an arm needs to go up or down."""

Heights = tuple[float, ...]
Window = tuple[float, float, float]
"""First frame, last frame, height: up, held, and down again."""


@dataclass(frozen=True, slots=True)
class ClipMotion:
    """The score of one clip: heights of the lobes beat by beat, and events by frame."""

    name: str
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
    beats: int = field(default=0)

    @property
    def frames(self) -> int:
        return BEAT * (self.beats or len(self.yaw))


def lobes(frame: float, heights: Sequence[float], per_beat: int = 1) -> float:
    """Half waves of ``heights``, zero at each beat; neighbours of one sign swing over smoothly.

    The height between the middles of two beats is a cosine blend of theirs.
    """
    count = len(heights)
    position = frame / BEAT - 0.5
    first = math.floor(position)
    weight = 0.5 - 0.5 * math.cos(math.pi * (position - first))
    signs = [1 if (i % 2 == 0) or per_beat % 2 == 0 else -1 for i in (first, first + 1)]
    here = heights[first % count] * signs[0]
    there = heights[(first + 1) % count] * signs[1]
    return (here + (there - here) * weight) * math.sin(math.pi * per_beat * frame / BEAT)


def window(frame: float, windows: Sequence[Window], ease: float = 6.0) -> float:
    """The sum of smooth windows at ``frame``."""
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
    """A saccade takes two frames."""
    before = now = (0.0, 0.0)
    since = 0
    for start, x, y in gazes:
        if start <= frame:
            before, now, since = now, (x, y), frame - start
    weight = min((since + 1) / 2, 1.0)
    return tuple(a + (b - a) * weight for a, b in zip(before, now, strict=True))  # type: ignore[return-value]


def _dip(frame: float) -> float:
    """1 between the beats, 0.25 on them: for what need not quite vanish there."""
    return 0.25 + 0.75 * math.sin(math.pi * frame / BEAT) ** 2


def _sway(motion: ClipMotion, frame: float) -> float:
    """The hair's tips follow the head three frames late."""

    def at(moment: float) -> float:
        turned = lobes(moment, motion.yaw) + lobes(moment, motion.shake, 2)
        return 0.8 * turned - 0.9 * lobes(moment, motion.roll)

    return (at(frame - 3) - at(frame)) * math.sin(math.pi * frame / BEAT) ** 2


def pose_at(motion: ClipMotion, frame: int) -> Pose:
    """The pose in frame ``frame`` of the clip."""
    f = float(frame)
    looks = _gaze(frame, motion.gazes)
    raised = {name: 0.0 for name in ("wave", "wave_swing", "offer", "offer_swing")}
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
        yaw=lobes(f, motion.yaw) + lobes(f, motion.shake, 2),
        pitch=lobes(f, motion.pitch) + lobes(f, motion.nod, 2),
        roll=lobes(f, motion.roll),
        sway=_sway(motion, f),
        breath=lobes(f, motion.breath),
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


def _varied(base: float, beats: int, seed: int) -> Heights:
    random = np.random.default_rng(seed)
    return tuple(float(base * h) for h in random.uniform(0.45, 1.1, beats))


def _speaking(
    number: int,
    yaw: Heights,
    pitch: Heights,
    roll: Heights,
    nod: Heights,
    **events: object,
) -> ClipMotion:
    return ClipMotion(
        f"speaking_{number}", "speaking", yaw, pitch, roll,
        _varied(0.8, len(yaw), 40 + number), nod=nod, **events,  # type: ignore[arg-type]
    )  # fmt: skip


CLIPS: tuple[ClipMotion, ...] = (
    # breathing, hardly more
    ClipMotion("idle_0", "idle", (1.3, 0.9, 1.5, 0.7), (0.5, 0.7, 0.4, 0.6), (0.7, 0.4, 0.6, 0.8), (1.0, 0.7, 1.0, 0.8),
               blinks=(29, 73), lean=(0.25, 0.2, 0.3, 0.2), gazes=((50, 0.12, 0.02), (60, 0.0, 0.0))),
    # a glance aside
    ClipMotion("idle_1", "idle", (0.8, 1.0, 6.5, 1.0, 0.6), (0.4, 0.6, 0.9, 0.5, 0.5), (0.5, 0.6, 1.4, 0.6, 0.4), (0.8, 0.9, 0.7, 1.0, 0.8),
               blinks=(48, 97), gazes=((41, 0.85, 0.05), (59, 0.0, 0.0)), lean=(0.2, 0.2, 0.4, 0.2, 0.2)),
    # a smile
    ClipMotion("idle_2", "idle", (1.0, 1.2, 0.8, 1.0), (0.5, -0.9, 0.8, 0.5), (0.5, 1.6, 0.9, 0.5), (0.8, 1.0, 0.8, 0.7),
               blinks=(8, 71), smiles=((18, 78, 1.0),), brows=((20, 44, 0.35),)),
    # a nod, listening
    ClipMotion("idle_3", "idle", (1.0, 0.6, 0.9, 0.6), (0.4, 2.0, 1.6, 0.4), (0.4, 0.5, 0.6, 0.5), (0.9, 0.7, 0.9, 0.8),
               nod=(0.0, 2.6, 1.6, 0.0), blinks=(30, 76), brows=((23, 64, 0.45),)),
    # the head tilted
    ClipMotion("idle_4", "idle", (0.9, 1.6, 1.0, 0.8, 1.0), (0.4, 0.7, 0.6, 0.4, 0.5), (0.6, 4.6, 2.2, 0.7, 0.6), (0.9, 0.8, 1.0, 0.8, 0.8),
               blinks=(7, 73), smiles=((24, 62, 0.5),), skews=((24, 44, 0.6),)),
    # a thought: eyes up and aside, a slight frown
    ClipMotion("idle_5", "idle", (1.0, -3.0, 1.8, 1.0, 0.7), (0.5, -1.8, 1.4, 0.5, 0.5), (0.4, 1.3, 1.4, 0.5, 0.6), (0.9, 0.7, 0.8, 1.0, 0.8),
               blinks=(13, 62, 98), gazes=((24, -0.55, -0.75), (43, -0.4, -0.6), (61, 0.0, 0.0)), frowns=((24, 62, 0.7),), skews=((24, 64, 0.8),)),
    # a deep breath, shoulders, and the brows go up
    ClipMotion("idle_6", "idle", (1.2, 0.8, 1.0, 1.3), (0.5, -1.6, 1.0, 0.5), (0.5, 0.6, 0.8, 0.5), (1.0, 2.2, 1.6, 0.8),
               shrug=(0.0, 1.6, 0.9, 0.0), approach=(0.0, 0.006, 0.004, 0.0), blinks=(6, 51), brows=((24, 42, 0.8),), gazes=((67, -0.25, 0.1), (79, 0.0, 0.0))),
    _speaking(0, (2.0, 1.4, 2.4, 1.6), (1.0, 1.4, 0.8, 1.2), (1.0, 0.7, 1.2, 0.8), (0.8, 1.5, 0.6, 1.2),
              blinks=(30, 72), brows=((24, 40, 0.6),), lean=(0.4, 0.3, 0.4, 0.3)),
    _speaking(1, (1.4, 3.0, 1.2, 2.2, 1.6), (1.4, 0.8, 1.6, 0.9, 1.0), (0.7, 1.5, 0.9, 1.0, 0.6), (1.2, 0.5, 1.6, 0.8, 1.0),
              blinks=(9, 51, 96), brows=((46, 64, 0.8), (90, 106, 0.4)), approach=(0.004, 0.006, 0.008, 0.004, 0.003)),
    _speaking(2, (-2.2, -1.4, -2.6, -1.2), (1.2, 1.8, 0.9, 1.3), (-1.4, -0.8, -1.8, -0.7), (1.0, 0.7, 1.5, 0.6),
              blinks=(8, 51), skews=((24, 42, 0.9),), smiles=((40, 86, 0.5),)),
    _speaking(3, (1.2, 1.0, 1.4, 1.1), (2.0, 1.4, 2.2, 1.5), (0.6, 0.9, 0.5, 0.8), (1.9, 1.2, 2.1, 0.9),
              blinks=(29, 73), brows=((2, 20, 0.5), (46, 64, 0.9)), shake=(0.0, 0.5, 0.0, 0.4)),
    _speaking(4, (2.8, 1.2, 2.0, 2.8, 1.4), (0.9, 1.2, 1.6, 0.8, 1.1), (1.8, 0.8, 1.4, 2.0, 0.8), (0.5, 1.4, 0.9, 0.6, 1.3),
              blinks=(31, 74), gazes=((68, -0.35, 0.15), (80, 0.0, 0.0)), frowns=((68, 86, 0.5),), lean=(0.6, 0.3, 0.5, 0.6, 0.3)),
    _speaking(5, (1.2, 1.8, 1.2, 1.6), (0.9, 1.0, 1.3, 0.8), (0.8, 1.2, 0.7, 1.0), (0.9, 1.3, 0.7, 1.5),
              shake=(1.2, 1.6, 0.8, 1.2), blinks=(7, 52), brows=((24, 42, 0.7),), smiles=((2, 42, 0.6),)),
    _speaking(6, (-1.6, -2.6, -1.4, -2.0, -1.2), (1.5, 0.9, 1.9, 1.1, 1.0), (1.0, 1.6, 0.8, 1.4, 0.7), (1.5, 0.8, 1.1, 1.7, 0.7),
              blinks=(8, 73), brows=((68, 86, 1.0),), shrug=(0.0, 1.2, 0.0, 1.6, 0.4), approach=(0.003, 0.008, 0.004, 0.006, 0.003)),
    _speaking(7, (2.4, 1.8, -1.6, 2.2), (-1.2, 1.6, 1.2, 1.0), (-1.2, 1.0, 1.6, -0.8), (1.1, 1.8, 0.6, 1.3),
              blinks=(28, 74), gazes=((46, 0.4, -0.2), (58, 0.0, 0.0)), skews=((46, 64, -0.7),), smiles=((50, 86, 0.4),)),
    ClipMotion("action_1", "action", (1.2, 2.6, 2.2, 2.0, 1.0), (0.5, 1.4, 0.8, 1.0, 0.5), (0.6, 2.6, 2.0, 1.6, 0.6), (0.9, 1.0, 0.8, 0.9, 0.8),
               blinks=(11, 73), smiles=((4, 100, 0.9),), brows=((6, 40, 0.7),), wave=(3, 101, 1.0)),
    ClipMotion("action_2", "action", (1.0, 3.4, 2.4, 2.8, 1.0), (0.5, 1.2, 0.9, 1.2, 0.5), (0.6, 1.8, 1.4, 1.5, 0.6), (0.9, 0.9, 0.8, 1.0, 0.8),
               blinks=(10, 75), gazes=((26, 0.7, 0.45), (50, 0.0, 0.0)), smiles=((10, 96, 0.6),), brows=((30, 62, 0.6),), offer=(4, 100, 1.0), lean=(0.2, 0.8, 0.5, 0.7, 0.2)),
)  # fmt: skip
