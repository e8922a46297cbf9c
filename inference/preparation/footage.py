"""What a person filmed, as a steady row of upright RGB pictures, 25 a second.

Every container and codec of `_FORMATS` is decoded: other rates, variable rates, turned and mirrored
phones, changing sizes, damaged files, a still picture. Nothing is kept: a caller that needs the
pictures twice decodes twice, so memory does not grow with the length of a video.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.error import ArgumentError, FFmpegError
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace

from inference.errors import PreparationError
from inference.faces.tflite import RgbPicture
from inference.preparation import heif
from inference.preparation.color_profile import embedded_profile, to_srgb
from inference.preparation.normalization import Normalizer, over_background, square_size
from inference.preparation.tone_mapping import HLG, PQ
from inference.timing import FRAMES_PER_SECOND

_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,h264,hevc,flv,ogg,asf,gif,dv,"
    "mxf,image2,jpeg_pipe,png_pipe,apng,webp_pipe,bmp_pipe,tiff_pipe,wav"
)
"""Demuxers that uploads may use. Text formats that name other files (concat, HLS, DASH) are not
among them."""
SHORTEST_S, LONGEST_S = 2.0, 300.0
_MOST_PIXELS = 4096 * 2304
_MOST_STILL_PIXELS = 100_000_000
"""Of a photograph, which is decoded reduced."""
_LEAST_SIDE = 128
_THREADS = 2
"""Of the decoder, each with a picture of its own: on many cores they would be gigabytes of 4K."""
_LEAST_RATE = 10
_RESTART_S = 0.5
"""Pictures that are out of order go back by less."""
_STILL_FORMATS = ("image2", "_pipe", "apng")
"""What moves in a PNG or WebP is left out: the first picture is taken."""


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
    sample_aspect_ratio: Fraction | None
    """Width by height of a stored pixel; None or 0: square."""
    quarter_turns: int = 0
    """Counterclockwise, after all that the file says of itself."""

    def turned(self, turns: int) -> "Footage":
        """Return the same file, its pictures turned by so many quarter turns more."""
        width, height = (self.height, self.width) if turns % 2 else (self.width, self.height)
        turns = (self.quarter_turns + turns) % 4
        return replace(self, width=width, height=height, quarter_turns=turns)


@dataclass(slots=True)
class Condition:
    """What was wrong with a file, known once its pictures were decoded.

    ``damaged_s``: where parts could not be decoded and were left out, s since its beginning.
    """

    damaged_s: list[float] = field(default_factory=list)
    has_changed_size: bool = False


def examine(path: Path) -> Footage:
    """Look at the file without decoding it all; PreparationError says why it cannot be used."""
    try:
        with _open(path) as container:
            stream = _main_stream(container, path)
            if getattr(stream, "codec_context", None) is None:
                raise _unreadable(path, "there is no decoder for it")
            is_still = _is_still(container, stream)
            aspect = stream.sample_aspect_ratio
            size = _stored_size(path, stream.codec_context)
            if is_still:
                expected = 1
                _check_size(path, *size, _MOST_STILL_PIXELS)
            else:
                _check_size(path, *square_size(*size, aspect), _MOST_PIXELS)
                expected = _expected_pictures(path, container, stream)
            is_animated_webp = is_still and not stream.codec_context.width
            first = next(_decoded(container, stream, Condition()), None)
    except MemoryError:
        raise  # FFmpeg's is one of its errors, too
    except (FFmpegError, OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    if first is None and not is_animated_webp:
        raise _unreadable(path, "no picture in it can be decoded")
    shown = _read_still(path) if first is None or is_still else Normalizer(aspect).normalize(first)
    height, width = shown.shape[:2]
    is_hdr = first is not None and int(first.color_trc) in (HLG, PQ)
    return Footage(path, is_still, width, height, is_hdr, expected, aspect)


def pictures(footage: Footage, condition: Condition | None = None) -> Iterator[RgbPicture]:
    """All pictures, 25 a second, turned as the footage says; of a still picture just the one.

    At each tick the latest picture that has come is shown, as a player would.

    Args:
        footage: The file.
        condition: Receives what turns out to be wrong with it.

    Raises:
        PreparationError: The file turns out damaged from the start, too long, too short, or of too
            few pictures.
    """
    condition = Condition() if condition is None else condition
    turned: RgbPicture | None = None
    before: RgbPicture | None = None
    for picture in _pictures(footage, condition):
        if turned is None or picture is not before:
            turned = np.ascontiguousarray(np.rot90(picture, footage.quarter_turns))
        before = picture
        yield turned


def _pictures(footage: Footage, condition: Condition) -> Iterator[RgbPicture]:
    if footage.is_still:
        yield _read_still(footage.path)
        return
    decoded = shown = 0
    latest: VideoFrame | None = None
    normalizer = Normalizer(footage.sample_aspect_ratio)
    for due, frame in _timed(footage.path, condition):
        decoded += 1
        if due > LONGEST_S:
            raise _too_long(footage.path)
        if latest is not None:
            picture = None
            while Fraction(shown, FRAMES_PER_SECOND) < due:
                picture = normalizer.normalize(latest) if picture is None else picture
                yield picture
                shown += 1
        latest = frame
    if latest is not None:
        yield normalizer.normalize(latest)
        shown += 1
    condition.has_changed_size = normalizer.has_changed_size
    if shown < SHORTEST_S * FRAMES_PER_SECOND:
        raise PreparationError(
            "too_short",
            f"{footage.path.name} has {shown / FRAMES_PER_SECOND:.1f} s of picture:"
            f" record at least {SHORTEST_S:g} s, better 20.",
        )
    if decoded < shown * _LEAST_RATE / FRAMES_PER_SECOND:
        raise PreparationError(
            "frame_rate",
            f"{footage.path.name} has only {decoded * FRAMES_PER_SECOND / shown:.1f} pictures a"
            f" second: record with at least {_LEAST_RATE}, better 25.",
        )


def _open(path: Path) -> av.container.InputContainer:
    try:
        # In a path that does not begin at the root, FFmpeg takes what precedes a colon for a
        # protocol.
        return av.open(str(path.absolute()), options={"format_whitelist": _FORMATS})
    except ArgumentError:
        raise _unreadable(path, "its format is not one that is taken") from None


def _main_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    """Return the video that a player would show; a cover is none.

    Its colors are named where its format leaves that to who knows it.
    """
    streams = [s for s in container.streams.video if Disposition.attached_pic not in s.disposition]
    if not streams:
        raise PreparationError(
            "no_video", f"{path.name} has no picture in it: send a video or a photograph."
        )
    best = container.streams.best("video")
    if heif.read(path) is not None or best not in streams:
        best = streams[0]  # of a HEIF file the others are the picture again, moving
    context = getattr(best, "codec_context", None)
    if context is not None and context.codec.canonical_name == "vp8":
        context.colorspace = Colorspace.ITU601  # it has no other (RFC 6386, 9.2) and does not say
    return best


def _is_still(container: av.container.InputContainer, stream: av.VideoStream) -> bool:
    """Whether the file is a photograph: by its format, or because it has one picture."""
    if any(name in container.format.name for name in _STILL_FORMATS):
        return True
    return stream.frames == 1


def _timed(path: Path, condition: Condition) -> Iterator[tuple[Fraction, VideoFrame]]:
    """Yield decoded pictures with their time since the first, in s; damaged parts are left out.

    Times that begin again, as in joined recordings, continue where the ones before ended.
    """
    start: Fraction | None = None
    time = due = Fraction(0)
    count = 0
    try:
        with _open(path) as container:
            stream = _main_stream(container, path)
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = _THREADS
            rate = stream.average_rate or stream.guessed_rate or Fraction(FRAMES_PER_SECOND)
            for frame in _decoded(container, stream, condition):
                if frame.pts is None or frame.time_base is None:
                    time = count / Fraction(rate)  # raw H.264 has no times
                else:
                    time = frame.pts * frame.time_base
                count += 1
                start = time if start is None else start
                if time - start < due - _RESTART_S:
                    start = time - due - 1 / Fraction(rate)
                due = max(due, time - start)
                yield time - start, frame
    except MemoryError:
        raise
    except FFmpegError as error:
        if start is None:
            raise _unreadable(path, error) from None
        # What came before the damage is good; whether it is enough, its length decides.
        condition.damaged_s.append(float(due))


def _decoded(
    container: av.container.InputContainer, stream: av.VideoStream, condition: Condition
) -> Iterator[VideoFrame]:
    """Yield pictures that are whole.

    Packets that cannot be decoded are skipped. So are pictures that FFmpeg flags as corrupt, or
    that follow a packet of which a part was lost, up to the next key frame; the condition notes
    them.
    """
    is_damaged = False
    lost: tuple[int, int] | None = None
    """Between which times a picture is due that lacks a part."""
    latest: int | None = None
    received = 0
    rate = stream.average_rate or stream.guessed_rate or Fraction(FRAMES_PER_SECOND)
    two_pictures = 0 if stream.time_base is None else round(2 / rate / stream.time_base)
    for packet in container.demux(stream):
        if packet.dts is not None:
            if packet.dts < received:  # recordings were joined, where something seems to be lost
                lost = None
            elif packet.is_corrupt and packet.pts is not None:
                # What was lost may have been of the two pictures behind it.
                lost = packet.dts, packet.pts + two_pictures
            received = packet.dts
        try:
            frames = stream.decode(packet)
        except MemoryError:
            raise
        except FFmpegError:
            if not is_damaged:
                condition.damaged_s.append(_second(stream, packet.pts, latest))
            is_damaged = True
            continue
        for frame in frames:
            is_corrupt = frame.is_corrupt
            if lost is not None and frame.pts is not None and frame.pts >= lost[0]:
                is_past = frame.pts > lost[1]
                is_corrupt = is_corrupt or not (is_past and frame.key_frame)
                lost = None if is_past else lost
            if is_corrupt and not is_damaged:
                condition.damaged_s.append(_second(stream, frame.pts, latest))
            is_damaged = is_corrupt or (is_damaged and not frame.key_frame)
            latest = latest if frame.pts is None else frame.pts
            if not is_damaged:
                yield frame


def _second(stream: av.VideoStream, pts: int | None, latest: int | None) -> float:
    """Return where in the video a time stamp is, s; what has none follows the latest one."""
    pts = latest if pts is None else pts
    if pts is None or stream.time_base is None:
        return 0.0
    return float((pts - (stream.start_time or 0)) * stream.time_base)


def _read_still(path: Path) -> RgbPicture:
    """Return a photograph, turned as it says, over the background, in at most 4K."""
    try:
        described = heif.read(path)
        if described is None:
            picture = _read_by_opencv(path, embedded_profile(path))
            return _read_single_frame(path) if picture is None else picture
        if described.grid is not None:
            picture = to_srgb(_reduced(_read_tiles(path, described.grid)), described.profile)
            return described.turned(picture)
        # OpenCV keeps what is transparent in an AVIF, and does not know how it is turned.
        picture = _read_by_opencv(path, described.profile, cv2.IMREAD_IGNORE_ORIENTATION)
        if picture is None:  # FFmpeg knows how it is turned
            return described.cropped(to_srgb(_read_single_frame(path), described.profile))
        return described.turned(picture)
    except MemoryError:
        raise
    except (FFmpegError, ValueError) as error:
        raise _unreadable(path, error) from None


def _read_by_opencv(path: Path, profile: bytes | None, flag: int = 0) -> RgbPicture | None:
    """Return a photograph as `_read_still` does; None if OpenCV does not know its format.

    Args:
        path: The file.
        profile: The ICC profile of its colors.
        flag: One of OpenCV's, besides those of color and size.
    """
    with _open(path) as container:
        context = _main_stream(container, path).codec_context
        divisor = _divisor(*_coded_size(path, context))
        may_have_alpha = context.name != "mjpeg"
    content = np.fromfile(path, np.uint8)
    picture = cv2.imdecode(content, _FLAGS[divisor] | flag)
    if picture is None:
        return None
    if divisor > 1:
        return to_srgb(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8), profile)
    if may_have_alpha:
        whole = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
        if whole is not None and whole.ndim == 3 and whole.shape[2] == 4:
            levels = 257 if whole.dtype == np.uint16 else 1
            small = np.asarray(whole // levels, np.uint8)
            rgba = np.asarray(cv2.cvtColor(small, cv2.COLOR_BGRA2RGBA), np.uint8)
            rgba[..., :3] = to_srgb(np.ascontiguousarray(rgba[..., :3]), profile)
            return over_background(rgba)
    return to_srgb(np.asarray(picture, np.uint8), profile)


_FLAGS = {
    1: cv2.IMREAD_COLOR_RGB,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def _divisor(width: int, height: int) -> int:
    """By what the sides of a photograph are divided."""
    return max(d for d in _FLAGS if width * height > _MOST_PIXELS * (d // 2) ** 2)


def _reduced(picture: RgbPicture) -> RgbPicture:
    height, width = picture.shape[:2]
    if (divisor := _divisor(width, height)) == 1:
        return picture
    size = width // divisor, height // divisor
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _read_single_frame(path: Path) -> RgbPicture:
    """Return a picture that OpenCV does not know, such as HEIC, by FFmpeg."""
    with _open(path) as container:
        stream = _main_stream(container, path)
        frame = next(_decoded(container, stream, Condition()), None)
        if frame is None:
            raise _unreadable(path, "no picture in it can be decoded")
        normalizer = Normalizer(stream.sample_aspect_ratio, is_photograph=True)
        return _reduced(normalizer.normalize(frame))


def _read_tiles(path: Path, grid: heif.Grid) -> RgbPicture:
    tiles: dict[int, RgbPicture] = {}
    with _open(path) as container:
        streams = [stream for stream in container.streams.video if stream.id in grid.tiles]
        sizes = [stream.codec_context.width * stream.codec_context.height for stream in streams]
        if sum(sizes) > 2 * _MOST_STILL_PIXELS:
            raise ValueError("its tiles are larger than the picture")
        for packet in container.demux(streams):
            for frame in packet.decode():
                if isinstance(frame, VideoFrame) and packet.stream.id not in tiles:
                    picture = Normalizer(None, is_photograph=True).normalize(frame)
                    tiles[packet.stream.id] = picture
    return grid.assembled(tiles)


def _stored_size(path: Path, context: av.VideoCodecContext) -> tuple[int, int]:
    """Return width and height, of all tiles together."""
    described = heif.read(path)
    if described is not None and described.grid is not None:
        return described.grid.width, described.grid.height
    return _coded_size(path, context)


def _coded_size(path: Path, context: av.VideoCodecContext) -> tuple[int, int]:
    """Return width and height of what is not in tiles.

    FFmpeg does not know them of an animated WebP, which it cannot read. OpenCV can, so there they
    are read from the header (RFC 9649, section 2.7).
    """
    if context.width:
        return context.width, context.height
    with path.open("rb") as file:
        header = file.read(30)
    if header[8:16] != b"WEBPVP8X":
        raise _unreadable(path, "no picture in it can be decoded")
    width, height = (int.from_bytes(header[at : at + 3], "little") + 1 for at in (24, 27))
    return width, height


def _check_size(path: Path, width: int, height: int, most_pixels: int) -> None:
    if width * height > most_pixels:
        raise PreparationError(
            "too_many_pixels",
            f"{path.name} is {width}x{height}: send a video of at most 4K, 1080p is plenty, or a "
            f"photograph of at most {_MOST_STILL_PIXELS // 1_000_000} megapixels.",
        )
    if min(width, height) < _LEAST_SIDE:
        raise PreparationError(
            "too_few_pixels", f"{path.name} is {width}x{height}: record with at least 720p."
        )


def _expected_pictures(
    path: Path, container: av.container.InputContainer, stream: av.VideoStream
) -> int:
    """Refuse what is too long before it is decoded; the true length shows only then."""
    length_s = (container.duration or 0) / av.time_base
    if stream.duration is not None and stream.time_base is not None:
        length_s = float(stream.duration * stream.time_base)
    if not 0 < length_s <= LONGEST_S + 1:
        # Browsers record without a length, and what is said may be the length of the sound.
        length_s = _length_of_packets_s(path)
    if length_s > LONGEST_S + 1:
        raise _too_long(path)
    return max(1, round(min(length_s, LONGEST_S) * FRAMES_PER_SECOND))


def _length_of_packets_s(path: Path) -> float:
    """By the times of the packets, undecoded; 0 if they have none."""
    with _open(path) as container:
        stream = _main_stream(container, path)
        times = [packet.pts for packet in container.demux(stream) if packet.pts is not None]
        if not times or stream.time_base is None:
            return 0.0
        return float((max(times) - min(times)) * stream.time_base)


def _too_long(path: Path) -> PreparationError:
    return PreparationError(
        "too_long",
        f"{path.name} is longer than {LONGEST_S / 60:g} minutes: cut it, 30 s are enough.",
    )


def _unreadable(path: Path, why: object) -> PreparationError:
    # Without FFmpeg's error number, and without the folder.
    why = getattr(why, "strerror", None) or why
    return PreparationError(
        "unreadable", f"{path.name} cannot be decoded ({why}): send an MP4, MOV, WebM, JPEG or PNG."
    )
