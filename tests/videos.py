"""Videos for tests, made on the spot: drawn people, encoded as phones and cameras do."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from tests.drawn_face import draw_face

_MATRIX_AT = 40
"""Where the display matrix is in a version 0 `tkhd` box, behind its four letters."""
_TURNS = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


def write_video(
    path: Path,
    pictures: Iterable[np.ndarray],
    *,
    rate: float = 25,
    times_s: Iterable[float] | None = None,
    turned_deg: int = 0,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    aspect: Fraction | None = None,
    key_every: int = 0,
) -> Path:
    """Encode RGB ``pictures``; ``times_s`` gives a variable rate, ``turned_deg`` the rotation that
    the file asks of its player, clockwise."""
    times = iter(times_s) if times_s is not None else (n / rate for n in range(10**9))
    with av.open(str(path), "w") as video:
        stream: Any = video.add_stream(codec, rate=Fraction(rate).limit_denominator(1000))
        stream.pix_fmt = pix_fmt
        stream.time_base = stream.codec_context.time_base = Fraction(1, 12_800)
        if codec == "libx264":
            stream.options = {"crf": "18", "preset": "ultrafast"}
        if key_every:
            stream.codec_context.gop_size = key_every
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for picture, time in zip(pictures, times, strict=False):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            if not stream.codec_context.is_open:
                stream.width, stream.height = frame.width, frame.height
            frame.pts, frame.time_base = round(time * 12_800), Fraction(1, 12_800)
            video.mux(stream.encode(frame))
        video.mux(stream.encode(None))
    if turned_deg:
        set_display_matrix(path, _TURNS[turned_deg])
    return path


def write_sound(path: Path) -> Path:
    """Half a second of a tone, no picture."""
    with av.open(str(path), "w", format="wav") as video:
        stream = video.add_stream("pcm_s16le", rate=16_000, layout="mono")
        tone = (8_000 * np.sin(np.arange(8_000) / 7)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
        frame.sample_rate = 16_000
        video.mux(stream.encode(frame))
        video.mux(stream.encode(None))
    return path


def person(
    frames: int,
    *,
    period: int = 50,
    sway: float = 5.0,
    talking: bool = False,
    mouth_open: float = 0.0,
    **drawn: Any,
) -> Iterator[np.ndarray]:
    """A drawn person who sways gently and comes back every ``period`` pictures."""
    place = {"width": 320, "height": 320, "x": 160, "y": 150, "size": 165} | drawn
    for n in range(frames):
        phase = 2 * np.pi * n / period
        yield draw_face(
            **{
                **place,
                "x": place["x"] + sway * np.sin(phase),
                "tilt_deg": 1.5 * np.sin(phase),
                "mouth_open": max(0.0, np.sin(3 * phase)) if talking else mouth_open,
            }
        )


def set_display_matrix(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Write a, b, c, d of a display matrix into an MP4, whose player turns and mirrors by it."""
    a, b, c, d = (value * 0x10000 for value in matrix)
    stored = np.array([a, b, 0, c, d, 0, 0, 0, 0x40000000], ">i4").tobytes()
    content = path.read_bytes()
    at = content.index(b"tkhd") + 4 + _MATRIX_AT
    path.write_bytes(content[:at] + stored + content[at + len(stored) :])
