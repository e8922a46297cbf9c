"""Choosing clips: which stretches of a video become idle, speaking and action clips.

Theory of operation
-------------------
All clips of an avatar share one picture, the rest picture: quiet, mouth shut, eyes open, in the
pose that the person returns to most. A clip leaves it and comes back to it, so any clip can follow
any other, or itself, at any time, without a seam. People do not move so, but they come near their
rest pose every few seconds: a stretch between two such moments becomes a clip, and its first and
last pictures are bent into the rest picture (see `cut`). The nearer those moments are, the less
there is to bend, so the nearest are taken first.

Where a person never comes back, a stretch that begins at the rest picture runs forth and back,
which fits by construction but looks rehearsed; hence the last resort.

Lips that are parted are shut for a clip, which never looks quite as good as lips that were. So
stretches that need little of it are taken first and become idle clips, which are seen most, and
those that need much are left out where there are enough others.

Distances between pictures count what a viewer would see jump: how far the face's firm points moved,
in pixels of the framed picture, and how much the surroundings changed.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.assets.manifest import STANDARD_CLIPS, STATES, ClipState
from inference.faces.mesh import lip_gaps
from inference.preparation.quality import runs
from inference.timing import FRAMES_PER_SECOND

BEND = 8
"""Pictures at either end of a clip that are bent into the rest picture."""
SHORTEST, LONGEST = 2 * FRAMES_PER_SECOND, 6 * FRAMES_PER_SECOND
LONGEST_NAMED = 12 * FRAMES_PER_SECOND
"""A clip that was filmed as such may be longer, but is kept in memory while it is written."""
_WANTED = 4 * FRAMES_PER_SECOND
_FIRM = [10, 151, 9, 168, 6, 33, 133, 362, 263, 70, 300, 234, 454, 127, 356, 1]
_SURROUNDINGS = 0.5
"""Pixels that one gray level of mean difference counts for."""
_FARTHEST = 18.0
"""Pixels that a clip's ends may be away from the rest picture."""
_GESTURE = 2.2
"""An action goes so many times as far from rest as the usual clip does."""
_OPEN_MOUTH, _SHUT_EYES = 0.06, 0.75
_SEAM_WEIGHT = 6.0
_SHUTTING_WEIGHT = 40.0
"""Pixels that one mouth width of gap, over a whole clip, counts for."""
_MUCH_SHUTTING = 0.08
_ENOUGH = 4
"""So many clips that need less suffice."""


