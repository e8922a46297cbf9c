"""Judging what was filmed: which pictures are good enough, and what to tell the person.

Each fault has a stable name, a share of the pictures, and a sentence with the remedy. A fault of
some pictures costs those pictures; one of the whole video refuses it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.errors import PreparationError
from inference.faces.mesh import lip_gaps
from inference.preparation.camera import swing
from inference.preparation.framing import Frame, face_heights
from inference.preparation.track import Track

_YAW_LIMIT_DEG, _PITCH_LIMIT_DEG = 28.0, 24.0
_DARK, _BRIGHT = 48.0, 232.0
_BLUR_ABSOLUTE, _BLUR_RELATIVE = 12.0, 0.25
_SMALL_REFUSED, _SMALL_WARNED = 72.0, 140.0
"""Height of the face in the source, pixels."""
_LARGE_REFUSED, _LARGE_WARNED = 430.0, 330.0
"""Height of the face in the framed picture, pixels."""
_DISTANT_REFUSED = 130.0
_COVERED_FOR = 5
"""Pictures, odd; what passes in less than half of them is no hand but noise."""
_WIDE_OPEN, _OPEN_WARNED = 0.4, 0.2
"""Gap of the lips, in mouth widths: from the first on shutting would tear the lips; a mouth that is
open by the second most of the time is shut, and looks tense."""
_EDGE = 0.01
_SWING = 6.0
"""Pixels of the framed picture that the background may move within a clip's length."""

_TIMES_NAMED = 3

