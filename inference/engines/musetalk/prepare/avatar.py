"""What the engine keeps of an avatar: latents, masks and places of every picture of every clip.

In the asset folder, or for a shipped avatar under ``AVATARS_DIR/.musetalk/<name>`` (an installation
may be read-only, and an update replaces it): one folder a clip, written under another name and
renamed into place::

    musetalk/idle_0/latents.npy   float16 [frames, 8, 32, 32]   the UNet's input
    musetalk/idle_0/masks.npy     uint8   [frames, H, W]        what is replaced, and how softly
    musetalk/idle_0/places.npy    int32   [frames, 8]           face box x1 y1 x2 y2, patch x y w h
    musetalk/idle_0/about.json    made from which avatar version, with which mask source

The patch is the even-aligned rectangle around all that the blending can change; H and W are the
clip's largest patch, and a mask is in the upper left of its plane. A picture without a face has
a patch of no size: it is shown as it is, and shifts no other. All is mapped, not read: an avatar
costs the memory of the pictures that are used.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.assets.arrays import read_array
from inference.assets.publishing import publish
from inference.engines.musetalk.constants import LATENT_SIZE
from inference.engines.musetalk.face.boxes import Box
from inference.errors import AvatarInvalid
from inference.media.types import Rectangle

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a clip's files were made from; others are made again."""

    avatar_version: str
    mask_source: str
    """"parsing" or "oval"."""
    format: int = FORMAT


@dataclass(frozen=True, slots=True, eq=False)
class FaceClip:
    """The faces of one clip, see the module."""

    latents: NDArray[np.float16]
    masks: NDArray[np.uint8]
    places: NDArray[np.int32]

    def __post_init__(self) -> None:
        frames = len(self.places)
        if (
            self.latents.shape != (frames, 8, LATENT_SIZE, LATENT_SIZE)
            or self.places.shape != (frames, 8)
            or self.masks.ndim != 3
            or len(self.masks) != frames
            or (self.latents.dtype, self.masks.dtype, self.places.dtype)
            != (np.dtype(np.float16), np.dtype(np.uint8), np.dtype(np.int32))
        ):
            raise AvatarInvalid("latents, masks and places of a clip do not fit each other")

    def has_face(self, index: int) -> bool:
        return bool(self.places[index, 6] > 0)

    def box(self, index: int) -> Box:
        return Box(*(int(value) for value in self.places[index, :4]))

    def patch(self, index: int) -> Rectangle:
        return Rectangle(*(int(value) for value in self.places[index, 4:]))

    def mask(self, index: int) -> NDArray[np.uint8]:
        """uint8 ``[patch height, patch width]``."""
        patch = self.patch(index)
        return self.masks[index, : patch.height, : patch.width]


def kept_in(avatar_folder: Path, storage: Path | None) -> Path:
    """Return the folder whose ``musetalk`` holds an avatar's prepared clips.

    Args:
        avatar_folder: The asset folder.
        storage: The folder of people's own avatars, which is writable; None: any asset folder is.

    Returns:
        The asset folder if it is inside ``storage``, otherwise a folder of its own there.
    """
    if storage is None or avatar_folder.resolve().is_relative_to(storage.resolve()):
        return avatar_folder
    return storage / ".musetalk" / avatar_folder.name


def clip_folder(kept: Path, clip: str) -> Path:
    """Return the folder of one clip; ``kept`` as from `kept_in`."""
    return kept / "musetalk" / clip


def read_clip(kept: Path, clip: str, frames: int, avatar_version: str) -> FaceClip | None:
    """Return the clip's files, mapped; None if they are not there or of another avatar version.

    AvatarInvalid if they are damaged.
    """
    folder = clip_folder(kept, clip)
    try:
        about = _read_about(folder / "about.json")
    except FileNotFoundError:
        return None
    if about.get("format") != FORMAT or about.get("avatar_version") != avatar_version:
        return None
    faces = _read_arrays(folder)
    if len(faces.places) != frames:
        raise AvatarInvalid(f"{folder}: {len(faces.places)} pictures, the clip has {frames}")
    return faces


def prepared_clips(storage: Path) -> Iterator[tuple[str, FaceClip]]:
    """All clips that were prepared under ``storage`` in this format.

    Each with its folder's name below it; AvatarInvalid if one is damaged.
    """
    for pattern in ("*/musetalk/*/about.json", ".musetalk/*/musetalk/*/about.json"):
        for path in sorted(storage.glob(pattern)):
            folder = path.parent
            if not folder.name.startswith(".") and _read_about(path).get("format") == FORMAT:
                yield folder.relative_to(storage).as_posix(), _read_arrays(folder)


def _read_about(path: Path) -> dict[str, object]:
    """FileNotFoundError if there is none, AvatarInvalid if it is no object of JSON."""
    try:
        about = json.loads(path.read_bytes())
    except ValueError as error:
        raise AvatarInvalid(f"{path}: {error}") from None
    if not isinstance(about, dict):
        raise AvatarInvalid(f"{path}: not a JSON object")
    return about


def _read_arrays(folder: Path) -> FaceClip:
    try:
        arrays = [read_array(folder / f"{name}.npy") for name in ("latents", "masks", "places")]
        return FaceClip(*arrays)
    except (OSError, ValueError, AvatarInvalid) as error:
        raise AvatarInvalid(f"{folder}: {error}") from None


def write_clip(kept: Path, clip: str, faces: FaceClip, provenance: Provenance) -> None:
    """Write the clip's files; a reader sees all of them or none. OSError as it comes."""
    folder = clip_folder(kept, clip)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{clip}.", dir=folder.parent))
    former = draft.with_name(f"{draft.name}.former")
    try:
        np.save(draft / "latents.npy", faces.latents)
        np.save(draft / "masks.npy", faces.masks)
        np.save(draft / "places.npy", faces.places)
        (draft / "about.json").write_text(json.dumps(asdict(provenance), indent=1))
        draft.chmod(0o755)
        publish(draft, folder, former=former)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    shutil.rmtree(former, ignore_errors=True)
