"""What a HEIF file, such as HEIC or AVIF, says of its picture: tiles, turns, and color profile.

Phones store a photograph as a grid of some fifty tiles. FFmpeg gives each tile as a video of one
picture and keeps the grid to itself, so it is read here: boxes by ISO/IEC 14496-12, items and their
properties by ISO/IEC 23008-12.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from inference.faces.tflite import RgbPicture

_BRANDS = {b"mif1", b"heic", b"heix", b"heim", b"heis", b"avif"}
_MOST_BYTES = 4_000_000
"""Of the box that describes all items; a phone's has some 5,000."""
_MOST_BOXES = 32
"""Before that one."""

Turn = Literal[0, 1, 2, 3, "mirrored", "flipped"]
"""Quarter turns counterclockwise, or which sides change places: left and right, or top and bottom.
"""
_QUARTERS: tuple[Turn, ...] = (0, 1, 2, 3)


@dataclass(frozen=True, slots=True)
class Grid:
    """``tiles``: the items in rows, from the upper left; FFmpeg's streams have their ids."""

    rows: int
    columns: int
    width: int
    height: int
    tiles: tuple[int, ...]

    def assembled(self, tiles: dict[int, RgbPicture]) -> RgbPicture:
        """Return the picture; ValueError if a tile is missing or of another size."""
        if missing := set(self.tiles) - tiles.keys():
            raise ValueError(f"tiles are missing: {len(missing)}")
        rows = [
            np.hstack([tiles[tile] for tile in self.tiles[first : first + self.columns]])
            for first in range(0, len(self.tiles), self.columns)
        ]
        whole = np.vstack(rows)
        if whole.shape[0] < self.height or whole.shape[1] < self.width:
            raise ValueError("the tiles do not fill the picture")
        return np.asarray(whole[: self.height, : self.width], np.uint8)


@dataclass(frozen=True, slots=True)
class HeifPicture:
    """The file's picture.

    ``grid``: None if it is stored as a whole; ``turns``: in their order; ``profile``: ICC.
    """

    grid: Grid | None
    turns: tuple[Turn, ...] = ()
    profile: bytes | None = None

    def turned(self, picture: RgbPicture) -> RgbPicture:
        """Return the stored picture as it is to be shown."""
        for turn in self.turns:
            if turn == "mirrored":
                picture = picture[:, ::-1]
            elif turn == "flipped":
                picture = picture[::-1]
            else:
                picture = np.rot90(picture, turn)
        return np.ascontiguousarray(picture)


def read(path: Path) -> HeifPicture | None:
    """Return what the file says; None if it is no HEIF file; ValueError if it is damaged."""
    content = _described(path)
    if content is None:
        return None
    meta = dict(_boxes(content[4:]))
    main = meta.get(b"pitm", b"")
    primary = _number(main, 4, 2 if _version(main) == 0 else 4)
    properties = list(_properties(meta.get(b"iprp", b""), primary))
    turns = tuple(_turns(properties))
    profile = _profile(properties)
    if _kinds(meta.get(b"iinf", b"")).get(primary) != b"grid":
        return HeifPicture(None, turns, profile)
    stored = _stored(path, meta, primary)
    size = 4 if _number(stored, 1, 1) & 1 else 2
    rows, columns = _number(stored, 2, 1) + 1, _number(stored, 3, 1) + 1
    width, height = _number(stored, 4, size), _number(stored, 4 + size, size)
    tiles = _tiles(meta.get(b"iref", b""), primary)
    if len(tiles) != rows * columns:
        raise ValueError(f"{rows} x {columns} tiles, but {len(tiles)} are named")
    return HeifPicture(Grid(rows, columns, width, height, tiles), turns, profile)


def _described(path: Path) -> bytes | None:
    """Return the box `meta` of a HEIF file."""
    with path.open("rb") as file:
        kind, size = _head(file.read(16))[:2]
        file.seek(8)
        brands = file.read(min(size, 256) - 8)
        if kind != b"ftyp" or not _BRANDS & {brands[n : n + 4] for n in range(0, len(brands), 4)}:
            return None
        at = size
        for _ in range(_MOST_BOXES):
            file.seek(at)
            kind, size, body = _head(file.read(16))
            if kind == b"meta":
                if size > _MOST_BYTES:
                    raise ValueError("its description is too long")
                file.seek(at + body)
                return file.read(size - body)
            at += size
        return None


