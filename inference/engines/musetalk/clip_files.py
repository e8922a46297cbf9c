"""Preparing one clip of an asset folder, from its access units to the files of `avatar`."""

import logging
from pathlib import Path

import numpy as np

from inference.clips import Clip, PictureCache
from inference.engines.musetalk.avatar import FaceClip, Provenance, read_clip, write_clip
from inference.engines.musetalk.preparation import ClipPreparer, Progress
from inference.errors import AvatarInvalid
from inference.manifest import ClipEntry, Manifest

log = logging.getLogger(__name__)

MESH_POINTS = 468


def prepare_clip(
    folder: Path,
    manifest: Manifest,
    entry: ClipEntry,
    preparer: ClipPreparer,
    progress: Progress | None = None,
) -> FaceClip:
    """Make, keep and return what the engine needs of a clip.

    AvatarInvalid if the clip has no face mesh. Where the folder cannot be written (a read-only
    installation) what was made is kept in memory only, and made again at the next start.
    """
    path = folder / "clips" / f"{entry.name}.landmarks.npy"
    try:
        meshes = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise AvatarInvalid(f"{path}: {error}") from None
    if meshes.ndim != 3 or meshes.shape[0] != entry.frames or meshes.shape[1] < MESH_POINTS:
        raise AvatarInvalid(
            f"{path}: landmarks {list(meshes.shape)}, wanted [{entry.frames}, {MESH_POINTS}, 2]"
        )
    clip = Clip(entry.name, entry, folder / "clips" / f"{entry.name}.h264", PictureCache())
    pictures = [clip.picture(index) for index in range(entry.frames)]
    faces = preparer.prepare(pictures, np.asarray(meshes), progress)
    provenance = Provenance(manifest.version, preparer.mask_source)
    try:
        write_clip(folder, entry.name, faces, provenance)
    except OSError as error:
        log.warning("%s: cannot keep what was prepared: %s", folder, error)
        return faces
    return read_clip(folder, entry.name, entry.frames, manifest.version) or faces
