"""Where asset folders lie, and what their manifests say."""

from functools import lru_cache
from pathlib import Path

from inference.assets import manifest
from inference.assets.manifest import MANIFEST_NAME, Manifest
from inference.assets.names import NAME
from inference.errors import AvatarNotFound


@lru_cache(maxsize=1_024)
def _read_once(folder: Path, _modified_ns: int, _inode: int) -> Manifest:
    return manifest.read(folder)


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

        Raises AvatarNotFound, or AvatarInvalid if the folder cannot be used.
        """
        folder = self.find(name)
        try:
            state = (folder / MANIFEST_NAME).stat()
        except FileNotFoundError:  # replaced or removed since it was found
            raise AvatarNotFound(f"there is no avatar {name!r}") from None
        return _read_once(folder, state.st_mtime_ns, state.st_ino)
