"""How large a request body may be: for everybody, and for the disk that it is stored on."""

import shutil
from http import HTTPStatus
from pathlib import Path

SMALL_BODY_BYTES = 64 * 1024
"""Every path takes as much: forms, and JSON."""
RESERVED_BYTES = 64_000_000
"""Of each disk, for what is no upload: the database above all."""


class BodyRefused(Exception):
    """A body that is not read; ``status`` is the answer's."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def has_room(folder: Path, size_bytes: int) -> bool:
    """Whether an upload of so many bytes leaves enough of the disk that ``folder`` is on."""
    return shutil.disk_usage(folder).free - size_bytes >= RESERVED_BYTES
