"""What a person filmed, as a steady row of upright RGB pictures, 25 a second.

Anything that FFmpeg decodes is taken: other rates, variable rates, rotated phones, a still picture.
Nothing is kept: whoever wants the pictures twice decodes twice, so memory does not grow with the
length of a video.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame

from inference.errors import PreparationError
from inference.faces.tflite import RgbPicture
from inference.timing import FRAMES_PER_SECOND

SHORTEST_S, LONGEST_S = 2.0, 300.0
_MOST_PIXELS = 4096 * 2304
_LEAST_SIDE = 128
_LEAST_RATE = 10
_STILL_FORMATS = ("image2", "_pipe", "webp")
_HDR_TRANSFERS = (16, 18)
"""SMPTE ST 2084 (PQ) and ARIB STD-B67 (HLG), as numbered in ITU-T H.273."""


@dataclass(frozen=True, slots=True)
class Footage:
    """A file that can be decoded.

    ``width``, ``height``: of the upright pictures; ``expected_pictures``: about as many as
    `pictures` will give, by what the file says of itself, at least 1.
    """

    path: Path
    is_still: bool
    width: int
    height: int
    is_hdr: bool
    expected_pictures: int


def examine(path: Path) -> Footage:
    """Look at the file without decoding it all; PreparationError says why it cannot be used."""
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise PreparationError(
                    "no_video", f"{path.name} has no picture in it: send a video or a photograph."
                )
            stream = container.streams.video[0]
            _check_size(path, stream.codec_context.width, stream.codec_context.height)
            is_still = any(name in container.format.name for name in _STILL_FORMATS)
            if not is_still:
                _check_length(container, path)
            first = next(container.decode(stream), None)
            expected = 1 if is_still else _expected_pictures(container)
    except (FFmpegError, OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    if first is None:
        raise _unreadable(path, "no picture in it can be decoded")
    if is_still:
        height, width = _read_still(path).shape[:2]
    else:
        width, height = first.width, first.height
        if first.rotation % 180:
            width, height = height, width
    is_hdr = int(first.color_trc) in _HDR_TRANSFERS
    return Footage(path, is_still, width, height, is_hdr, expected)


def pictures(footage: Footage) -> Iterator[RgbPicture]:
    """All pictures, upright, 25 a second; of a still picture just the one.

    At each tick the latest picture that has come is shown, as a player would. PreparationError if
    the file turns out damaged from the start, too long, too short, or of too few pictures.
    """
    if footage.is_still:
        yield _read_still(footage.path)
        return
    decoded = shown = 0
    latest: VideoFrame | None = None
    for due, frame in _timed(footage.path):
        decoded += 1
        if due > LONGEST_S:
            raise _too_long(footage.path)
        if latest is not None:
            picture = None
            while Fraction(shown, FRAMES_PER_SECOND) < due:
                picture = _upright(latest) if picture is None else picture
                yield picture
                shown += 1
        latest = frame
    if latest is not None:
        yield _upright(latest)
        shown += 1
    if shown < SHORTEST_S * FRAMES_PER_SECOND:
        raise PreparationError(
            "too_short",
            f"{footage.path.name} has {shown / FRAMES_PER_SECOND:.1f} s of picture:"
            f" film at least {SHORTEST_S:g} s, better 20.",
        )
    if decoded < shown * _LEAST_RATE / FRAMES_PER_SECOND:
        raise PreparationError(
            "frame_rate",
            f"{footage.path.name} has only {decoded * FRAMES_PER_SECOND / shown:.1f} pictures a"
            f" second: film with at least {_LEAST_RATE}, better 25.",
        )


def _timed(path: Path) -> Iterator[tuple[Fraction, VideoFrame]]:
    """Decoded pictures with their time since the first, in s; damage ends the row."""
    start: Fraction | None = None
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for frame in container.decode(stream):
                if frame.pts is None or frame.time_base is None:
                    continue
                time = frame.pts * frame.time_base
                start = time if start is None else start
                yield time - start, frame
    except FFmpegError as error:
        if start is None:
            raise _unreadable(path, error) from None
        # What came before the damage is good; whether it is enough, its length decides.


def _upright(frame: VideoFrame) -> RgbPicture:
    picture = frame.to_ndarray(format="rgb24")
    quarter_turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, quarter_turns), np.uint8)


def _read_still(path: Path) -> RgbPicture:
    """A photograph, turned as its EXIF says, without its alpha."""
    picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise _unreadable(path, "it is not a picture that OpenCV knows")
    return np.asarray(picture, np.uint8)


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > _MOST_PIXELS:
        raise PreparationError(
            "too_many_pixels",
            f"{path.name} is {width}x{height}: send at most 4K, 1080p is plenty.",
        )
    if min(width, height) < _LEAST_SIDE:
        raise PreparationError(
            "too_few_pixels", f"{path.name} is {width}x{height}: film with at least 720p."
        )


def _check_length(container: av.container.InputContainer, path: Path) -> None:
    """By what the file says of itself; the true length shows only in decoding."""
    if container.duration is not None and container.duration / av.time_base > LONGEST_S + 1:
        raise _too_long(path)


def _expected_pictures(container: av.container.InputContainer) -> int:
    length_s = (container.duration or 0) / av.time_base
    return max(1, round(min(length_s, LONGEST_S) * FRAMES_PER_SECOND))


def _too_long(path: Path) -> PreparationError:
    return PreparationError(
        "too_long",
        f"{path.name} is longer than {LONGEST_S / 60:g} minutes: cut it, 30 s are enough.",
    )


def _unreadable(path: Path, why: object) -> PreparationError:
    # Without the number, which is FFmpeg's own, and the folder, which is nobody's business.
    why = getattr(why, "strerror", None) or why
    return PreparationError(
        "unreadable", f"{path.name} cannot be decoded ({why}): send an MP4, MOV, WebM, JPEG or PNG."
    )
