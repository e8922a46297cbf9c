"""The manifest of an avatar's asset folder: `manifest.json`, read and written here alone.

An asset folder is all that a worker needs to show an avatar::

    manifest.json                 this file
    clips/idle_0.h264             the access units of a clip, one after the other
    clips/idle_0.landmarks.npy    float32 [frames, points, 2], pixels; absent if no face
    viseme/...                    what the viseme engine precomputed
    musetalk/...                  what the MuseTalk engine precomputed, on the worker that needs it
    preview.mp4, report.png       for people

Nothing in it is executable or pickled. It is written under another name and renamed into place,
so a reader sees a whole avatar or none.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from inference.errors import AvatarInvalid, AvatarNotFound

FORMAT = 1
MANIFEST_NAME = "manifest.json"
TEETH_NAME = "viseme/teeth.npy"

ClipState = Literal["idle", "speaking", "action"]
STATES: tuple[ClipState, ...] = ("idle", "speaking", "action")

STANDARD_CLIPS: dict[ClipState, tuple[str, ...]] = {
    "idle": tuple(f"idle_{n}" for n in range(7)),
    "speaking": tuple(f"speaking_{n}" for n in range(8)),
    "action": ("action_1", "action_2"),
}


def resolve_clip(clips: Mapping[ClipState, Sequence[str]], name: str) -> tuple[ClipState, str]:
    """Return the state and name of the clip that is seen when ``name`` is asked for.

    ``clips``: an avatar's, by state, in order. A standard name that the avatar lacks means its
    place among the standard names modulo the number of clips of that state; idle's stand in for a
    state without any. KeyError for any other name.
    """
    for state, names in clips.items():
        if name in names:
            return state, name
    for state, standard in STANDARD_CLIPS.items():
        if name in standard:
            seen: ClipState = state if clips.get(state) else "idle"
            return seen, clips[seen][standard.index(name) % len(clips[seen])]
    raise KeyError(name)


LONGEST_TITLE = 40
_CLIP_NAME = re.compile(r"(idle|speaking|action)_[0-9]{1,2}", re.ASCII)


class ProfileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The video profile the clips were encoded with, and the codec string a browser wants."""

    width: int
    height: int
    frames_per_second: int
    gop: int
    crf: int
    vbv_kbit: int
    preset: str
    level: str
    codec: str


class ClipEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One clip.

    ``sizes``: bytes of each access unit in ``clips/<name>.h264``, in order; their number is the
    number of frames. ``idr``: indexes of the IDR access units, ascending, the first is 0.
    ``exits``: indexes *after* which the clip may be left without a visible jump, because the next
    picture shown would be one near the rest pose: leaving at ``e`` means that ``e - 1`` is the last
    picture seen. Always contains ``frames`` (the end of the clip). ``is_attentive``: an idle clip
    that also suits a user who speaks. ``title``: what it shows, in a word or two for people, as in
    "nod"; empty where nobody said.
    """

    name: str
    state: ClipState
    sizes: list[int]
    idr: list[int]
    exits: list[int]
    is_attentive: bool = False
    title: str = ""

    @property
    def frames(self) -> int:
        return len(self.sizes)


class Manifest(msgspec.Struct, frozen=True):
    """All of an avatar. ``version`` changes whenever the folder's contents do."""

    format: int
    version: str
    name: str
    renderer: Literal["drawn", "warp"]
    """How the viseme engine moves this avatar's mouth: a drawn atlas or a warp of the picture."""
    profile: ProfileEntry
    clips: list[ClipEntry]
    report: dict[str, object] = {}
    files: dict[str, int] = {}
    """Bytes of each file that a stream needs, by its path in the folder; empty where they were not
    written down yet."""

    def clip_names(self) -> list[str]:
        return [clip.name for clip in self.clips]

    def needed_files(self) -> dict[str, int]:
        """Return the files that have to be there, and their bytes."""
        home = Path()
        clips = {clip_path(home, clip.name).as_posix(): sum(clip.sizes) for clip in self.clips}
        return {**clips, **self.files}


def check(manifest: Manifest) -> None:
    """Raise AvatarInvalid, saying what is wrong, unless the manifest is consistent."""
    if manifest.format != FORMAT:
        raise AvatarInvalid(
            f"asset folder of format {manifest.format}, not {FORMAT}: prepare the avatar again"
        )
    names = manifest.clip_names()
    if len(set(names)) != len(names):
        raise AvatarInvalid("two clips have the same name")
    if not any(clip.state == "idle" for clip in manifest.clips):
        raise AvatarInvalid("an avatar needs at least one idle clip")
    for clip in manifest.clips:
        if not _CLIP_NAME.fullmatch(clip.name) or not clip.name.startswith(clip.state):
            raise AvatarInvalid(f"clip name {clip.name!r} does not fit its state {clip.state!r}")
        if len(clip.title) > LONGEST_TITLE:
            raise AvatarInvalid(f"clip {clip.name}: a title has up to {LONGEST_TITLE} characters")
        if clip.is_attentive and clip.state != "idle":
            raise AvatarInvalid(f"clip {clip.name}: only idle clips can be attentive")
        if clip.frames == 0 or min(clip.sizes) <= 0:
            raise AvatarInvalid(f"clip {clip.name} has no frames, or an empty one")
        if not clip.idr or clip.idr[0] != 0 or clip.idr != sorted(set(clip.idr)):
            raise AvatarInvalid(f"clip {clip.name}: the IDR index must ascend from 0")
        if clip.idr[-1] >= clip.frames:
            raise AvatarInvalid(f"clip {clip.name}: IDR index beyond the clip")
        if max(b - a for a, b in zip(clip.idr, [*clip.idr[1:], clip.frames], strict=True)) > (
            manifest.profile.gop
        ):
            raise AvatarInvalid(
                f"clip {clip.name}: over {manifest.profile.gop} frames from IDR to IDR"
            )
        if clip.exits != sorted(set(clip.exits)) or clip.frames not in clip.exits:
            raise AvatarInvalid(f"clip {clip.name}: exits must ascend and contain the clip's end")
        if clip.exits[0] <= 0 or clip.exits[-1] > clip.frames:
            raise AvatarInvalid(f"clip {clip.name}: exit out of range")


def clip_path(folder: Path, name: str) -> Path:
    """Return the access units of a clip, one after another."""
    return folder / "clips" / f"{name}.h264"


def landmarks_path(folder: Path, name: str) -> Path:
    """Return the landmarks of a clip's faces; absent if it shows none."""
    return folder / "clips" / f"{name}.landmarks.npy"


def teeth_path(folder: Path) -> Path:
    """Return the person's own upper teeth; absent where the footage shows none."""
    return folder / TEETH_NAME


def read(folder: Path) -> Manifest:
    """Read and check ``folder/manifest.json``; AvatarNotFound or AvatarInvalid otherwise."""
    path = folder / MANIFEST_NAME
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise AvatarNotFound(f"no {MANIFEST_NAME} in {folder}") from None
    except OSError as error:
        raise AvatarInvalid(f"{path} cannot be read: {error.strerror}") from None
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except msgspec.DecodeError as error:
        raise AvatarInvalid(f"{path}: {error}") from None
    check(manifest)
    return manifest


def write(folder: Path, manifest: Manifest) -> None:
    """Check the manifest and write it into ``folder``."""
    check(manifest)
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    (folder / MANIFEST_NAME).write_bytes(text)
