"""Programs that stand behind a browser: started, waited for, ended."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, TypeVar

START_S = 30.0
END_S = 10.0
POLL_S = 0.05

Sign = TypeVar("Sign")


@contextmanager
def program(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    says: IO[str] | int = subprocess.DEVNULL,
    keeps: Sequence[int] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program, and at the end whatever it started is ended with it.

    ``says`` gets what it writes, ``keeps`` are descriptors that it inherits.
    """
    process = subprocess.Popen(
        arguments,
        env=environment,
        stdout=says,
        stderr=says,
        pass_fds=keeps,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):  # all of it has ended
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(END_S)


def sign_of_life(process: subprocess.Popen[bytes], look: Callable[[], Sign | None]) -> Sign:
    """Wait until ``look`` sees something. TimeoutError, or ChildProcessError if it has ended."""
    until_s = time.monotonic() + START_S
    while not (seen := look()):
        if process.poll() is not None:
            raise ChildProcessError(f"{process.args!r} ended with {process.returncode}")
        if time.monotonic() > until_s:
            raise TimeoutError(f"{process.args!r} did not start")
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL_S)
    return seen


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
