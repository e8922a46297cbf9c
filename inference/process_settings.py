"""What is set for a whole process: threads of libraries, the interpreter's switching, its garbage.

Such settings reach code that never asked for them. So only commands make them, first thing, and no
module does when it is imported or used.
"""

import gc
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SWITCH_INTERVAL_S = 0.001
"""The event loop waits at most so long for the GIL; the interpreter's own 5 ms, several times a
frame, would make frames late."""

DESCRIPTORS = 10_240
"""As many as macOS allows one process, and more than a machine has sessions."""

_BLAS_THREADS = "OPENBLAS_NUM_THREADS"
"""OpenBLAS reads it once, when it is loaded; numpy and OpenCV bring one each."""


@contextmanager
def importing() -> Iterator[None]:
    """Make imports inside this, which takes a fifth less time.

    They make hundreds of thousands of objects and next to no garbage: nothing is collected until
    they are there, and they themselves never are, as `when_loaded` has it.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def starting_no_threads() -> Iterator[None]:
    """Load BLAS inside this without the threads that it otherwise starts at once, one a core.

    A process that forks must have no thread besides its own: what another one holds at that moment
    stays held in the new process. Where sessions live, `for_streams` would leave them idle anyway.
    Processes that are started later decide for themselves: the variable is gone by then.
    """
    before = os.environ.get(_BLAS_THREADS)
    os.environ[_BLAS_THREADS] = "1"
    try:
        yield
    finally:
        del os.environ[_BLAS_THREADS]
        if before is not None:
            os.environ[_BLAS_THREADS] = before


def for_streams() -> None:
    """Set what a process with live sessions needs.

    The host makes a call for each core. Threads of BLAS and OpenCV within a call only wait for each
    other: with two of them, hearing a frame costs twice the processor time.
    """
    # Not at the top: an engine process, which has another setting, does without these libraries.
    import cv2
    from threadpoolctl import threadpool_limits

    threadpool_limits(1, user_api="blas")
    cv2.setNumThreads(1)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    allow_descriptors()


def allow_descriptors() -> None:
    """Let this process have `DESCRIPTORS` files and connections, as far as the system allows it.

    The limit that a process begins with is 1,024 on most systems, for programs that use `select`.
    """
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = allowed_descriptors()
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def allowed_descriptors() -> int:
    """Return how many files and connections a process has after `allow_descriptors`, at least."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return DESCRIPTORS if most == resource.RLIM_INFINITY else min(DESCRIPTORS, most)


def for_networks() -> None:
    """Set what a process needs that runs torch; to be called before torch is imported.

    On a CPU its threads otherwise spin while they wait for each other, and keep decoding and
    encoding from the cores: five times slower beside a stream. And its loop, which takes requests
    and hands out mouths, shares the GIL with the calls.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.setswitchinterval(SWITCH_INTERVAL_S)


def when_loaded() -> None:
    """Leave all that is there by now out of garbage collection; to be called once it is loaded.

    A full collection looks at every object there is, and everything waits for it: without sessions
    150,000 objects of modules and models, 90 ms on a slow core, and more with torch. It comes after
    so many new objects, so sessions that open would stop those that stream.
    """
    gc.collect()
    gc.freeze()