_REMEDIES = {
    "no_face": "no face is seen: keep your face in the picture, with nothing before it",
    "face_covered": "a part of the face is hidden: take hands, mask, scarf and hair away from it",
    "profile": "the head is turned away: look at the camera",
    "too_dark": "the face is too dark: turn towards a window or a lamp",
    "too_bright": "the face is too bright: avoid direct light",
    "blurred": "the face is blurred: hold the camera still and let it focus",
    "cut_off": "the face leaves the picture: keep some distance to its edges",
    "mouth_covered": "something covers the mouth: keep hands, mask and microphone away from it",
    "tongue_out": "the tongue is put out: close your lips before it",
    "mouth_open": "the mouth is open: close your lips, without pressing them",
    "too_small": "the face is small: come closer, head and shoulders fill the picture",
    "too_large": "the face is very large: step back until the shoulders are seen",
    "scene_cut": "there are cuts in it: record in one go",
    "several_people": "several people are in it; the largest face of the beginning was taken",
    "hdr": "it was filmed in HDR and converted: for the exact colors switch HDR off",
    "camera_moved": "the camera moved: put it on something firm",
    "sizes": "the size of the pictures changes: all were scaled to the first one's",
    "turned": "the face was on its side or upside down, and was turned: hold the camera upright",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault: its stable name, the share of the pictures that have it, a sentence for people."""

    reason: str
    share: float
    message: str


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What can be used of a recording.

    ``is_usable`` bool ``[n]``; ``findings``, gravest first; ``pose_deg`` float32 ``[n, 3]``: yaw,
    pitch and roll of each picture.
    """

    is_usable: NDArray[np.bool_]
    findings: list[Finding]
    pose_deg: NDArray[np.float32]


def judge(
    track: Track,
    landmarks: NDArray[np.float32],
    frame: Frame,
    size: tuple[int, int],
    *,
    fewest: int,
) -> Judgement:
    """Judge a tracked video.

    ``landmarks`` float32 ``[n, 468, 3]``: the smoothed ones, source pixels; ``size``: width and
    height of the source; ``fewest``: as many consecutive good pictures are needed.

    PreparationError with the gravest fault as its reason if there are not.
    """
    pose = head_pose(landmarks)
    faults = _faults_of_pictures(track, landmarks, frame, size, pose)
    is_usable = ~np.any(list(faults.values()), axis=0)
    height = float(np.nanmedian(face_heights(landmarks)))
    _refuse_whole(height, frame)
    findings = [_finding(reason, float(has.mean())) for reason, has in faults.items() if has.any()]
    findings.sort(key=lambda finding: -finding.share)
    if longest_run(is_usable, track.is_cut) < fewest:
        gravest = findings[0] if findings else _finding("scene_cut", float(track.is_cut.mean()))
        raise PreparationError(gravest.reason, f"Too little of it can be used: {gravest.message}.")
    if float(np.nanmedian(lip_gaps(landmarks))) > _OPEN_WARNED:
        findings.append(_finding("mouth_open", 1.0))
    if height < _SMALL_WARNED:
        findings.append(_finding("too_small", 1.0))
    if height * frame.scale > _LARGE_WARNED:
        findings.append(_finding("too_large", 1.0))
    if track.is_cut.any():
        findings.append(_finding("scene_cut", float(track.is_cut.mean())))
    moved = float(_has_swung(track, frame).mean())
    if moved > 0:
        findings.append(_finding("camera_moved", moved))
    if track.people > 1:
        findings.append(_finding("several_people", 1.0))
    return Judgement(is_usable, findings, pose)


def file_findings(
    *, is_hdr: bool, is_turned: bool, has_changed_size: bool, damaged_s: Sequence[float]
) -> list[Finding]:
    """Return what is said of the file, not of its pictures; ``damaged_s`` as in `Condition`."""
    faults = {"turned": is_turned, "hdr": is_hdr, "sizes": has_changed_size}
    findings = [_finding(reason, 1.0) for reason, has in faults.items() if has]
    if damaged_s:
        times = ", ".join(f"{second:.1f}" for second in sorted(damaged_s)[:_TIMES_NAMED])
        more = " and later" if len(damaged_s) > _TIMES_NAMED else ""
        message = f"the file is damaged at {times} s{more}: that was left out"
        findings.insert(0, Finding("damaged", 1.0, message))
    return findings


def head_pose(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Yaw, pitch, roll in degrees, float32 ``[n, 3]``, of ``landmarks [n, 468, 3]``.

    From the directions of the line between the temples and of that from forehead to chin; depth is
    the net's, so these are estimates, good to a few degrees.
    """
    across = landmarks[:, 454] - landmarks[:, 234]
    down = landmarks[:, 152] - landmarks[:, 10]
    eyes = landmarks[:, 263] - landmarks[:, 33]
    yaw = np.arctan2(across[:, 2], np.hypot(across[:, 0], across[:, 1]))
    pitch = np.arctan2(down[:, 2], np.hypot(down[:, 0], down[:, 1]))
    roll = np.arctan2(eyes[:, 1], eyes[:, 0])
    return np.asarray(np.degrees(np.stack([yaw, pitch, roll], axis=1)), np.float32)


def longest_run(is_usable: NDArray[np.bool_], is_cut: NDArray[np.bool_]) -> int:
    """Return the most consecutive usable pictures without a cut."""
    return max((end - start for start, end in runs(is_usable, is_cut)), default=0)


def runs(is_usable: NDArray[np.bool_], is_cut: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Half-open ranges of consecutive usable pictures, broken at cuts."""
    found: list[tuple[int, int]] = []
    for index in np.flatnonzero(is_usable):
        place = int(index)
        if found and found[-1][1] == place and not is_cut[place]:
            found[-1] = (found[-1][0], place + 1)
        else:
            found.append((place, place + 1))
    return found


def _faults_of_pictures(
    track: Track,
    landmarks: NDArray[np.float32],
    frame: Frame,
    size: tuple[int, int],
    pose: NDArray[np.float32],
) -> dict[str, NDArray[np.bool_]]:
    found = np.isfinite(landmarks[:, 0, 0])
    centered = pose - np.nanmedian(pose, axis=0)
    low, high = landmarks[..., :2].min(axis=1), landmarks[..., :2].max(axis=1)
    margin = _EDGE * frame.side
    start = np.array([frame.x, frame.y])
    inside = (low > np.maximum(start, 0) + margin).all(axis=1) & (
        high < np.minimum(start + frame.side, size) - margin
    ).all(axis=1)
    is_blurred = track.sharpness < max(
        _BLUR_ABSOLUTE, _BLUR_RELATIVE * float(np.nanmedian(track.sharpness))
    )
    return {
        "no_face": ~found & ~track.is_hidden,
        "face_covered": ~found & track.is_hidden,
        "profile": found
        & ((np.abs(pose[:, 0]) > _YAW_LIMIT_DEG) | (np.abs(centered[:, 1]) > _PITCH_LIMIT_DEG)),
        "cut_off": found & ~inside,
        "mouth_covered": found & _stays_below_zero(track.mouth_visibility),
        "tongue_out": found & _stays_below_zero(-track.tongue),
        "mouth_open": found & (lip_gaps(landmarks) > _WIDE_OPEN),
        "too_dark": found & (track.brightness < _DARK),
        "too_bright": found & (track.brightness > _BRIGHT),
        "blurred": found & is_blurred,
    }


def _stays_below_zero(sure: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Decide by the median over a moment of what each picture says, bool ``[n]``."""
    around = np.pad(sure, _COVERED_FOR // 2, mode="reflect" if len(sure) > 2 else "edge")
    windows = np.lib.stride_tricks.sliding_window_view(around, _COVERED_FOR)
    seen = np.nanmedian(np.where(np.isfinite(sure)[:, None], windows, 1), axis=1)
    return np.asarray(seen < 0)


def _has_swung(track: Track, frame: Frame) -> NDArray[np.bool_]:
    """Find the pictures, bool ``[n]``, around which the background moves visibly in the frame."""
    corners = np.array([(0, 0), (1, 0), (0, 1), (1, 1)], np.float32) * frame.side
    swings = swing(track.camera, corners + np.array([frame.x, frame.y], np.float32))
    return np.asarray(swings * frame.scale > _SWING)


def _refuse_whole(height: float, frame: Frame) -> None:
    framed = height * frame.scale
    if height < _SMALL_REFUSED or framed < _DISTANT_REFUSED:
        reason = "too_small"
    elif framed > _LARGE_REFUSED:
        reason = "too_large"
    else:
        return
    raise PreparationError(
        reason,
        f"It cannot be used, {_REMEDIES[reason]} (face {height:.0f} of {frame.side} pixels).",
    )


def _finding(reason: str, share: float) -> Finding:
    return Finding(reason, round(share, 4), _REMEDIES[reason])
