"""Writing an avatar's asset folder, whatever made its pictures.

A clip comes as a sequence of pictures and goes out as access units, encoded with the very encoder
of the live stream. The folder grows under another name beside its destination and takes its place
in one rename, so a reader meets a whole avatar or none; one that was there before is moved aside
first and removed last.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Literal

import av
import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from inference.assets import manifest
from inference.assets.manifest import (
    FORMAT,
    ClipEntry,
    ClipState,
    Manifest,
    ProfileEntry,
    clip_path,
)
from inference.assets.publishing import publish
from inference.errors import PreparationError
from inference.media.encoder import Encoder, codec_string, is_idr
from inference.media.profile import DEFAULT_PROFILE, VideoProfile
from inference.media.types import Picture


@dataclass(frozen=True, slots=True)
class EncodedClip:
    """A clip as the manifest tells of it."""

    entry: ClipEntry
    codec: str


def idr_positions(frames: int, gop: int, exits: Collection[int] = ()) -> list[int]:
    """Where IDRs go: from 0 on, at most ``gop`` frames apart.

    An IDR near the rest pose is an entry too (`ClipInfo.entries`), so one goes to the last such
    picture in the second half of a group. Else they are spaced evenly: that leaves no short last
    group.

    Args:
        frames: Of the clip.
        gop: Most frames from IDR to IDR.
        exits: After how many frames the clip may be left.

    Returns:
        Indexes, ascending from 0.
    """
    positions = [0]
    while (left := frames - positions[-1]) > gop:
        last = positions[-1]
        latest = min(last + gop, frames - gop // 2 - 1)
        resting = [k for k in range(last + gop // 2 + 1, latest + 1) if k + 1 in exits]
        positions.append(resting[-1] if resting else last + left // -(-left // gop))
    return positions


def encode_clip(
    path: Path,
    *,
    name: str,
    state: ClipState,
    pictures: Iterable[Picture],
    frames: int,
    exits: Sequence[int],
    profile: VideoProfile,
    is_attentive: bool = False,
    title: str = "",
) -> EncodedClip:
    """Encode ``frames`` pictures into ``path``, one access unit after the other.

    Raises PreparationError if there are not as many pictures as announced.
    """
    idr = idr_positions(frames, profile.gop, set(exits))
    encoder = Encoder(profile)
    sizes: list[int] = []
    found: list[int] = []
    codec = ""
    with path.open("wb") as output:
        for index, picture in enumerate(pictures):
            access_unit = encoder.encode(picture, idr=index in idr)
            if is_idr(access_unit):
                found.append(index)
                codec = codec or codec_string(access_unit)
            sizes.append(len(access_unit))
            output.write(access_unit)
    if len(sizes) != frames:
        raise PreparationError(
            "clip_length",
            f"clip {name} has {len(sizes)} pictures instead of {frames}; prepare it again",
        )
    entry = ClipEntry(
        name=name,
        state=state,
        sizes=sizes,
        idr=found,
        exits=sorted(set(exits)),
        is_attentive=is_attentive,
        title=title,
    )
    return EncodedClip(entry, codec)


@dataclass(slots=True)
class AssetWriter:
    """A folder in the making; use as a context manager.

    Leaving it without an error puts the folder in place, with an error leaves no trace::

        with AssetWriter(Path("var/avatars/me"), name="me", renderer="warp") as assets:
            assets.add_clip("idle_0", "idle", pictures, frames=100, exits=[50, 100])
            assets.add_array("viseme/idle_0.npy", placements)
    """

    destination: Path
    name: str
    renderer: Literal["drawn", "warp"]
    profile: VideoProfile = DEFAULT_PROFILE
    report: dict[str, object] = field(default_factory=dict)
    _folder: Path | None = None
    _clips: list[EncodedClip] = field(default_factory=list)

    def __enter__(self) -> "AssetWriter":
        self.destination.parent.mkdir(parents=True, exist_ok=True)
        made = tempfile.mkdtemp(prefix=f".{self.destination.name}-", dir=self.destination.parent)
        self._folder = Path(made)
        # mkdtemp keeps others out; a server under another user must be able to read
        self._folder.chmod(0o755)
        (self._folder / "clips").mkdir()
        return self

    @property
    def folder(self) -> Path:
        """Where the files go until the end."""
        if self._folder is None:
            raise RuntimeError("use AssetWriter as a context manager")
        return self._folder

    def add_clip(
        self,
        name: str,
        state: ClipState,
        pictures: Iterable[Picture],
        *,
        frames: int,
        exits: Sequence[int],
        landmarks: NDArray[np.float32] | None = None,
        is_attentive: bool = False,
        title: str = "",
    ) -> ClipEntry:
        """Encode a clip; ``landmarks`` float32 ``[frames, points, 2]``, pixels."""
        clip = encode_clip(
            clip_path(self.folder, name),
            name=name,
            state=state,
            pictures=pictures,
            frames=frames,
            exits=exits,
            profile=self.profile,
            is_attentive=is_attentive,
            title=title,
        )
        self._clips.append(clip)
        if landmarks is not None:
            self.add_array(f"clips/{name}.landmarks.npy", landmarks)
        return clip.entry

    def shown(self, entry: ClipEntry) -> list[Picture]:
        """Return the pictures of a clip as a viewer will see them, encoded and decoded again."""
        coded = clip_path(self.folder, entry.name).read_bytes()
        decoder = av.CodecContext.create("h264", "r")
        ends = list(accumulate(entry.sizes))
        frames = [
            frame
            for end, size in zip(ends, entry.sizes, strict=True)
            for frame in decoder.decode(av.Packet(coded[end - size : end]))
        ]
        frames += decoder.decode(None)
        return [np.asarray(frame.to_ndarray(format="yuv420p"), np.uint8) for frame in frames]

    def set_exits(self, name: str, exits: Sequence[int]) -> None:
        """Replace a clip's exits by ones that were measured on what is `shown`."""
        self._clips = [
            replace(clip, entry=structs.replace(clip.entry, exits=sorted(set(exits))))
            if clip.entry.name == name
            else clip
            for clip in self._clips
        ]

    def add_array(self, name: str, values: NDArray[np.generic]) -> None:
        """Store ``values`` as npy under ``name``, a path inside the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, values, allow_pickle=False)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            shutil.rmtree(self.folder)
            return
        try:
            manifest.write(self.folder, self._manifest())
            _put_in_place(self.folder, self.destination)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def _manifest(self) -> Manifest:
        profile = self.profile
        return Manifest(
            format=FORMAT,
            version=_digest(self.folder),
            name=self.name,
            renderer=self.renderer,
            profile=ProfileEntry(
                width=profile.width,
                height=profile.height,
                frames_per_second=profile.frames_per_second,
                gop=profile.gop,
                crf=profile.crf,
                vbv_kbit=profile.vbv_kbit,
                preset=profile.preset,
                level=profile.level,
                codec=self._clips[0].codec if self._clips else "",
            ),
            clips=[clip.entry for clip in self._clips],
            report=dict(self.report),
            files=_sizes(self.folder),
        )


def _sizes(folder: Path) -> dict[str, int]:
    """Return the bytes of each file below ``folder``, by its path there.

    What is in ``folder`` itself is for people, and may be removed.
    """
    files = sorted(path for path in folder.glob("*/**/*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def _digest(folder: Path) -> str:
    """Return a name for the contents of ``folder``: the same files have the same version."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _put_in_place(folder: Path, destination: Path) -> None:
    prefix = f".{destination.name}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=destination.parent) as former:
        publish(folder, destination, former=Path(former) / "former")
