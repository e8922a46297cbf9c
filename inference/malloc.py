"""Giving back to the system what was freed.

Sessions come and go, and between what stays their pictures leave holes in malloc's arenas: after an
hour a server holds 80 MB more than it uses, which looks like a leak. glibc gives whole pages back
when it is asked to. (Keeping large blocks out of the arenas would need no asking, but a picture in
a map of its own costs 0.25 ms of page faults each time.)
"""

import ctypes


def trim() -> bool:
    """Give freed memory back: some milliseconds, without the GIL.

    Returns False where malloc is not glibc's.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return False
    return bool(trim(0))
