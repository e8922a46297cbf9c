"""Where asset folders lie, what their manifests say, and whether their files are whole."""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from inference.assets import manifest
from inference.assets.arrays import read_array
from inference.assets.manifest import MANIFEST_NAME, Manifest
from inference.assets.names import NAME
from inference.errors import AvatarInvalid, AvatarNotFound


class _Folder(NamedTuple):
    """A folder's manifest, and the path and bytes of each file it needs.

    Made once: a listing looks at thousands of files.
    """

    manifest: Manifest
    files: list[tuple[Path, int]]


@lru_cache(maxsize=1_024)
def _read_once(folder: Path, _modified_ns: int, _inode: int) -> _Folder:
    found = manifest.read(folder)
    return _Folder(found, [(folder / name, n) for name, n in found.needed_files().items()])


@lru_cache(maxsize=65_536)
def _check_array_once(path: Path, _modified_ns: int, _inode: int) -> None:
    read_array(path)


class AvatarLibrary:
    """The asset folders of one server: people's own first, then the shipped ones."""

    def __init__(self, avatars_dir: Path, shipped_dir: Path) -> None:
        self._shelves = (avatars_dir, shipped_dir)

    def find(self, name: str) -> Path:
        """Return the folder of the avatar ``name``.

        Raises AvatarNotFound if there is none, or no such name.
        """
        if NAME.fullmatch(name):
            for shelf in self._shelves:
                if (shelf / name / MANIFEST_NAME).is_file():
                    return shelf / name
        raise AvatarNotFound(f"there is no avatar {name!r}")

    def names(self) -> set[str]:
        """Of all avatars there are; their folders may be damaged."""
        return {
            path.parent.name
            for shelf in self._shelves
            for path in shelf.glob(f"*/{MANIFEST_NAME}")
            if NAME.fullmatch(path.parent.name)
        }

    def manifest(self, name: str) -> Manifest:
        """Return the manifest of ``name``, read once and again after each change.

        Raises:
            AvatarNotFound: There is none.
            AvatarInvalid: The folder cannot be used: its files are looked at each time, the
                beginnings of its arrays once and again after each change.
        """
        folder = self.find(name)
        state = state_of(folder)
        found = _read_once(folder, *state)
        try:
            _check_files(found.files)
        except AvatarInvalid:
            if state_of(folder) == state:
                raise
            return self.manifest(name)  # it was replaced by another one just now
        return found.manifest


def state_of(folder: Path) -> tuple[int, int]:
    """Return what another manifest in the folder does not have in common with this one."""
    try:
        state = (folder / MANIFEST_NAME).stat()
    except FileNotFoundError:  # replaced or removed since it was found
        raise AvatarNotFound(f"there is no avatar {folder.name!r}") from None
    return state.st_mtime_ns, state.st_ino


def _check_files(files: Iterable[tuple[Path, int]]) -> None:
    """Raise AvatarInvalid if a file is missing, has another length, or is an array that is none."""
    for path, size in files:
        try:
            state = path.stat()
        except OSError as error:
            raise AvatarInvalid(f"{path} cannot be read: {error.strerror}") from None
        if state.st_size != size:
            raise AvatarInvalid(f"{path}: {state.st_size} bytes, the manifest promises {size}")
        if path.suffix == ".npy":
            _check_array_once(path, state.st_mtime_ns, state.st_ino)
