"""Threads that compute for long give way to those that the stream needs every 40 ms.

On Linux a thread has a niceness of its own, which the threads that torch starts for it inherit.
Elsewhere only processes have one, and nothing is done.
"""

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

NICENESS = 10
"""A tenth of the share of others, while those have something to do."""


def lower_thread_priority() -> None:
    """Run this thread, and those it starts, after others.

    The main thread, from which all come, is left as it is.
    """
    if sys.platform == "linux" and threading.current_thread() is not threading.main_thread():
        thread = threading.get_native_id()
        with suppress(OSError):
            niceness = max(NICENESS, os.getpriority(os.PRIO_PROCESS, thread))
            os.setpriority(os.PRIO_PROCESS, thread, niceness)


def raise_priority() -> None:
    """Run all threads of this process like the main one, where the system lets us."""
    if sys.platform != "linux":
        return
    niceness = os.getpriority(os.PRIO_PROCESS, os.getpid())
    for thread in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # not permitted, or the thread has ended
            os.setpriority(os.PRIO_PROCESS, int(thread.name), niceness)
