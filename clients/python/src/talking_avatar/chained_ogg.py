"""The links of a chained Ogg file, such as two recordings joined byte by byte (RFC 3533, 4).

FFmpeg continues with the decoder of the first link, which another codec or channel count makes
fail; opened one by one, each has its own.
"""

import io
from collections.abc import Iterator
from pathlib import Path

_MARK = b"OggS"
_FLAGS_AT, _SEGMENTS_AT, _HEADER_BYTES = 5, 26, 27
_BEGINS_STREAM = 2


def links(path: Path) -> list[str | io.BytesIO]:
    """Return what can be opened by itself: the links of a chain, or else the file."""
    # In a path that does not begin at the root, FFmpeg takes what precedes a colon for a protocol.
    whole: list[str | io.BytesIO] = [str(path.absolute())]
    with path.open("rb") as file:
        if file.read(len(_MARK)) != _MARK:
            return whole
    content = path.read_bytes()
    starts = [0, *_link_starts(content)]
    if len(starts) == 1:
        return whole
    return [
        io.BytesIO(content[start:end])
        for start, end in zip(starts, [*starts[1:], len(content)], strict=True)
    ]


def _link_starts(content: bytes) -> Iterator[int]:
    """Where links begin, but the first: where a stream begins after a page that begins none."""
    is_in_head = True
    for start in _pages(content):
        begins = bool(content[start + _FLAGS_AT] & _BEGINS_STREAM)
        if begins and not is_in_head:
            yield start
        is_in_head = begins


def _pages(content: bytes) -> Iterator[int]:
    """Where the pages begin; what is damaged between them is passed over."""
    at = 0
    while (at := content.find(_MARK, at)) >= 0 and at + _HEADER_BYTES <= len(content):
        yield at
        body = at + _HEADER_BYTES + content[at + _SEGMENTS_AT]
        end = body + sum(content[at + _HEADER_BYTES : body])
        at = end if content.startswith(_MARK, end) else at + len(_MARK)