def _head(content: bytes) -> tuple[bytes, int, int]:
    """Return the kind of a box, its size, and where its body begins; no kind: there is no box."""
    if len(content) < 8:
        return b"", 0, 0
    size, kind, body = _number(content, 0, 4), content[4:8], 8
    if size == 1:
        size, body = _number(content, 8, 8), 16
    elif size == 0:
        size = _MOST_BYTES  # to the end of the file
    if size < body:
        raise ValueError("a box is smaller than its head")
    return kind, size, body


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and body of each box."""
    at = 0
    while True:
        kind, size, body = _head(content[at : at + 16])
        if not kind:
            return
        yield kind, content[at + body : at + size]
        at += size


def _number(content: bytes, at: int, size: int) -> int:
    if at + size > len(content):
        raise ValueError("a box ends too soon")
    return int.from_bytes(content[at : at + size])


def _version(body: bytes) -> int:
    return _number(body, 0, 1)


def _kinds(body: bytes) -> dict[int, bytes]:
    """Return the kind of each item."""
    kinds = {}
    for kind, entry in _boxes(body[6 if _version(body) == 0 else 8 :]):
        if kind == b"infe" and _version(entry) >= 2:
            size = 2 if _version(entry) == 2 else 4
            kinds[_number(entry, 4, size)] = entry[6 + size : 10 + size]
    return kinds


def _tiles(body: bytes, primary: int) -> tuple[int, ...]:
    """Return the items that an item is made of, in their order."""
    size = 2 if _version(body) == 0 else 4
    for kind, entry in _boxes(body[4:]):
        if kind == b"dimg" and _number(entry, 0, size) == primary:
            count = _number(entry, size, 2)
            return tuple(_number(entry, size + 2 + n * size, size) for n in range(count))
    return ()


def _turns(properties: list[tuple[bytes, bytes]]) -> Iterator[Turn]:
    """Yield how an item is turned and mirrored, in that order."""
    for kind, value in properties:
        if kind == b"irot":
            yield _QUARTERS[_number(value, 0, 1) & 3]
        elif kind == b"imir":
            yield "mirrored" if _number(value, 0, 1) & 1 else "flipped"


def _profile(properties: list[tuple[bytes, bytes]]) -> bytes | None:
    """Return the ICC profile; colors can also be named by numbers, which decoders read."""
    for kind, value in properties:
        if kind == b"colr" and value[:4] in (b"prof", b"rICC"):
            return value[4:]
    return None


def _properties(body: bytes, primary: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and value of an item's properties, in their order."""
    parts = dict(_boxes(body))
    properties = list(_boxes(parts.get(b"ipco", b"")))
    links = parts.get(b"ipma", b"")
    wide, long = _number(links, 3, 1) & 1, _version(links) > 0
    at = 8
    for _ in range(_number(links, 4, 4)):
        item = _number(links, at, 4 if long else 2)
        at += 4 if long else 2
        count = _number(links, at, 1)
        at += 1
        for _ in range(count):
            index = _number(links, at, 2) & 0x7FFF if wide else _number(links, at, 1) & 0x7F
            at += 2 if wide else 1
            if item == primary and 0 < index <= len(properties):
                yield properties[index - 1]


def _stored(path: Path, meta: dict[bytes, bytes], item: int) -> bytes:
    """Return the first bytes of an item, which lie in `idat` or anywhere in the file."""
    body = meta.get(b"iloc", b"")
    version = _version(body)
    sizes = _number(body, 4, 2)
    offset_size, length_size, base_size, index_size = (sizes >> n & 15 for n in (12, 8, 4, 0))
    id_size = 2 if version < 2 else 4
    at = 6 + id_size
    for _ in range(_number(body, 6, id_size)):
        found = _number(body, at, id_size)
        at += id_size
        is_inside = bool(version and _number(body, at, 2) & 15 == 1)
        at += 2 if version else 0
        base = _number(body, at + 2, base_size)
        extents = _number(body, at + 2 + base_size, 2)
        at += 4 + base_size
        skipped = index_size if version else 0
        if found == item:
            start = base + _number(body, at + skipped, offset_size)
            if is_inside:
                return meta.get(b"idat", b"")[start : start + 12]
            if start > path.stat().st_size:
                raise ValueError("the picture is said to be behind the file's end")
            with path.open("rb") as file:
                file.seek(start)
                return file.read(12)
        at += extents * (skipped + offset_size + length_size)
    raise ValueError("where the picture is, is not said")
