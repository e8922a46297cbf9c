"""The clips of an avatar in memory: access units to send, and pictures to draw on.

A clip is kept as the access units made at preparation, mapped from disk. An idle avatar is these
bytes and nothing else. Only when a mouth has to move are pictures decoded, and from the very same
access units, so that at a seam the viewer already sees exactly the picture that live encoding
starts from.

Decoding can only begin at an IDR, so pictures are kept by the group (GOP). A group is decoded one
picture at a time, as far as anyone asked: a whole one takes as long as several frames may, and
would make the others late. One cache, bounded in bytes, serves all avatars: a hundred sessions on
one clip decode it once, and seventeen clips do not fill the memory.
"""

import bisect
import itertools
import mmap
import threading
from collections import OrderedDict
from functools import cached_property
from pathlib import Path

import av
import numpy as np

from inference.assets import manifest as manifests
from inference.assets.clip_index import ClipIndex, first_clip, index_of
from inference.assets.manifest import ClipEntry, Manifest
from inference.errors import AvatarInvalid
from inference.media.encoder import live_qp
from inference.media.profile import VideoProfile
from inference.media.types import Picture

DEFAULT_CACHE_BYTES = 256 * 1024 * 1024
LEAST_CACHE_BYTES = 96 * 1024 * 1024
"""Some ten groups: what the sessions of one process show at the same time must find its place, or
each picture is decoded again from the IDR on."""


class _Group:
    """The pictures from one IDR up to the next. Thread-safe."""

    def __init__(self, clip: "Clip", start: int, end: int) -> None:
        self._clip = clip
        self._start, self._end = start, end
        self._pictures: list[Picture] = []
        """Only ever appended to: what is there can be read without the lock."""
        self._lock = threading.Lock()
        """Held while the next picture is decoded."""
        self._decoder: av.VideoCodecContext | None = av.CodecContext.create("h264", "r")
        """None: all pictures are there."""
        self._decoder.thread_count = 1
        self._next = start
        """The access unit that is decoded next."""
        self._failure: str | None = None

    @property
    def size_bytes(self) -> int:
        return len(self._pictures) * self._pictures[0].nbytes if self._pictures else 0

    def is_decoded(self, offset: int) -> bool:
        return offset < len(self._pictures)

    def picture(self, offset: int) -> Picture:
        """Return a picture, decoded if need be; AvatarInvalid if the bytes are damaged."""
        if not self.is_decoded(offset):
            with self._lock:
                while not self.is_decoded(offset):
                    self._decode_next()
        return self._pictures[offset]

    def _decode_next(self) -> None:
        """Decode the next access unit, or, after the last one, what the decoder holds back."""
        if self._failure is None:
            assert self._decoder is not None, "a picture is missing"
            number, self._next = self._next, self._next + 1
            packet = av.Packet(self._clip.access_unit(number)) if number < self._end else None
            try:
                self._keep(self._decoder.decode(packet))
            except av.FFmpegError as error:
                self._failure = str(error)
        if self._failure is not None:
            raise AvatarInvalid(f"clip {self._clip.entry.name}: {self._failure}")

    def _keep(self, frames: list[av.VideoFrame]) -> None:
        for frame in frames:
            picture = frame.to_ndarray(format="yuv420p").astype(np.uint8, copy=False)
            picture.flags.writeable = False
            self._pictures.append(picture)
        count = self._end - self._start
        if len(self._pictures) == count:
            self._decoder = None
        elif self._next > self._end:
            self._failure = (
                f"{len(self._pictures)} pictures in the {count} access units from {self._start} on"
            )


