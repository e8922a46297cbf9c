"""What people sent, on disk: kept until the avatar is made, and after that for making it again.

Each upload is a folder with a random name under ``AVATARS_DIR/.uploads``; within it, files have
names of ours. Nothing that a client says becomes a path, and nothing is unpacked.
"""

import shutil
import uuid
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import IO, Any, Literal

from django.conf import settings
from django.utils import timezone

from inference.assets.manifest import STANDARD_CLIPS
from inference.assets.publishing import write_through

Kind = Literal["video", "image", "clips"]
KINDS: tuple[Kind, ...] = ("video", "image", "clips")
CLIP_NAMES = tuple(clip for clips in STANDARD_CLIPS.values() for clip in clips)

_ORPHAN_AFTER = timedelta(minutes=10)
"""A file whose row is not written yet looks unused for a moment."""


class UploadGone(Exception):
    """What was sent is not there any more."""


def keep(kind: Kind, files: Mapping[str, IO[bytes]]) -> str:
    """Move or copy ``files`` into a new upload and return its name.

    ``files``: for a video or an image one file, under any key; for clips the files by clip name,
    which must be standard ones. What fails leaves nothing behind. Raises OSError if the disk is
    full.
    """
    if kind == "clips" and (wrong := set(files) - set(CLIP_NAMES)):
        raise ValueError(f"no standard clips: {wrong}")
    name = uuid.uuid4().hex
    folder = _uploads_dir() / name / kind
    try:
        folder.mkdir(parents=True)
        for clip, file in files.items():
            _take(file, folder / (clip if kind == "clips" else kind))
        for listing in (folder, folder.parent, _uploads_dir()):
            write_through(listing)
    except BaseException:
        forget(name)
        raise
    return name


def source(name: str) -> Path | dict[str, Path]:
    """Return what was sent, as `inference.preparation` wants it; UploadGone if it is not there."""
    for kind in KINDS if name else ():
        folder = _uploads_dir() / name / kind
        if folder.is_dir():
            if kind != "clips":
                return folder / kind
            return {clip: folder / clip for clip in CLIP_NAMES if (folder / clip).is_file()}
    raise UploadGone("What was sent for this avatar is not there any more: send it again.")


def forget(name: str) -> None:
    if name:
        shutil.rmtree(_uploads_dir() / name, ignore_errors=True)


def forget_others(names: Iterable[str]) -> None:
    """Remove the uploads that no avatar has any more."""
    kept = set(names)
    oldest = (timezone.now() - _ORPHAN_AFTER).timestamp()
    if _uploads_dir().is_dir():
        for folder in _uploads_dir().iterdir():
            if folder.name not in kept and folder.stat().st_mtime < oldest:
                shutil.rmtree(folder, ignore_errors=True)


def _uploads_dir() -> Path:
    return Path(settings.AVATARS_DIR) / ".uploads"


def _take(file: IO[bytes] | Any, path: Path) -> None:
    """Large uploads lie on the disk already: they are moved, not written once more."""
    if hasattr(file, "temporary_file_path"):
        shutil.move(file.temporary_file_path(), path)
    else:
        with path.open("wb") as output:
            shutil.copyfileobj(file, output)
    write_through(path)
