"""The secret key that is made once where nobody set one."""

import os
from pathlib import Path

from django.core.management.utils import get_random_secret_key

from musetalk_site.configuration.environment import CannotStart


def kept_secret_key(path: Path) -> str:
    """Return the key in ``path``, made at the first call (mode 0600).

    The server and a worker may start at the same moment: the file appears whole or not at all, and
    the second process takes the first one's key.

    Args:
        path: Of the file.

    Raises:
        CannotStart: It can neither be read nor made.
    """
    try:
        if not path.exists():
            _make(path)
        return path.read_text().strip()
    except OSError as error:
        raise CannotStart(
            f"SECRET_KEY is empty, and none can be kept in {path} ({error.strerror}): set "
            "SECRET_KEY, or let the server write there."
        ) from None


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(get_random_secret_key() + "\n")
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
