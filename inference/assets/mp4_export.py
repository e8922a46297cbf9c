"""An avatar's clips in forms that any browser shows: for people who look at it, not for streams."""

import io
from fractions import Fraction
from pathlib import Path

import av
import cv2

from inference.assets.manifest import ClipEntry, Manifest, clip_path
from inference.errors import AvatarInvalid

_THUMBNAIL_SIDE = 192


def clip_video(folder: Path, manifest: Manifest, clip: ClipEntry) -> bytes:
    """Return the access units of ``clip``, untouched, as an MP4 that a browser can seek in."""
    times = Fraction(1, manifest.profile.frames_per_second)
    video = io.BytesIO()
    units = _access_units(folder, clip)
    with (
        av.open(io.BytesIO(units), format="h264") as source,
        av.open(video, "w", format="mp4") as output,
    ):
        stream = output.add_stream_from_template(source.streams.video[0])
        stream.time_base = times
        at = 0
        for number, size in enumerate(clip.sizes):
            packet = av.Packet(units[at : at + size])
            packet.stream, packet.time_base = stream, times
            packet.pts = packet.dts = number
            packet.duration = 1
            packet.is_keyframe = number in clip.idr
            output.mux_one(packet)
            at += size
    return video.getvalue()


def thumbnail(folder: Path, manifest: Manifest) -> bytes:
    """Return the avatar at rest as a small JPEG: the first picture of its first idle clip."""
    clip = next(clip for clip in manifest.clips if clip.state == "idle")
    decoder = av.CodecContext.create("h264", "r")
    first = av.Packet(_access_units(folder, clip)[: clip.sizes[0]])
    try:
        frames = [*decoder.decode(first), *decoder.decode(None)]
    except av.FFmpegError as error:
        raise AvatarInvalid(f"clip {clip.name} cannot be decoded: {error}") from None
    if not frames:
        raise AvatarInvalid(f"clip {clip.name} has no picture")
    picture = frames[0].to_ndarray(format="bgr24")
    side = (_THUMBNAIL_SIDE, _THUMBNAIL_SIDE * picture.shape[0] // picture.shape[1])
    small = cv2.resize(picture, side, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()


def _access_units(folder: Path, clip: ClipEntry) -> bytes:
    path = clip_path(folder, clip.name)
    try:
        units = path.read_bytes()
    except OSError as error:
        raise AvatarInvalid(f"{path} cannot be read: {error.strerror}") from None
    if len(units) != sum(clip.sizes):
        raise AvatarInvalid(f"{path} has {len(units)} bytes instead of {sum(clip.sizes)}")
    return units
