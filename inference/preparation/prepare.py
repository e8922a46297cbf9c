"""From what a person filmed to an avatar: the stages, in order.

    look    decode, follow the face, judge                              (`material`)
    choose  rest picture, clips                                         (`choose`)
    take    decode again, frame, shut mouths, put aside what is needed  (`transplant`, `store`)
    cut     bend, encode, write                                         (`cut`, `assets`)
    show    contact sheet and preview                                   (`report`, `preview`)

A still picture has one picture to look at and is brought to life instead of being cut (`still`).
Offline: it takes as long as it takes, and says how far it is.
"""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.assets.manifest import STANDARD_CLIPS, TEETH_NAME, ClipState, teeth_path
from inference.assets.writer import AssetWriter
from inference.errors import PreparationError
from inference.media.types import Picture
from inference.preparation import cut as cutting
from inference.preparation.choose import SHORTEST, Appearance, Choice, Stretch, choose
from inference.preparation.choose import named as choose_named
from inference.preparation.eye_outline import on_eye_outlines
from inference.preparation.footage import Footage, examine
from inference.preparation.lip_line import on_lip_line
from inference.preparation.material import AnalyzedVideo, Material
from inference.preparation.preview import write_preview
from inference.preparation.quiet import MouthCloser
from inference.preparation.report import ClipReport, ContactSheet, findings_to_list
from inference.preparation.still import MOTION_PRESETS, moved_landmarks, moved_pictures
from inference.preparation.store import PictureStore
from inference.preparation.teeth import open_mouths, own_teeth
from inference.preparation.titles import titles
from inference.preparation.transplant import MouthTransplant
from inference.timing import FRAMES_PER_SECOND

Stage = Literal["look", "choose", "take", "cut", "show"]
Progress = Callable[[Stage, float], None]
"""Told the stage and the percent of the whole that is done."""

_OUT_OF_MEMORY = -4
"""`cv::Error::StsNoMem`."""

_BEGINS: dict[Stage, float] = {"look": 0, "choose": 44, "take": 45, "cut": 65, "show": 95}


def prepare(
    source: Path | Mapping[str, Path],
    output: Path,
    progress: Progress = lambda stage, percent: None,
    *,
    name: str | None = None,
) -> None:
    """Make the asset folder ``output``, which appears whole at the end or not at all.

    Args:
        source: a video or a still picture; or several videos by clip name (``idle_0``...).
        output: where the folder is to be; one that is there is replaced.
        progress: called from this thread, not more often than for every percent.
        name: the avatar's, by default the folder's.

    Raises:
        PreparationError: what was sent cannot become an avatar, and why.
        OSError: the folder cannot be written.
        MemoryError: there is too little memory for it.
    """
    try:
        _prepare(source, output, _Meter(progress), name or output.name)
    except cv2.error as error:
        if error.code == _OUT_OF_MEMORY or "bad_alloc" in str(error):
            raise MemoryError(str(error)) from None
        raise


def _prepare(source: Path | Mapping[str, Path], output: Path, meter: "_Meter", name: str) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    with AssetWriter(output, name=name, renderer="warp") as assets:
        if isinstance(source, Path):
            footage = examine(source)
            material = _look([footage], meter, fewest=1 if footage.is_still else SHORTEST)
            if footage.is_still:
                _bring_to_life(material, assets, meter)
            else:
                _make_clips(material, None, assets, meter)
        else:
            if not source:
                raise PreparationError("no_video", "No clip was sent: send at least idle_0.")
            material = _look([examine(path) for path in source.values()], meter, fewest=SHORTEST)
            _make_clips(material, list(source), assets, meter)
    meter.tell("show", 1.0)