class PictureCache:
    """Groups of decoded pictures, least recently used ones dropped first. Thread-safe."""

    def __init__(self, limit_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._groups: OrderedDict[tuple[str, int], _Group] = OrderedDict()
        self._lock = threading.Lock()

    def picture(self, clip: "Clip", start: int, end: int, index: int) -> Picture:
        """Return a picture of the group from the IDR ``start`` up to the next, which is ``end``.

        A thread that needs a picture which another one is decoding waits for that one.
        """
        key = (clip.key, start)
        with self._lock:
            group = self._groups.get(key)
            if group is None:
                group = self._groups[key] = _Group(clip, start, end)
            self._groups.move_to_end(key)
        was_decoded = group.is_decoded(index - start)
        picture = group.picture(index - start)
        if not was_decoded:
            with self._lock:
                self._shrink(keep=key)
        return picture

    def _shrink(self, keep: tuple[str, int]) -> None:
        size_bytes = sum(group.size_bytes for group in self._groups.values())
        while size_bytes > self._limit_bytes:
            oldest = next((key for key in self._groups if key != keep), None)
            if oldest is None:
                return
            size_bytes -= self._groups.pop(oldest).size_bytes

    def has(self, clip: "Clip", start: int, index: int) -> bool:
        """Whether a picture of the group is decoded."""
        with self._lock:
            group = self._groups.get((clip.key, start))
        return group is not None and group.is_decoded(index - start)


class Clip:
    """One clip: ``access_unit(i)`` as sent, ``picture(i)`` as seen."""

    def __init__(self, key: str, entry: ClipEntry, path: Path, cache: PictureCache) -> None:
        self.key = key
        self.entry = entry
        ends = np.cumsum([0, *entry.sizes])
        self._spans = [(int(a), int(b)) for a, b in itertools.pairwise(ends)]
        self._starts = [*entry.idr, entry.frames]
        try:
            with path.open("rb") as file:
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise AvatarInvalid(f"{path}: cannot be read: {error}") from None
        if len(self._bytes) != ends[-1]:
            raise AvatarInvalid(
                f"{path}: {len(self._bytes)} bytes, the manifest promises {ends[-1]}"
            )
        self._cache = cache

    def access_unit(self, index: int) -> bytes:
        begin, end = self._spans[index]
        return self._bytes[begin:end]

    def is_idr(self, index: int) -> bool:
        return index in self.entry.idr

    def first_group(self) -> list[bytes]:
        """Return the access units up to the second IDR."""
        return [self.access_unit(index) for index in range(self._starts[1])]

    def picture(self, index: int) -> Picture:
        """I420, uint8 ``[height * 3 // 2, width]``; shared, so read-only.

        AvatarInvalid if the bytes are damaged.
        """
        return self._cache.picture(self, *self._group(index), index)

    def decode_ahead(self, index: int) -> None:
        """See to it that the picture at ``index`` (modulo the clip's length) is decoded."""
        if not self.is_decoded(index):
            self.picture(index % self.entry.frames)

    def is_decoded(self, index: int) -> bool:
        """Whether `picture` has nothing to decode; ``index`` is taken modulo the length."""
        index %= self.entry.frames
        return self._cache.has(self, self._group(index)[0], index)

    def _group(self, index: int) -> tuple[int, int]:
        """Return the IDR of a picture, and the next one, or the end."""
        following = bisect.bisect(self._starts, index)
        return self._starts[following - 1], self._starts[following]


class AvatarClips:
    """An opened asset folder."""

    def __init__(self, folder: Path, cache: PictureCache, *, profile: VideoProfile) -> None:
        """AvatarNotFound or AvatarInvalid, also if encoded with another profile than ours."""
        self.folder = folder
        self.manifest: Manifest = manifests.read(folder)
        _check_profile(self.manifest, profile)
        self.index: ClipIndex = index_of(self.manifest)
        self._clips = {
            entry.name: Clip(
                f"{folder.name}@{self.manifest.version}/{entry.name}",
                entry,
                manifests.clip_path(folder, entry.name),
                cache,
            )
            for entry in self.manifest.clips
        }

    def __getitem__(self, name: str) -> Clip:
        return self._clips[name]

    @cached_property
    def live_qp(self) -> int:
        """How live pictures of this avatar are quantized; the first time takes some 10 ms."""
        return live_qp(self[first_clip(self.index, "speaking")].first_group())


def _check_profile(manifest: Manifest, profile: VideoProfile) -> None:
    ours = {name: getattr(profile, name) for name in profile.__dataclass_fields__}
    for name, wanted in ours.items():
        found = getattr(manifest.profile, name)
        if found != wanted:
            raise AvatarInvalid(
                f"avatar {manifest.name!r} was encoded with {name} {found!r}, this server encodes"
                f" with {wanted!r}: prepare it again"
            )
