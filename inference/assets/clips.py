"""The clips of an avatar in memory: access units to send, and pictures to draw on.

A clip is kept as the access units made at preparation, mapped from disk. An idle avatar is these
bytes and nothing else. Only when a mouth has to move are pictures decoded, and from the very same
access units, so that at a seam the viewer already sees exactly the picture that live encoding
starts from.

Decoding can only begin at an IDR, so pictures are decoded and kept by the group (GOP). One cache,
bounded in bytes, serves all avatars: a hundred sessions on one clip decode it once, and seventeen
clips do not fill the memory.
"""

import itertools
import mmap
import threading
from collections import OrderedDict
from concurrent.futures import Future
from pathlib import Path

import av
import numpy as np

from inference.assets import manifest as manifests
from inference.assets.clip_index import ClipIndex, index_of
from inference.assets.manifest import ClipEntry, Manifest
from inference.errors import AvatarInvalid
from inference.media.profile import VideoProfile
from inference.media.types import Picture

DEFAULT_CACHE_BYTES = 256 * 1024 * 1024


class PictureCache:
    """Decoded groups of pictures, least recently used ones dropped first. Thread-safe."""

    def __init__(self, limit_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._groups: OrderedDict[tuple[str, int], Future[list[Picture]]] = OrderedDict()
        self._size_bytes = 0
        self._lock = threading.Lock()

    def group(self, clip: "Clip", start: int) -> list[Picture]:
        """Return the pictures of ``clip`` from the IDR ``start`` up to the next.

        They are decoded if need be.

        A thread that needs a group which another one is decoding waits for that one.
        """
        key = (clip.key, start)
        with self._lock:
            future = self._groups.get(key)
            is_mine = future is None
            if future is None:
                future = self._groups[key] = Future()
            self._groups.move_to_end(key)
        if not is_mine:
            return future.result()
        try:
            pictures = clip.decode_group(start)
        except BaseException as error:
            with self._lock:
                self._groups.pop(key, None)
            future.set_exception(error)
            raise
        future.set_result(pictures)
        with self._lock:
            self._size_bytes += sum(picture.nbytes for picture in pictures)
            self._shrink(keep=key)
        return pictures

    def _shrink(self, keep: tuple[str, int]) -> None:
        while self._size_bytes > self._limit_bytes:
            oldest = next((k for k, f in self._groups.items() if k != keep and f.done()), None)
            if oldest is None:
                return
            self._size_bytes -= sum(p.nbytes for p in self._groups.pop(oldest).result())

    def has(self, clip: "Clip", start: int) -> bool:
        """Whether the group is decoded, or being decoded."""
        with self._lock:
            return (clip.key, start) in self._groups


class Clip:
    """One clip: ``access_unit(i)`` as sent, ``picture(i)`` as seen."""

    def __init__(self, key: str, entry: ClipEntry, path: Path, cache: PictureCache) -> None:
        self.key = key
        self.entry = entry
        ends = np.cumsum([0, *entry.sizes])
        self._spans = [(int(a), int(b)) for a, b in itertools.pairwise(ends)]
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

    def picture(self, index: int) -> Picture:
        """I420, uint8 ``[height * 3 // 2, width]``; shared, so read-only."""
        start = self._group_start(index)
        return self._cache.group(self, start)[index - start]

    def decode_ahead(self, index: int) -> None:
        """See to it that the group of ``index`` (modulo the clip's length) is decoded."""
        start = self._group_start(index % self.entry.frames)
        if not self._cache.has(self, start):
            self._cache.group(self, start)

    def is_decoded(self, index: int) -> bool:
        return self._cache.has(self, self._group_start(index % self.entry.frames))

    def _group_start(self, index: int) -> int:
        return max(idr for idr in self.entry.idr if idr <= index)

    def decode_group(self, start: int) -> list[Picture]:
        """Decode from the IDR ``start`` up to the next; AvatarInvalid if the bytes are damaged."""
        following = [idr for idr in self.entry.idr if idr > start]
        end = following[0] if following else self.entry.frames
        decoder = av.CodecContext.create("h264", "r")
        decoder.thread_count = 1
        try:
            frames = [
                frame
                for index in range(start, end)
                for frame in decoder.decode(av.Packet(self.access_unit(index)))
            ]
            frames += decoder.decode(None)
        except av.FFmpegError as error:
            raise AvatarInvalid(f"clip {self.entry.name}: {error}") from None
        if len(frames) != end - start:
            raise AvatarInvalid(
                f"clip {self.entry.name}: {len(frames)} pictures in the {end - start} access units"
                f" from {start} on"
            )
        pictures = [
            frame.to_ndarray(format="yuv420p").astype(np.uint8, copy=False) for frame in frames
        ]
        for picture in pictures:
            picture.flags.writeable = False
        return pictures


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

    @property
    def gop(self) -> int:
        """Frames from one IDR to the next, at most."""
        return self.manifest.profile.gop


def _check_profile(manifest: Manifest, profile: VideoProfile) -> None:
    ours = {name: getattr(profile, name) for name in profile.__dataclass_fields__}
    for name, wanted in ours.items():
        found = getattr(manifest.profile, name)
        if found != wanted:
            raise AvatarInvalid(
                f"avatar {manifest.name!r} was encoded with {name} {found!r}, this server encodes"
                f" with {wanted!r}: prepare it again"
            )
