"""Processes of the project that tests start, forked from one that has imported the libraries.

Of the two seconds of a core that a server takes to start, one is spent on importing libraries that
no test is about. They are imported once, here. The project's own modules, Django's settings and all
that follows from them are imported by each process itself, as if it had been started alone.

`python -m tests.forked_processes DESCRIPTOR` is the process that forks. It has one thread, and
takes requests on that socket until the other end is closed. For each it forks a process that forks
the wanted one, reports its number, waits for it, and reports how it ended.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NoReturn

import setproctitle

LIBRARIES = (
    *("av", "cv2", "msgspec", "numpy", "threadpoolctl"),
    *("asyncio", "concurrent.futures.thread", "email.message", "unittest.mock", "uvloop"),
    *("django.contrib.staticfiles.handlers", "django.core.handlers.asgi", "django.core.management"),
    *("django.core.management.commands.migrate", "django.core.servers.basehttp"),
    *("django.db.backends.sqlite3.base", "django.db.models", "django.forms"),
    *("django.core.management.commands.makemigrations", "django.middleware.csrf"),
    *("django.template.engine", "django.test.utils", "django.views.generic"),
    *("autobahn.websocket.protocol", "twisted.internet.asyncioreactor", "twisted.internet.ssl"),
    *("twisted.internet.endpoints", "twisted.internet.tcp", "twisted.web.http"),
    *("channels_redis.core", "cryptography.hazmat.primitives.asymmetric.ec", "inflection"),
    *("jinja2", "jsonschema", "jwt", "limits.aio.storage", "numpy.typing"),
    *("environ", "prometheus_client.core", "psycopg", "standardwebhooks"),
    *("redis.asyncio", "requests", "rich.traceback", "structlog", "uritemplate", "whitenoise"),
    *("wrapt", "yaml"),
)
"""What a server imports of others that needs no settings and makes neither a thread nor a loop."""

_MAX_BYTES = 1_000_000
_HOME = Path(__file__).resolve().parent.parent


class ForkedProcess:
    """A Python script that runs in a process of its own, by the methods of `subprocess.Popen`."""

    def __init__(self, arguments: Sequence[str], env: Mapping[str, str], output: int) -> None:
        """Start it.

        Args:
            arguments: The script and what it is given.
            env: The whole environment.
            output: The descriptor that it writes to.
        """
        self._status, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            request = json.dumps([list(arguments), dict(env)]).encode()
            socket.send_fds(_forking(), [request], [output, theirs.fileno()])
        self.pid = int(self._status.recv(64))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit status; None while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status, negative if a signal ended it, once there is one.

        Raises:
            subprocess.TimeoutExpired: It still runs after so many seconds.
        """
        if self.returncode is None:
            if not select.select([self._status], (), (), timeout)[0]:
                raise subprocess.TimeoutExpired("a forked process", timeout or 0)
            # Several threads may wait: it stays there for all of them.
            self.returncode = int(self._status.recv(64, socket.MSG_PEEK))
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it without delay, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def __del__(self) -> None:
        self._status.close()


@cache
def _forking() -> socket.socket:
    """Return the socket of the process that forks, which is started."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "tests.forked_processes", str(theirs.fileno())],
            cwd=_HOME,
            env={**os.environ, "PYTHONPATH": str(_HOME), "OPENBLAS_NUM_THREADS": "1"},
            pass_fds=[theirs.fileno()],
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def _fork_for(requests: socket.socket) -> None:
    """Fork for each request; return in each new process, with what it is to run in `sys`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with those that it forks for
    signal.signal(signal.SIGCHLD, _reap)
    while True:
        request, descriptors, _, _ = socket.recv_fds(requests, _MAX_BYTES, 2)
        if not request:
            os._exit(0)
        if os.fork() == 0:
            break
        for descriptor in descriptors:
            os.close(descriptor)
    requests.close()
    output, status = descriptors
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if pid := os.fork():
        os.close(output)
        _report(pid, socket.socket(fileno=status))
    os.close(status)
    for standard in (1, 2):
        os.dup2(output, standard)
    os.close(output)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv, environment = json.loads(request)
    os.environ.clear()
    os.environ.update(environment)


def _reap(*_: object) -> None:
    """Take leave of processes that reported an end, so that what all of them cost is counted."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _report(pid: int, status: socket.socket) -> NoReturn:
    """Tell which process it is and, later, how it ended."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        status.send(str(pid).encode())
        _, ended = os.waitpid(pid, 0)
        status.send(str(os.waitstatus_to_exitcode(ended)).encode())
    finally:
        os._exit(0)


def main() -> None:
    # It finds the place of titles by the first environment, which is another one afterwards.
    setproctitle.setproctitle("tests: fork server")
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()
    _fork_for(socket.socket(fileno=int(sys.argv[1])))
    setproctitle.setproctitle(" ".join([sys.executable, *sys.argv]))
    script = Path(sys.argv[0]).resolve()
    sys.path[0] = str(script.parent)
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main()
