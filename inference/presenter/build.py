"""Building a presenter's asset folder: draw all clips, measure where they may be left, encode."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path

import msgspec
import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from inference.assets.writer import AssetWriter
from inference.engines.viseme.renderers.atlas import FOLDER, GEOMETRY_NAME, AtlasEyes
from inference.media.types import Picture
from inference.presenter import atlas, eyes
from inference.presenter.clips import CLIPS
from inference.presenter.look import Look
from inference.presenter.looks import LOOKS
from inference.presenter.motion import BEAT, ClipMotion, poses
from inference.presenter.pose import Pose
from inference.presenter.scene import Presenter, to_i420

_MOUTH_BOX = (slice(236, 380), slice(168, 346))
"""Rows and columns where the drawn mouth may change a picture; seams are measured without it."""

Report = Callable[[str], None]


@cache
def _presenter(name: str) -> Presenter:
    """One of each name for each process."""
    return Presenter(LOOKS[name])


def _draw(name: str, pose: Pose) -> Picture:
    return to_i420(_presenter(name).draw(pose))


def _placements(name: str, clip_poses: list[Pose]) -> NDArray[np.float32]:
    """Of mouth and eyes in each pose, ``[2, frames, 2, 3]``."""
    presenter = _presenter(name)
    places = (presenter.mouth_placement, presenter.eyes_placement)
    return np.stack([[place(pose) for pose in clip_poses] for place in places])


def _eyes(look: Look, scores: dict[str, list[Pose]]) -> AtlasEyes:
    shut = {
        name: [frame for frame, pose in enumerate(clip_poses) if pose.blink > 0]
        for name, clip_poses in scores.items()
    }
    return AtlasEyes(eyes.corners(), eyes.open_lids(look.eyes), shut)


def picture_step(first: Picture, second: Picture) -> float:
    """Mean absolute luma difference of two pictures, the mouth's surroundings left out."""
    height = first.shape[0] * 2 // 3
    difference = np.abs(first[:height].astype(np.int16) - second[:height])
    seen = np.ones(difference.shape, bool)
    seen[_MOUTH_BOX] = False
    return float(difference[seen].mean())


def inner_steps(pictures: list[Picture]) -> NDArray[np.float64]:
    """Return the steps from each picture to the next, over the loop's seam too."""
    following = [*pictures[1:], pictures[0]]
    return np.array([picture_step(a, b) for a, b in zip(pictures, following, strict=True)])


def find_exits(
    motion: ClipMotion, clip_poses: list[Pose], pictures: list[Picture], limit: float
) -> list[int]:
    """Indexes after which the clip may be left: just after each beat, and wherever else is near.

    The picture on a beat is the rest pose itself. ``limit`` is the largest step to another clip's
    first picture that is taken elsewhere. A gesture is left at its end.
    """
    frames = len(pictures)
    if motion.state == "action":
        return [frames]
    exits = {*(beat + 1 for beat in range(BEAT, frames, BEAT)), frames}
    for index in range(2, frames):
        last = clip_poses[index - 1]
        is_calm = last.blink < 0.05 and last.smile < 0.3 and abs(last.brows) < 0.3
        if is_calm and picture_step(pictures[index - 1], pictures[0]) <= limit:
            exits.add(index)
    return sorted(exits)


def build(look: Look, destination: Path, report: Report, *, processes: int = 2) -> None:
    """Draw everything of ``look`` and put the folder in place; ``report`` hears of each clip."""
    clips = clips_of(look)
    drawn: dict[str, list[Picture]] = {}
    scores = {motion.name: poses(motion) for motion in clips}
    with ProcessPoolExecutor(processes) as pool:
        for motion in clips:
            draw = partial(_draw, look.name)
            drawn[motion.name] = list(pool.map(draw, scores[motion.name], chunksize=4))
            report(f"{look.name} {motion.name}: {motion.frames} pictures drawn")
    with AssetWriter(destination, name=look.name, renderer="drawn") as assets:
        shown: dict[str, list[Picture]] = {}
        for motion in clips:
            entry = assets.add_clip(
                motion.name,
                motion.state,
                drawn.pop(motion.name),
                frames=motion.frames,
                exits=[motion.frames],
                is_attentive=motion.is_attentive,
                title=motion.title,
            )
            shown[motion.name] = assets.shown(entry)
            placements = _placements(look.name, scores[motion.name])
            assets.add_array(f"{FOLDER}/{motion.name}.npy", placements[0])
            assets.add_array(f"{FOLDER}/{motion.name}.eyes.npy", placements[1])
            report(f"{look.name} {motion.name}: {sum(entry.sizes) // 1000} kB")
        assets.report["seams"] = _set_exits(assets, clips, scores, shown)
        assets.report["drawn_by"] = "inference.presenter"
        mouth = atlas.make(look)
        for name, values in mouth.arrays.items():
            assets.add_array(f"{FOLDER}/{name}.npy", values)
        geometry = structs.replace(mouth.geometry, eyes=_eyes(look, scores))
        (assets.folder / FOLDER / GEOMETRY_NAME).write_bytes(msgspec.json.encode(geometry))


def clips_of(look: Look) -> tuple[ClipMotion, ...]:
    """The clips that are made of ``look``."""
    return tuple(motion for motion in CLIPS if look.clips is None or motion.name in look.clips)


def _set_exits(
    assets: AssetWriter,
    clips: tuple[ClipMotion, ...],
    scores: dict[str, list[Pose]],
    shown: dict[str, list[Picture]],
) -> dict[str, dict[str, float]]:
    """Find each clip's exits on the pictures that are seen; tell how well its seams keep."""
    steps = {name: inner_steps(pictures) for name, pictures in shown.items()}
    measured: dict[str, dict[str, float]] = {}
    for motion in clips:
        name, pictures = motion.name, shown[motion.name]
        # what is usual inside both clips, whichever the other one is
        usual = min(
            float(np.percentile(np.concatenate([steps[name], other]), 99))
            for other_name, other in steps.items()
            if other_name != name
        )
        exits = find_exits(motion, scores[name], pictures, 0.8 * usual)
        assets.set_exits(name, exits)
        worst = max(picture_step(pictures[index - 1], pictures[0]) for index in exits)
        measured[name] = {"usual_step_p99": round(usual, 3), "worst_exit_step": round(worst, 3)}
    return measured
