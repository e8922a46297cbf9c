"""Preparing whole avatars at leisure, without an engine beside: no session then has to wait."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from inference.assets.manifest import ClipEntry, Manifest
from inference.engines.musetalk.devices import find_device, layout_of
from inference.engines.musetalk.networks import load_encoder, load_face_parsing
from inference.engines.musetalk.prepare.avatar import kept_in, read_clip
from inference.engines.musetalk.prepare.background import Progress
from inference.engines.musetalk.prepare.clip_files import prepare_clip
from inference.engines.musetalk.prepare.preparation import ClipPreparer
from inference.engines.musetalk.weights import find_tree


@dataclass(frozen=True, slots=True)
class Missing:
    """A clip that is to be prepared."""

    folder: Path
    manifest: Manifest
    entry: ClipEntry
    storage: Path | None = None

    def prepare(self, preparer: ClipPreparer, progress: Progress) -> None:
        """Make and keep its files; AvatarInvalid if the avatar's are damaged."""
        prepare_clip(
            self.folder, self.manifest, self.entry, preparer, progress, storage=self.storage
        )


def missing_clips(
    folder: Path, manifest: Manifest, storage: Path | None = None
) -> Iterator[Missing]:
    """Yield what an avatar lacks, see `kept_in`; AvatarInvalid if what it has is damaged."""
    kept = kept_in(folder, storage)
    for entry in manifest.clips:
        if read_clip(kept, entry.name, entry.frames, manifest.version) is None:
            yield Missing(folder, manifest, entry, storage)


def load_preparer(
    model_path: Path,
    device: str,
    say: Callable[[str], object] = lambda _: None,
    *,
    use_float16: bool = True,
) -> ClipPreparer:
    """Return the nets that preparing needs; in half precision only where there is a GPU.

    Raises EngineUnavailable if a file or the device is missing.
    """
    tree, where = find_tree(model_path), find_device(device)
    half = use_float16 and where.type != "cpu"
    if where.type == "cuda":
        torch.backends.cudnn.benchmark = True  # all batches have one size
        torch.backends.cudnn.allow_tf32 = False
    face_parsing = None
    if tree.face_parsing is None:
        say("no face parsing weights: masks come from the oval of the face")
    else:
        face_parsing = load_face_parsing(tree.face_parsing).to(where)
    encoder = load_encoder(tree).to(
        device=where,
        dtype=torch.float16 if half else torch.float32,
        memory_format=layout_of(where),
    )
    return ClipPreparer(encoder, face_parsing, where)
