"""What a HEIF file, such as HEIC or AVIF, says of its picture: tiles, turns, a crop, color profile.

Phones store a photograph as a grid of some fifty tiles. FFmpeg gives each tile as a video of one
picture and keeps the grid to itself, so it is read here: boxes by ISO/IEC 14496-12, items and their
properties by ISO/IEC 23008-12.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

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


class Crop(NamedTuple):
    """A part of a picture, from 0 at its left and top to 1 at its right and bottom."""

    left: float = 0.0
    top: float = 0.0
    right: float = 1.0
    bottom: float = 1.0

    def of(self, picture: RgbPicture) -> RgbPicture:
        """Return this part of a picture; ValueError if that is nothing."""
        height, width = picture.shape[:2]
        left, right = round(self.left * width), round(self.right * width)
        top, bottom = round(self.top * height), round(self.bottom * height)
        if left >= right or top >= bottom:
            raise ValueError("nothing of the picture is to be seen")
        return picture[top:bottom, left:right]

    def turned(self, turn: Turn) -> "Crop":
        """Return where this part is once the picture is turned."""
        left, top, right, bottom = self
        match turn:
            case "mirrored":
                return Crop(1 - right, top, 1 - left, bottom)
            case "flipped":
                return Crop(left, 1 - bottom, right, 1 - top)
            case 0:
                return self
            case _:
                return Crop(top, 1 - right, bottom, 1 - left).turned(_QUARTERS[turn - 1])

    def part(self, inner: "Crop") -> "Crop":
        """Return a part of this part, within it."""
        width, height = self.right - self.left, self.bottom - self.top
        left, top, right, bottom = (min(max(side, 0.0), 1.0) for side in inner)
        return Crop(
            self.left + left * width,
            self.top + top * height,
            self.left + right * width,
            self.top + bottom * height,
        )


_WHOLE = Crop()


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
        sizes = {tiles[tile].shape[:2] for tile in self.tiles}
        if len(sizes) > 1:
            raise ValueError("its tiles are not of one size")
        ((height, width),) = sizes
        if self.rows * height < self.height or self.columns * width < self.width:
            raise ValueError("the tiles do not fill the picture")
        # A tile may be named many times: what is outside of the picture would be work without end.
        if (self.rows - 1) * height >= self.height or (self.columns - 1) * width >= self.width:
            raise ValueError("tiles are outside of the picture")
        whole = np.empty((self.height, self.width, 3), np.uint8)
        for number, tile in enumerate(self.tiles):
            top, left = number // self.columns * height, number % self.columns * width
            place = whole[top : top + height, left : left + width]
            place[:] = tiles[tile][: place.shape[0], : place.shape[1]]
        return whole


@dataclass(frozen=True, slots=True)
class HeifPicture:
    """The file's picture.

    ``grid``: None if it is stored as a whole; ``turns``: in their order; ``profile``: ICC;
    ``crop``: what is to be seen of the turned picture.
    """

    grid: Grid | None
    turns: tuple[Turn, ...] = ()
    profile: bytes | None = None
    crop: Crop = _WHOLE

    def turned(self, picture: RgbPicture) -> RgbPicture:
        """Return the stored picture as it is to be shown: turned, and cropped."""
        for turn in self.turns:
            if turn == "mirrored":
                picture = picture[:, ::-1]
            elif turn == "flipped":
                picture = picture[::-1]
            else:
                picture = np.rot90(picture, turn)
        return self.cropped(picture)

    def cropped(self, picture: RgbPicture) -> RgbPicture:
        """Return what is to be seen of a picture that is turned."""
        return np.ascontiguousarray(self.crop.of(picture))


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
    crop = _crop(properties)
    if _kinds(meta.get(b"iinf", b"")).get(primary) != b"grid":
        return HeifPicture(None, turns, profile, crop)
    stored = _stored(path, meta, primary)
    size = 4 if _number(stored, 1, 1) & 1 else 2
    rows, columns = _number(stored, 2, 1) + 1, _number(stored, 3, 1) + 1
    width, height = _number(stored, 4, size), _number(stored, 4 + size, size)
    tiles = _tiles(meta.get(b"iref", b""), primary)
    if len(tiles) != rows * columns:
        raise ValueError(f"{rows} x {columns} tiles, but {len(tiles)} are named")
    return HeifPicture(Grid(rows, columns, width, height, tiles), turns, profile, crop)


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


def _crop(properties: list[tuple[bytes, bytes]]) -> Crop:
    """Return what of an item is to be seen once it is turned: its clean apertures."""
    size = next((value for kind, value in properties if kind == b"ispe"), b"")
    crop = _WHOLE
    for kind, value in properties:
        if kind == b"clap":
            width, height = _number(size, 4, 4), _number(size, 8, 4)
            crop = crop.part(_aperture(value, width, height))
        else:
            for turn in _turns([(kind, value)]):
                crop = crop.turned(turn)
                if turn in (1, 3):
                    size = size[:4] + size[8:12] + size[4:8]
    return crop


def _aperture(value: bytes, width: int, height: int) -> Crop:
    """Return a clean aperture: width, height, and how far its center is off, as fractions."""
    numbers = [_number(value, at, 4) for at in range(0, 32, 4)]
    if 0 in (width, height, *numbers[1::2]):
        raise ValueError("its clean aperture is none")
    signed = [n - (n >> 31 << 32) for n in numbers]
    wide, high, right, down = (n / d for n, d in zip(signed[::2], numbers[1::2], strict=True))
    left, top = (width - wide) / 2 + right, (height - high) / 2 + down
    return Crop(left / width, top / height, (left + wide) / width, (top + high) / height)


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
