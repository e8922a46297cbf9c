"""Publishing a folder: its readers see all of it or none."""

from pathlib import Path


def publish(made: Path, destination: Path, *, former: Path) -> None:
    """Rename the folder ``made`` to ``destination``.

    Args:
        made: A folder that is complete.
        destination: Where its readers look, on the same file system.
        former: Where the folder that was there goes, on the same file system; nothing is there yet.
            It is moved back if ``made`` cannot be moved.

    Raises:
        OSError: One of them cannot be moved.
    """
    had_one = destination.exists()
    if had_one:
        destination.rename(former)
    try:
        made.rename(destination)
    except OSError:
        if had_one:
            former.rename(destination)
        raise
