"""Pictures put aside on disk between two stages, so that memory does not grow with the video."""

from pathlib import Path

import numpy as np

from inference.media.types import Picture


class PictureStore:
    """Equally sized pictures by number. A full disk is an OSError, at the moment of putting."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b")
        self._places: dict[int, int] = {}
        self._shape: tuple[int, ...] = ()

    def put(self, number: int, picture: Picture) -> None:
        self._shape = picture.shape
        self._places[number] = self._file.seek(0, 2)
        self._file.write(picture.tobytes())

    def get(self, number: int) -> Picture:
        """Return the picture put as ``number``; KeyError if there is none."""
        self._file.seek(self._places[number])
        count = int(np.prod(self._shape))
        return np.frombuffer(self._file.read(count), np.uint8).reshape(self._shape)

    def close(self) -> None:
        self._file.close()
