"""However a recording is stored, if a player shows the same, the same avatar is made of it.

The same: the face has its place in the framed picture within 2 %, and its colors within 3 levels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.media.types import Picture
from inference.preparation.footage import examine
from inference.preparation.material import AnalyzedVideo, Material
from inference.preparation.normalization import BACKGROUND, oriented
from inference.preparation.tone_mapping import HLG, PQ, WHITE_NITS
from tests.drawn_face import to_rgb
from tests.inference.preparation.test_tone_mapping import TO_2020, hlg, pq
from tests.videos import person, set_display_matrix

Pictures = list[np.ndarray]
WHOLE = 60
LOOKED_AT = 52
"""In the second half, where the size of the pictures has changed."""
SAME_PLACE, SAME_LEVELS = 0.02, 3.0
BT709, FULL_RANGE = 1, 2
MATRICES = [
    *[(a, 0, 0, d) for a in (1, -1) for d in (1, -1)],
    *[(0, b, c, 0) for b in (1, -1) for c in (1, -1)],
]


pytestmark = pytest.mark.lasting


@cache
def shown() -> Pictures:
    """What every player is to show: a person who sways a little."""
    background = tuple(BACKGROUND)
    return list(person(WHOLE, period=WHOLE, sway=3.0, background=background))


@dataclass(frozen=True)
class Look:
    """What becomes of a file. ``box``: of the face, pixels of the framed picture."""

    box: np.ndarray
    picture: Picture

    def face(self) -> np.ndarray:
        x, y = (float(v) for v in (self.box[:2] + self.box[2:]) / 2)
        return np.asarray(cv2.getRectSubPix(to_rgb(self.picture), (120, 150), (x, y)))


def look(path: Path) -> Look:
    footage = examine(path)
    index = 0 if footage.is_still else LOOKED_AT
    material = Material([AnalyzedVideo.of(footage, fewest=1, tell=lambda _: None)])
    ((_, picture),) = material.pictures({index})
    marks = material.landmarks[index, :, :2]
    return Look(np.concatenate([marks.min(axis=0), marks.max(axis=0)]), picture)


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Look:
    return look(stored(tmp_path_factory.mktemp("original") / "original.mkv", shown()))


def assert_same(one: Look, other: Look) -> None:
    side = float(np.ptp(one.box[1::2]))
    assert np.abs(one.box - other.box).max() < SAME_PLACE * side
    # Without edges, whose places may differ by a pixel.
    calm = [
        cv2.GaussianBlur(face, (0, 0), 6).reshape(-1, 3).astype(int)
        for face in (one.face(), other.face())
    ]
    assert np.abs(np.subtract(*calm)).mean(axis=0).max() < SAME_LEVELS
    assert np.abs(np.median(calm[0], axis=0) - np.median(calm[1], axis=0)).max() <= SAME_LEVELS


def stored(
    path: Path,
    pictures: Pictures,
    *,
    codec: str = "ffv1",
    pix_fmt: str = "yuv444p",
    aspect: Fraction | None = None,
    kind: str | None = None,
    matrix: int | None = None,
    range_: int | None = None,
    transfer: int | None = None,
    flags: int = 0,
    options: dict[str, str] | None = None,
) -> Path:
    """A file of RGB pictures, 8 or 16 bit."""
    with av.open(str(path), "w", format=kind) as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.pix_fmt = pix_fmt
        stream.height, stream.width = pictures[0].shape[:2]
        stream.options = options or {}
        context = stream.codec_context
        context.flags |= flags
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        if matrix is not None:
            context.colorspace = matrix
        if range_ is not None:
            context.color_range = range_
        if transfer is not None:
            context.color_trc, context.color_primaries = transfer, 9
        for number, picture in enumerate(pictures):
            deep = picture.dtype == np.uint16
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(picture), format="rgb48le" if deep else "rgb24"
            )
            if matrix is not None or range_ is not None:
                frame = frame.reformat(
                    format=pix_fmt, dst_colorspace=matrix, dst_color_range=range_ or 1
                )
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def undone(matrix: tuple[int, int, int, int]) -> Pictures:
    """The pictures that a display matrix turns into those that are to be shown."""
    a, b, c, d = matrix
    return [oriented(picture, (a, c, b, d)) for picture in shown()]


def squeezed(pictures: Pictures, aspect: Fraction) -> Pictures:
    height, width = pictures[0].shape[:2]
    narrow = round(width / aspect)
    return [cv2.resize(p, (narrow, height), interpolation=cv2.INTER_AREA) for p in pictures]


def h264(path: Path, pictures: Pictures, **more: Any) -> Path:
    return stored(
        path,
        pictures,
        codec="libx264",
        pix_fmt="yuv420p",
        options={"crf": "12", "preset": "ultrafast"},
        **more,
    )


def hdr(path: Path, transfer: int) -> Path:
    deep = []
    for picture in shown():
        nits = WHITE_NITS * (picture / 255) ** 2.4 @ TO_2020.T
        signal = (pq if transfer == PQ else hlg)(np.maximum(nits, 0))
        deep.append(np.round(np.clip(signal, 0, 1) * 65_535).astype(np.uint16))
    return stored(path, deep, pix_fmt="gbrp16le", transfer=transfer)


def of_two_sizes(path: Path) -> Path:
    half = WHOLE // 2
    small = [cv2.resize(p, (256, 256), interpolation=cv2.INTER_AREA) for p in shown()[half:]]
    parts = [
        h264(path.with_name("large.ts"), shown()[:half]),
        h264(path.with_name("small.ts"), small),
    ]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def transparent(path: Path) -> Path:
    """A photograph whose background was removed and would be red."""
    picture = shown()[0]
    is_background = (np.abs(picture.astype(int) - BACKGROUND) < 4).all(axis=2)
    pixels = np.dstack([picture[..., ::-1], np.where(is_background, 0, 255).astype(np.uint8)])
    pixels[is_background, :3] = (0, 0, 255)
    cv2.imwrite(str(path), pixels)
    return path


Make = Callable[[Path], Path]
WAYS: dict[str, tuple[str, Make]] = {
    "mp4": ("a.mp4", lambda path: h264(path, shown())),
    "mov": ("a.mov", lambda path: h264(path, shown())),
    "transport stream": ("a.ts", lambda path: h264(path, shown())),
    "flv": ("a.flv", lambda path: h264(path, shown())),
    "raw H.264": ("a.h264", lambda path: h264(path, shown())),
    "webm": (
        "a.webm",
        lambda path: stored(
            path, shown(), codec="libvpx", pix_fmt="yuv420p", options={"crf": "4", "b": "8M"}
        ),
    ),
    "motion JPEG": (
        "a.avi",
        lambda path: stored(
            path, shown(), codec="mjpeg", pix_fmt="yuvj444p", options={"q": "2", "b": "20M"}
        ),
    ),
    "BT.709": ("a.mkv", lambda path: stored(path, shown(), matrix=BT709)),
    "full range": ("a.mkv", lambda path: stored(path, shown(), range_=FULL_RANGE)),
    "HLG": ("a.mkv", lambda path: hdr(path, HLG)),
    "PQ": ("a.mkv", lambda path: hdr(path, PQ)),
    "two sizes": ("a.ts", of_two_sizes),
    "interlaced": (
        "a.ts",
        lambda path: stored(
            path,
            shown(),
            codec="mpeg2video",
            pix_fmt="yuv422p",
            flags=0x0004_0000 | 0x2000_0000,
            options={"b": "30M"},
        ),
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_recording_stored_another_way_is_the_same_avatar(tmp_path, original, way):
    name, make = WAYS[way]
    assert_same(original, look(make(tmp_path / name)))


def test_a_photograph_without_background_is_the_same_avatar(tmp_path):
    cv2.imwrite(str(tmp_path / "whole.png"), shown()[0][..., ::-1])
    whole = look(tmp_path / "whole.png")
    assert_same(whole, look(transparent(tmp_path / "cut-out.png")))
    for name in ("photo.jpg", "photo.webp", "photo.bmp", "photo.tiff"):
        cv2.imwrite(str(tmp_path / name), shown()[0][..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 97])
        assert_same(whole, look(tmp_path / name))


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    matrix=st.sampled_from(MATRICES),
    aspect=st.sampled_from([Fraction(1), Fraction(4, 3), Fraction(16, 15), Fraction(8, 9)]),
)
def test_turned_mirrored_and_squeezed_at_once(tmp_path, original, matrix, aspect):
    path = h264(tmp_path / "video.mp4", squeezed(undone(matrix), aspect), aspect=aspect)
    set_display_matrix(path, matrix)
    assert_same(original, look(path))
