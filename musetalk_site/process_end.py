"""The end of a process that ran native code: at once, without finalizing the interpreter.

Python ends a thread that wants the GIL back after the interpreter has begun to finalize. If that
thread is inside torch, C++ cannot be unwound that way and aborts the process: a stop that worked
looks like a crash (status 134, a core file). And taking apart torch's thousand modules takes time,
for memory that the system takes back anyway. So the threads of engines and pools get a moment to
end, exit handlers run if they did, and the process ends.
"""

import atexit
import logging
import os
import sys
import threading
import time

log = logging.getLogger(__name__)

WAIT_S = 0.5
_NATIVE_THREADS = ("engine", "media", "musetalk-")
"""How the names of threads begin that run native code for long."""


def end_process(status: int = 0, *, wait_s: float = WAIT_S) -> None:
    """End the process. To be called last, by its main thread.

    Exit handlers run unless a thread is still inside native code: they may wait for it, or take
    away what it uses.

    Args:
        status: The exit status.
        wait_s: How long the threads have.
    """
    deadline_s = time.monotonic() + wait_s
    left = [thread for thread in threading.enumerate() if thread.name.startswith(_NATIVE_THREADS)]
    for thread in left:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    names = [thread.name for thread in left if thread.is_alive()]
    if names:
        log.info("ended without waiting for %s", ", ".join(names))
    else:
        atexit._run_exitfuncs()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
