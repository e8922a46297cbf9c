"""The end of a process whose threads may be inside native code.

Python ends a thread that wants the GIL back after the interpreter has begun to finalize. If that
thread is inside torch, C++ cannot be unwound that way and aborts the process: a stop that worked
looks like a crash (status 134, a core file). So the threads of engines and pools get a moment to
end, and where one does not, the process ends without finalizing the interpreter.
"""

import logging
import os
import sys
import threading
import time

log = logging.getLogger(__name__)

WAIT_S = 1.0
_NATIVE_THREADS = ("engine", "media", "musetalk-")
"""How the names of threads begin that run native code for long."""


def end_process(status: int = 0, *, wait_s: float = WAIT_S) -> None:
    """Return if no thread runs native code, after a moment; otherwise end the process.

    To be called last: files are flushed, but exit handlers do not run.

    Args:
        status: The exit status.
        wait_s: How long the threads have.
    """
    deadline_s = time.monotonic() + wait_s
    left = [thread for thread in threading.enumerate() if thread.name.startswith(_NATIVE_THREADS)]
    for thread in left:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    names = [thread.name for thread in left if thread.is_alive()]
    if not names:
        return
    log.info("ended without waiting for %s", ", ".join(names))
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
