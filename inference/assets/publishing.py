"""Publishing a folder: its readers see all of it or none, also after the power failed.

Linux exchanges the names of two folders in one step, so that one is there at every moment, whatever
ends the process.
"""

import ctypes
import errno
import os
from functools import cache
from pathlib import Path
from typing import Any

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_NOT_HERE = {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP}
"""A kernel, or a file system such as NFS, does not exchange names."""


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
    if not destination.exists():
        made.rename(destination)
    elif exchange(made, destination):
        try:
            made.rename(former)
        except BaseException:  # a signal ends a process by an exception
            if made.exists():
                exchange(made, destination)
            raise
    else:
        _replace_in_two_steps(made, destination, former)
    write_through(destination.parent)


def _replace_in_two_steps(made: Path, destination: Path, former: Path) -> None:
    """Replace a folder where names cannot be exchanged: who is killed in between leaves none."""
    try:
        destination.rename(former)
        made.rename(destination)
    except BaseException:  # as above
        if not destination.exists():
            former.rename(destination)
        raise


def exchange(one: Path, other: Path) -> bool:
    """Let two folders of a file system have each other's name, in one step.

    Returns:
        Whether that can be done here; otherwise nothing was changed.

    Raises:
        OSError: One of them is not there, or may not be moved.
    """
    rename = _renameat2()
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NOT_HERE:
        return False
    raise OSError(code, os.strerror(code), str(one), None, str(other))


@cache
def _renameat2() -> Any:
    """Return the function of Linux's C library; None: this system has none."""
    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return None
    path = ctypes.c_char_p
    function.argtypes = [ctypes.c_int, path, ctypes.c_int, path, ctypes.c_uint]
    return function


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
