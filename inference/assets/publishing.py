"""Publishing a folder: its readers see all of it or none, also after the power failed."""

import errno
import os
from pathlib import Path


def publish(made: Path, destination: Path, *, former: Path) -> None:
    """Rename the folder ``made`` to ``destination``, once all of it is on the disk.

    Args:
        made: A folder that is complete.
        destination: Where its readers look, on the same file system.
        former: Where the folder that was there goes, on the same file system; nothing is there yet.
            It is moved back if ``made`` cannot be moved.

    Raises:
        OSError: One of them cannot be moved, or not all of ``made`` can be written.
    """
    for path in made.rglob("*"):
        write_through(path)
    write_through(made)
    had_one = destination.exists()
    try:
        if had_one:
            destination.rename(former)
        made.rename(destination)
    except BaseException:  # a signal ends a process by an exception, also between these two
        if had_one and not destination.exists():
            former.rename(destination)
        raise
    write_through(destination.parent)


def write_through(path: Path) -> None:
    """Wait until a file, or what a folder lists, is on the disk and not only in memory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not (path.is_dir() and error.errno == errno.EINVAL):  # some network disks cannot
            raise
    finally:
        os.close(descriptor)
