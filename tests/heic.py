"""HEIC pictures of tiles, as phones store them: boxes and items of ISO/IEC 23008-12."""

import io
import struct
from fractions import Fraction
from typing import Any

import av
import numpy as np


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full_box(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def encoded(tile: np.ndarray) -> tuple[bytes, bytes]:
    """The decoder's configuration, as a box, and the one sample of an HEVC picture."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as video:
        stream: Any = video.add_stream("libx265", rate=1)
        stream.pix_fmt = "yuv420p"
        stream.height, stream.width = tile.shape[:2]
        stream.options = {"x265-params": "log-level=none:keyint=1", "preset": "ultrafast"}
        stream.codec_context.codec_tag = "hvc1"
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(tile), format="rgb24")
        frame.pts, frame.time_base = 0, Fraction(1)
        video.mux(stream.encode(frame))
        video.mux(stream.encode(None))
    content = file.getvalue()
    at = content.index(b"hvcC") - 4
    configuration = content[at : at + int.from_bytes(content[at : at + 4])]
    with av.open(io.BytesIO(content)) as video:
        sample = b"".join(bytes(packet) for packet in video.demux(video=0) if packet.size)
    return configuration, sample


def _aperture(width: int, height: int, right: int, down: int) -> bytes:
    return struct.pack(">IIIIiIiI", width, 1, height, 1, right, 2, down, 2)


def heic(
    picture: np.ndarray,
    side: int,
    *,
    turns: bytes = b"\0",
    is_mirrored: bool = False,
    profile: bytes = b"",
    aperture: tuple[int, int, int, int] | None = None,
) -> bytes:
    """A file of an RGB picture in tiles of ``side`` pixels, which its player is to crop, to turn,
    and to show in the colors of an ICC profile.

    ``aperture``: width, height, and how far its center is right and below of the picture's, in
    halves of a pixel.
    """
    height, width = picture.shape[:2]
    rows, columns = -(-height // side), -(-width // side)
    padding = (0, rows * side - height), (0, columns * side - width), (0, 0)
    padded = np.pad(picture, padding, mode="edge")
    tiles = [
        encoded(padded[y : y + side, x : x + side])
        for y in range(0, rows * side, side)
        for x in range(0, columns * side, side)
    ]
    whole = len(tiles) + 1
    numbers = range(1, whole)
    grid = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)

    def item(number: int, kind: bytes) -> bytes:
        return full_box(b"infe", 2, 0, struct.pack(">HH4s", number, 0, kind), b"\0")

    def size(width: int, height: int) -> bytes:
        return full_box(b"ispe", 0, 0, struct.pack(">II", width, height))

    items = [*(item(number, b"hvc1") for number in numbers), item(whole, b"grid")]
    names = struct.pack(f">HH{whole - 1}H", whole, whole - 1, *numbers)
    properties = [
        tiles[0][0],
        size(side, side),
        size(width, height),
        *([] if aperture is None else [box(b"clap", _aperture(*aperture))]),
        box(b"irot", turns),
        *([box(b"imir", b"\1")] if is_mirrored else []),
        *([box(b"colr", b"prof", profile)] if profile else []),
    ]
    of_whole = bytes([3, *range(0x84, 0x80 + len(properties) + 1)])
    links = [
        *(struct.pack(">HBBB", number, 2, 0x81, 2) for number in numbers),
        struct.pack(">HB", whole, len(of_whole)) + of_whole,
    ]

    def described(at: int) -> bytes:
        places = []
        for number, (_, sample) in zip(numbers, tiles, strict=True):
            places.append(struct.pack(">HHHHII", number, 0, 0, 1, at, len(sample)))
            at += len(sample)
        places.append(struct.pack(">HHHHII", whole, 1, 0, 1, 0, len(grid)))
        return full_box(
            b"meta",
            0,
            0,
            full_box(b"hdlr", 0, 0, bytes(4), b"pict", bytes(13)),
            full_box(b"pitm", 0, 0, struct.pack(">H", whole)),
            full_box(b"iloc", 1, 0, b"\x44\0", struct.pack(">H", whole), *places),
            full_box(b"iinf", 0, 0, struct.pack(">H", whole), *items),
            full_box(b"iref", 0, 0, box(b"dimg", names)),
            box(
                b"iprp",
                box(b"ipco", *properties),
                full_box(b"ipma", 0, 0, struct.pack(">I", whole), *links),
            ),
            box(b"idat", grid),
        )

    kind = box(b"ftyp", b"heic", bytes(4), b"mif1heic")
    begin = len(kind) + len(described(0)) + 8
    return kind + described(begin) + box(b"mdat", *(sample for _, sample in tiles))