class _Meter:
    """Turns a part of a stage into percent of the whole, and speaks only when one is full."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._last: tuple[Stage, int] | None = None

    def tell(self, stage: Stage, part: float) -> None:
        begin = _BEGINS[stage]
        end = min((other for other in _BEGINS.values() if other > begin), default=100.0)
        percent = begin + (end - begin) * min(max(part, 0.0), 1.0)
        if self._last != (stage, int(percent)):
            self._last = (stage, int(percent))
            self._progress(stage, percent)


def _look(footages: list[Footage], meter: _Meter, *, fewest: int) -> Material:
    expected = sum(footage.expected_pictures for footage in footages)
    videos: list[AnalyzedVideo] = []
    for footage in footages:
        before = sum(len(video) for video in videos)

        def tell(done: int, before: int = before) -> None:
            meter.tell("look", (before + done) / expected)

        videos.append(AnalyzedVideo.of(footage, fewest=fewest, tell=tell))
    return Material(videos)


@dataclass(frozen=True, slots=True, eq=False)
class _Clip:
    """A clip ready to be written; ``landmarks`` float32 ``[frames, 468, 2]``."""

    report: ClipReport
    title: str
    pictures: Iterable[Picture]
    landmarks: NDArray[np.float32]
    exits: list[int]


def _make_clips(
    material: Material, names: list[str] | None, assets: AssetWriter, meter: _Meter
) -> None:
    appearance = Appearance.of(material.landmarks, material.thumbnails)
    meter.tell("choose", 0.5)
    if names is None:
        choice = choose(appearance, material.is_usable, material.is_cut)
        names = _standard_names(stretch.state for stretch in choice.stretches)
    else:
        choice = choose_named(
            appearance, material.is_usable, material.is_cut, material.ranges, names
        )
    clips = [cutting.cut(stretch, choice.rest) for stretch in choice.stretches]
    wanted = set().union(*(cutting.sources(mixes) for mixes in clips))
    plane = np.ascontiguousarray(material.landmarks[..., :2])
    mouths = MouthTransplant.of(
        plane, material.pose_deg, material.is_usable, wanted, material.pictures
    )
    quiet = mouths.landmarks()
    with (
        tempfile.TemporaryDirectory(
            dir=assets.destination.parent, prefix=f".{assets.destination.name}-pictures-"
        ) as folder,
        closing(PictureStore(Path(folder) / "pictures.i420")) as store,
    ):
        shown_open = _take(material, wanted, plane, mouths, store, meter)
        _keep_teeth(own_teeth(shown_open, quiet[choice.rest]), assets)
        called = titles(choice.stretches, appearance, material.pose_deg, choice.rest)
        made = [
            _clip(name, title, stretch, mixes, choice, appearance, quiet, store)
            for name, title, stretch, mixes in zip(
                names, called, choice.stretches, clips, strict=True
            )
        ]
        _write(made, material, assets, meter)


def _take(
    material: Material,
    wanted: set[int],
    landmarks: NDArray[np.float32],
    mouths: MouthTransplant,
    store: PictureStore,
    meter: _Meter,
) -> list[tuple[Picture, NDArray[np.float32]]]:
    """Put the wanted pictures aside, their mouths shut.

    Returns:
        Pictures that may show teeth, as they were, and their landmarks, float32 ``[468, 2]``.
    """
    open_ones = set(open_mouths(landmarks, material.is_usable, material.pose_deg))
    taken = wanted | open_ones
    shown_open: list[tuple[Picture, NDArray[np.float32]]] = []
    for done, (index, picture) in enumerate(material.pictures(taken)):
        if index in wanted:
            store.put(index, mouths.shut(index, picture))
        if index in open_ones:
            shown_open.append((picture, landmarks[index]))
        meter.tell("take", done / len(taken))
    return shown_open


def _keep_teeth(texture: NDArray[np.float16] | None, assets: AssetWriter) -> None:
    if texture is not None:
        assets.add_array(TEETH_NAME, texture)


def _standard_names(states: Iterable[ClipState]) -> list[str]:
    free = {state: iter(names) for state, names in STANDARD_CLIPS.items()}
    return [next(free[state]) for state in states]


def _clip(
    name: str,
    title: str,
    stretch: Stretch,
    mixes: list[cutting.Mix],
    choice: Choice,
    appearance: Appearance,
    landmarks: NDArray[np.float32],
    store: PictureStore,
) -> _Clip:
    from_rest = appearance.distances(choice.rest)
    steps = appearance.steps()
    distances = np.array(
        [from_rest[m.source] * (1 - m.weight) + from_rest[m.towards] * m.weight for m in mixes]
    )
    inside = np.array([steps[m.source] for m in mixes[1:]])
    usual = float(np.percentile(inside, 99))
    exits = cutting.exits(distances.astype(np.float32), usual)
    report = ClipReport(
        name=name,
        state=stretch.state,
        frames=len(mixes),
        source_s=(stretch.start / FRAMES_PER_SECOND, stretch.end / FRAMES_PER_SECOND),
        is_mirrored=stretch.is_mirrored,
        exits=len(exits),
        seam=float(distances[-1]),
        usual_step=usual,
        bent=float(max(from_rest[stretch.start], from_rest[stretch.end - 1])),
    )
    return _Clip(
        report=report,
        title=title,
        pictures=cutting.assemble(mixes, store.get),
        landmarks=np.stack([mix.landmarks(landmarks) for mix in mixes]),
        exits=exits,
    )


def _bring_to_life(material: Material, assets: AssetWriter, meter: _Meter) -> None:
    (picture,) = [picture for _, picture in material.pictures({0})]
    landmarks = np.ascontiguousarray(material.landmarks[0, :, :2])
    seen = on_eye_outlines(picture, on_lip_line(picture, landmarks))[None]
    if open_mouths(seen, material.is_usable, material.pose_deg):
        _keep_teeth(own_teeth([(picture, seen[0])], seen[0]), assets)
    closer = MouthCloser(seen)
    picture, landmarks = closer.shut(0, picture), closer.landmarks()[0]
    names = _standard_names(preset.state for preset in MOTION_PRESETS)
    made = []
    for name, preset in zip(names, MOTION_PRESETS, strict=True):
        shown = moved_landmarks(landmarks, preset)
        appearance = Appearance.of(shown, np.zeros((preset.frames, 1, 1), np.uint8))
        distances, steps = appearance.distances(0), appearance.steps()
        usual = float(np.percentile(steps[1:], 99))
        exits = cutting.exits(distances, usual)
        seconds = preset.frames / FRAMES_PER_SECOND
        report = ClipReport(
            name=name,
            state=preset.state,
            frames=preset.frames,
            source_s=(0.0, seconds),
            is_mirrored=False,
            exits=len(exits),
            seam=float(distances[-1]),
            usual_step=usual,
            bent=0.0,
        )
        pictures = moved_pictures(picture, landmarks, preset)
        made.append(_Clip(report, preset.title, pictures, shown, exits))
    _write(made, material, assets, meter)


def _write(made: list[_Clip], material: Material, assets: AssetWriter, meter: _Meter) -> None:
    speaker = next((clip for clip in made if clip.report.state == "speaking"), made[0])
    shown, sheet = _encode(made, speaker, assets, meter)
    meter.tell("show", 0.0)
    if len(material) > 1:
        sheet.add_curves("pose", ("yaw", "pitch", "roll"), material.pose_deg, "degrees")
        sheet.add_curves("sharpness", ("face",), material.sharpness[:, None], "")
    sheet.write(assets.folder / "report.png")
    meter.tell("show", 0.3)
    write_preview(assets.folder / "preview.mp4", shown, speaker.landmarks)
    assets.report.update(
        {
            "pictures": len(material),
            "found": round(
                float(np.mean([video.track.is_found.mean() for video in material.videos])), 4
            ),
            "usable": round(float(material.is_usable.mean()), 4),
            "teeth": "own" if teeth_path(assets.folder).exists() else "drawn",
            "face_height_px": round(material.face_height, 1),
            "findings": findings_to_list(material.findings),
            "clips": [clip.report.to_dict() for clip in made],
        }
    )


def _encode(
    made: list[_Clip], speaker: _Clip, assets: AssetWriter, meter: _Meter
) -> tuple[list[Picture], ContactSheet]:
    """Encode the clips; returns the pictures of ``speaker``, and a sheet that shows every clip.

    The pictures of one clip are in memory at a time.
    """
    sheet = ContactSheet()
    idle = [clip.report.name for clip in made if clip.report.state == "idle"]
    attentive = idle[: (len(idle) + 1) // 2]  # the calmest come first
    shown: list[Picture] = []
    for number, clip in enumerate(made):
        meter.tell("cut", number / len(made))
        pictures, report = list(clip.pictures), clip.report
        assets.add_clip(
            report.name,
            report.state,
            pictures,
            frames=report.frames,
            exits=clip.exits,
            landmarks=clip.landmarks,
            is_attentive=report.name in attentive,
            title=clip.title,
        )
        sheet.add_clip(report.name, pictures, clip.landmarks)
        if clip is speaker:
            shown = pictures
    return shown, sheet
