"""Preparing one clip of an asset folder, from its access units to the files of `avatar`.

A clip is prepared once on a machine, however many processes want it: who prepares it holds a lock
on its video.
"""

import fcntl
import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.assets import manifest as manifests
from inference.assets.arrays import read_array
from inference.assets.clips import Clip, PictureCache
from inference.assets.manifest import ClipEntry, Manifest, clip_path, landmarks_path
from inference.engines.musetalk.prepare.avatar import (
    FaceClip,
    Provenance,
    kept_in,
    read_clip,
    write_clip,
)
from inference.engines.musetalk.prepare.background import PreparedElsewhere, Progress
from inference.engines.musetalk.prepare.preparation import ClipPreparer
from inference.errors import AvatarInvalid
from inference.media.types import Picture

log = logging.getLogger(__name__)

MESH_POINTS = 468


def prepare_clip(
    folder: Path,
    manifest: Manifest,
    entry: ClipEntry,
    preparer: ClipPreparer,
    progress: Progress | None = None,
    *,
    storage: Path | None = None,
    waits: bool = True,
) -> FaceClip:
    """Make, keep and return what the engine needs of a clip, unless another thread already did.

    ``waits``: for a process that prepares it at this moment; otherwise PreparedElsewhere is raised.

    Face meshes are those of the folder; an avatar without any, such as a drawn one, is looked at
    here. AvatarInvalid if those that are there do not fit, or if another version of the avatar took
    the folder's place while the clip waited or was prepared: what was made of both would take the
    place of what was made of that one. Where the folder cannot be written (a read-only
    installation) what was made is kept in memory only, and made again at the next start.
    """
    kept = kept_in(folder, storage)
    with _locked(clip_path(folder, entry.name), waits=waits):
        if (made := read_clip(kept, entry.name, entry.frames, manifest.version)) is not None:
            return made
        _check_version(folder, manifest)
        return _prepare(folder, kept, manifest, entry, preparer, progress)


@contextmanager
def _locked(video: Path, *, waits: bool) -> Iterator[None]:
    """Held by one thread of all processes of the machine; released at the latest when it ends."""
    with ExitStack() as held:
        try:
            locked = held.enter_context(video.open("rb"))
            fcntl.flock(locked, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PreparedElsewhere(video.name) from None
        except OSError as error:
            # No such file, or a file system without locks: at worst it is prepared twice.
            log.debug("%s cannot be locked: %s", video, error)
        yield


def _prepare(
    folder: Path,
    kept: Path,
    manifest: Manifest,
    entry: ClipEntry,
    preparer: ClipPreparer,
    progress: Progress | None,
) -> FaceClip:
    clip = Clip(entry.name, entry, clip_path(folder, entry.name), PictureCache())
    if progress:
        progress(0, entry.frames)
    pictures = (clip.picture(index) for index in range(entry.frames))
    meshes = _kept_meshes(folder, entry)
    seen = find_meshes(pictures) if meshes is None else zip(pictures, meshes, strict=True)
    faces = preparer.prepare(seen, entry.frames, progress)
    _check_version(folder, manifest)
    provenance = Provenance(manifest.version, preparer.mask_source)
    try:
        write_clip(kept, entry.name, faces, provenance)
    except OSError as error:
        log.warning("%s: cannot keep what was prepared: %s", kept, error)
        return faces
    return read_clip(kept, entry.name, entry.frames, manifest.version) or faces


def _check_version(folder: Path, manifest: Manifest) -> None:
    found = manifests.read(folder).version
    if found != manifest.version:
        raise AvatarInvalid(f"{folder} was replaced: {found}, and not {manifest.version}")


def _kept_meshes(folder: Path, entry: ClipEntry) -> NDArray[np.float32] | None:
    """Return the meshes that the avatar's preparation kept, ``[frames, 468, 2]``.

    It is None if none were kept.
    """
    path = landmarks_path(folder, entry.name)
    try:
        meshes = read_array(path)
    except FileNotFoundError:
        return None
    if meshes.ndim != 3 or meshes.shape[0] != entry.frames or meshes.shape[1] < MESH_POINTS:
        raise AvatarInvalid(
            f"{path}: landmarks {list(meshes.shape)}, wanted [{entry.frames}, {MESH_POINTS}, 2]"
        )
    return np.asarray(meshes, np.float32)


def find_meshes(pictures: Iterable[Picture]) -> Iterator[tuple[Picture, NDArray[np.float32]]]:
    """Yield each picture with the mesh of the face that is seen, NaN where none is: 4 ms each.

    Args:
        pictures: I420. All are looked at by the thread that asks for the first.
    """
    from inference.faces.mesh import FaceMesh

    mesh = FaceMesh()
    for picture in pictures:
        rgb = cv2.cvtColor(picture, cv2.COLOR_YUV2RGB_I420).astype(np.uint8, copy=False)
        face = mesh.find(rgb)
        nowhere = np.full((MESH_POINTS, 2), np.nan, np.float32)
        yield picture, nowhere if face is None else face.landmarks[:, :2]