@dataclass(frozen=True, slots=True, eq=False)
class Appearance:
    """What choosing goes by, a row for each picture of the video.

    ``firm`` float32 ``[n, 32]``: the face's firm points in framed pixels; ``surroundings`` uint8
    ``[n, 4096]``; ``mouth`` float32 ``[n]``: gap of the lips in mouth widths; ``eyes`` float32
    ``[n]``: opening of the eyes as a part of its median.
    """

    firm: NDArray[np.float32]
    surroundings: NDArray[np.uint8]
    mouth: NDArray[np.float32]
    eyes: NDArray[np.float32]

    @classmethod
    def of(cls, landmarks: NDArray[np.float32], thumbnails: NDArray[np.uint8]) -> "Appearance":
        """From framed ``landmarks [n, 468, 2 or 3]`` and ``thumbnails [n, 64, 64]``."""
        points = landmarks[..., :2]

        def distance(a: int, b: int) -> NDArray[np.float32]:
            return np.asarray(np.linalg.norm(points[:, a] - points[:, b], axis=-1), np.float32)

        eyes = distance(159, 145) + distance(386, 374)
        return cls(
            firm=points[:, _FIRM].reshape(len(points), -1),
            surroundings=thumbnails.reshape(len(thumbnails), -1),
            mouth=lip_gaps(landmarks),
            eyes=eyes / np.float32(np.nanmedian(eyes)),
        )

    def distances(self, to: int) -> NDArray[np.float32]:
        """Distance of every picture from picture ``to``, float32 ``[n]``; NaN without a face."""
        moved = (self.firm - self.firm[to]).reshape(len(self.firm), -1, 2)
        firm = np.sqrt(np.square(moved).sum(axis=-1).mean(axis=-1))
        around = np.array(
            [
                np.abs(row - self.surroundings[to].astype(np.int16)).mean()
                for row in self.surroundings
            ]
        )
        return np.asarray(firm + _SURROUNDINGS * around, np.float32)

    def gaps(self) -> NDArray[np.float32]:
        """By how much the lips are apart, beyond what counts as shut, float32 ``[n]``."""
        return np.asarray(np.maximum(self.mouth - _OPEN_MOUTH, 0), np.float32)

    def steps(self) -> NDArray[np.float32]:
        """Distance of every picture from the one before, float32 ``[n]``, the first is 0."""
        moved = np.diff(self.firm, axis=0).reshape(len(self.firm) - 1, -1, 2)
        firm = np.sqrt(np.square(moved).sum(axis=-1).mean(axis=-1))
        around = np.abs(np.diff(self.surroundings.astype(np.int16), axis=0)).mean(axis=-1)
        return np.concatenate([[0.0], firm + _SURROUNDINGS * around]).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A clip to be: the pictures ``start`` to before ``end`` of the video.

    ``is_mirrored``: to be run forth and back instead of bent at its end. ``liveliness``: mean step,
    ``reach``: greatest distance from rest, in the module's pixels. ``shutting``: by how much the
    lips are apart, beyond what counts as shut, mean in mouth widths.
    """

    state: ClipState
    start: int
    end: int
    is_mirrored: bool
    liveliness: float
    reach: float
    shutting: float


@dataclass(frozen=True, slots=True)
class Choice:
    rest: int
    stretches: list[Stretch]


class _Measures(NamedTuple):
    """What stretches are judged by, float32 ``[n]`` each."""

    steps: NDArray[np.float32]
    from_rest: NDArray[np.float32]
    gaps: NDArray[np.float32]

    def stretch(self, state: ClipState, start: int, end: int, is_mirrored: bool = False) -> Stretch:
        return Stretch(
            state=state,
            start=start,
            end=end,
            is_mirrored=is_mirrored,
            liveliness=float(self.steps[start + 1 : end].mean()),
            reach=float(self.from_rest[start:end].max()),
            shutting=float(self.gaps[start:end].mean()),
        )


def choose(
    appearance: Appearance, is_usable: NDArray[np.bool_], is_cut: NDArray[np.bool_]
) -> Choice:
    """Choose the rest picture and as many stretches as the material honestly gives, at least one.

    There must be a run of at least ``SHORTEST`` usable pictures.
    """
    usable = [run for run in runs(is_usable, is_cut) if run[1] - run[0] >= SHORTEST]
    steps = appearance.steps()
    rest = _rest_picture(appearance, usable, steps)
    measures = _Measures(steps, appearance.distances(rest), appearance.gaps())
    found = _returning(measures.from_rest, usable, measures.gaps)
    if not found:
        found = [_mirrored(rest, usable)]
    stretches = [measures.stretch("idle", *one) for one in found]
    return Choice(rest, _with_states(stretches))


def named(
    appearance: Appearance,
    is_usable: NDArray[np.bool_],
    is_cut: NDArray[np.bool_],
    ranges: list[tuple[int, int]],
    names: list[str],
) -> Choice:
    """One stretch for each of ``ranges``, called as ``names`` says: clips that were filmed as such.

    The rest picture is taken from the first idle clip. Of each range the longest usable run
    without a cut is used, up to `LONGEST_NAMED` of it.
    """
    steps = appearance.steps()
    longest = []
    for start, end in ranges:
        run = max(runs(is_usable[start:end], is_cut[start:end]), key=lambda run: run[1] - run[0])
        longest.append((start + run[0], start + min(run[1], run[0] + LONGEST_NAMED)))
    first = next((k for k, name in enumerate(names) if name.startswith("idle")), 0)
    rest = _rest_picture(appearance, [longest[first]], steps)
    measures = _Measures(steps, appearance.distances(rest), appearance.gaps())
    return Choice(
        rest,
        [
            measures.stretch(_state_of(name), start, end)
            for name, (start, end) in zip(names, longest, strict=True)
        ],
    )


def _state_of(name: str) -> ClipState:
    return next(state for state in STATES if name.startswith(f"{state}_"))


def _rest_picture(
    appearance: Appearance, usable: list[tuple[int, int]], steps: NDArray[np.float32]
) -> int:
    """Return the quiet picture nearest to the usual pose, with room to bend on both sides."""
    places = np.concatenate([np.arange(start + BEND, end - BEND) for start, end in usable])
    usual = np.median(appearance.firm[places], axis=0)
    away = np.sqrt(
        np.square((appearance.firm[places] - usual).reshape(len(places), -1, 2))
        .sum(axis=-1)
        .mean(axis=-1)
    )
    unrest = 100 * appearance.gaps()[places]
    unrest += 40 * np.maximum(_SHUT_EYES - appearance.eyes[places], 0)
    # The step into the rest picture is the seam of every clip.
    seam = _SEAM_WEIGHT * steps[places]
    return int(places[np.argmin(away + unrest + seam)])


def _returning(
    from_rest: NDArray[np.float32], usable: list[tuple[int, int]], gaps: NDArray[np.float32]
) -> list[tuple[int, int, bool]]:
    """Stretches between moments near rest: disjoint; near ends and shut lips first."""
    pairs: list[tuple[float, int, int]] = []
    gap_until = np.concatenate([[0.0], np.cumsum(gaps, dtype=np.float64)])
    for start, end in usable:
        gates = _gates(from_rest[start:end]) + start
        for a in gates:
            for b in gates:
                length = int(b - a)
                if SHORTEST <= length <= LONGEST:
                    unlike = 2.0 * abs(length - _WANTED) / _WANTED
                    worst = max(float(from_rest[a]), float(from_rest[b - 1]))
                    gap = float(gap_until[b] - gap_until[a]) / length
                    pairs.append((worst + unlike + _SHUTTING_WEIGHT * gap, int(a), int(b)))
    taken: list[tuple[int, int, bool]] = []
    for _, a, b in sorted(pairs):
        if all(b <= start or a >= end for start, end, _ in taken):
            taken.append((a, b, False))
    most = sum(len(names) for names in STANDARD_CLIPS.values())
    return taken[:most]


def _gates(from_rest: NDArray[np.float32]) -> NDArray[np.int64]:
    """Moments near rest: in each quarter of a second the nearest, if it is near enough."""
    window = FRAMES_PER_SECOND // 4
    limit = min(_FARTHEST, max(4.0, 2.5 * float(np.median(from_rest))))
    found = []
    for begin in range(0, len(from_rest), window):
        nearest = begin + int(np.argmin(from_rest[begin : begin + window]))
        if from_rest[nearest] <= limit:
            found.append(nearest)
    return np.array(found, np.int64)


def _mirrored(rest: int, usable: list[tuple[int, int]]) -> tuple[int, int, bool]:
    """From the rest picture onwards, to be run forth and back."""
    start, end = next(run for run in usable if run[0] <= rest < run[1])
    half = LONGEST // 2
    if end - rest >= rest - start:
        return rest, min(end, rest + half), True
    return max(start, rest - half), rest + 1, True


def _with_states(stretches: list[Stretch]) -> list[Stretch]:
    """Give out the stretches: the farthest from rest to actions, the liveliest to speaking."""
    quiet = [stretch for stretch in stretches if stretch.shutting <= _MUCH_SHUTTING]
    if len(quiet) >= _ENOUGH:
        stretches = quiet
    by_reach = sorted(stretches, key=lambda stretch: -stretch.reach)
    usual = float(np.median([stretch.reach for stretch in stretches]))
    most = len(STANDARD_CLIPS["action"])
    actions = [s for s in by_reach[:most] if s.reach > _GESTURE * usual and len(stretches) > most]
    others = sorted(
        (s for s in stretches if s not in actions),
        key=lambda s: s.liveliness + _SHUTTING_WEIGHT * s.shutting,
    )
    idle = others[: max(1, min((len(others) + 1) // 2, len(STANDARD_CLIPS["idle"])))]
    speaking = others[len(idle) :][: len(STANDARD_CLIPS["speaking"])]
    named: list[tuple[ClipState, list[Stretch]]] = [
        ("idle", idle),
        ("speaking", speaking),
        ("action", actions),
    ]
    return [replace(stretch, state=state) for state, group in named for stretch in group]
