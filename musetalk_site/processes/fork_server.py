"""The process that app processes are forked from.

What an app process imports takes it longer than all the rest of its start, and a hundred megabytes.
The fork server has imported it once: what it forks starts with that, and shares the memory.

It is made before the supervisor has an event loop. It has one thread, and holds nothing but the
listening socket and its end of a control socket: nothing in it could be inherited by mistake. Each
packet on that socket has the descriptor of a new process's own control socket; it answers which
process that is and, later, how it ended. Signals that a terminal or a service manager sends to all
processes do not end it: the end of the supervisor does.
"""

import asyncio
import contextlib
import importlib
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import msgspec
from setproctitle import setproctitle, setthreadtitle

from inference import process_settings
from musetalk_site.processes.control import ControlSocket, control_pair
from musetalk_site.processes.messages import (
    MAX_BYTES,
    Exited,
    Fork,
    Forked,
    ForkServerMessage,
    NotForked,
)

FORK_SERVER_TITLE = "manage.py serve: fork server"
APP_TITLE = "manage.py serve: app process {}"
"""As `ps` shows them."""
FORK_SERVER_NAME = "fork-server"
"""As `top` shows it. One word: Python, which warns where a process with threads forks, looks for
their number so many words behind this name."""
_NOT_FOR_IT = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
"""They wait in a process that was just forked until it can take them."""

APP_IMPORTS = (
    "autobahn.twisted.websocket",
    "twisted.web.http",
    "avatars_app.preparation.runner",
    "avatars_app.uploads.admission",
    "avatars_app.webhooks.sender",
    "inference.engines.viseme.engine",
    "inference.worker",
    "musetalk_site.asgi",
    "musetalk_site.processes.app_process",
    "musetalk_site.telemetry.process",
    "musetalk_site.telemetry.spans",
    "musetalk_site.urls",
    "musetalk_site.watchdog",
    "streaming.gateway.revocation",
    "streaming.gateway.workers",
    "streaming.history.writer",
)
"""What an app process imports, except for Twisted's reactor: each needs its own."""

Run = Callable[[int, int, Sequence[str]], None]
"""Be the app process with this number, whose end of the control socket has this descriptor, with
engine processes at these addresses."""


class ForkServerEnded(Exception):
    """It was killed, or failed: no process can be started, nor its end be known."""

    def __init__(self) -> None:
        super().__init__("the process that starts the others ended")


class ForkFailed(Exception):
    """The system made no process now; the message says why. It may make one later."""


@dataclass(slots=True, eq=False)
class AppChild:
    """An app process that was started."""

    pid: int
    _status: asyncio.Future[int]

    async def wait(self) -> int:
        """Return its exit status, as `subprocess` gives it, once it has ended."""
        return await asyncio.shield(self._status)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if not self._status.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class ForkServer:
    """The fork server as the supervisor sees it."""

    def __init__(self, run: Run, imports: Sequence[str] = APP_IMPORTS) -> None:
        """Start it. To be called by a process that has one thread.

        Args:
            run: Called in each new process. What it raises is raised here, in that process.
            imports: The modules that it imports before it forks.
        """
        ours, theirs = control_pair()
        self._pid = os.fork()
        if self._pid == 0:
            ours.close()
            with process_settings.importing():
                for name in imports:
                    importlib.import_module(name)
            _serve(theirs, run)
        theirs.close()
        self._socket = ours
        self._control: ControlSocket[ForkServerMessage] | None = None
        self._started: dict[int, asyncio.Future[AppChild]] = {}
        self._exits: dict[int, asyncio.Future[int]] = {}

    def start(self) -> None:
        """Take its answers from now on, on the running event loop."""
        self._control = ControlSocket(
            self._socket,
            msgspec.msgpack.Decoder(ForkServerMessage),
            on_message=self._receive,
            on_end=self._fail,
        )
        self._control.start()

    def close(self) -> None:
        """End it; processes that it started are not."""
        assert self._control is not None, "it was started"
        self._control.close()
        os.waitpid(self._pid, 0)

    async def fork(self, number: int, control: socket.socket, engines: Sequence[str]) -> AppChild:
        """Start an app process.

        Args:
            number: Its number; no process with it runs.
            control: Its end of a control socket. The caller's copy stays open.
            engines: The addresses of engine processes.

        Raises:
            PeerGone: The fork server is gone.
            ForkServerEnded: It went before it answered.
            ForkFailed: The system made no process.
        """
        assert self._control is not None, "it was started"
        started: asyncio.Future[AppChild] = asyncio.get_running_loop().create_future()
        self._started[number] = started
        try:
            self._control.send(Fork(number, list(engines)), control.fileno())
            return await started
        finally:
            del self._started[number]

    def _receive(self, message: ForkServerMessage, descriptor: int | None) -> None:
        match message:
            case Forked(number, pid):
                exits = self._exits[pid] = asyncio.get_running_loop().create_future()
                if number in self._started:  # else nobody waits for it: its socket is closed
                    self._started[number].set_result(AppChild(pid, exits))
            case NotForked(number, reason):
                if number in self._started:
                    self._started[number].set_exception(ForkFailed(reason))
            case Exited(pid, status):
                self._exits.pop(pid).set_result(status)

    def _fail(self) -> None:
        answers: list[asyncio.Future[Any]] = [*self._started.values(), *self._exits.values()]
        for answer in answers:
            if not answer.done():
                answer.set_exception(ForkServerEnded())


def _serve(requests: socket.socket, run: Run) -> NoReturn:
    """Fork until the supervisor is gone."""
    setproctitle(FORK_SERVER_TITLE)
    setthreadtitle(FORK_SERVER_NAME)
    signal.pthread_sigmask(signal.SIG_BLOCK, _NOT_FOR_IT)
    ended, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # it comes through the pipe
    decoder = msgspec.msgpack.Decoder(Fork)
    encoder = msgspec.msgpack.Encoder()
    while True:
        ready, _, _ = select.select((requests.fileno(), ended), (), ())
        try:
            if ended in ready:
                os.read(ended, 4_096)
                for exited in _exits():
                    requests.send(encoder.encode(exited))
            if requests.fileno() not in ready:
                continue
            packet, descriptors, _, _ = socket.recv_fds(requests, MAX_BYTES, 1)
        except ConnectionError:
            packet = b""
        if not packet:
            os._exit(0)
        fork, control = decoder.decode(packet), descriptors[0]
        try:
            pid = os.fork()
        except OSError as error:
            os.close(control)
            requests.send(encoder.encode(NotForked(fork.number, str(error))))
            continue
        if pid == 0:
            requests.close()
            os.close(ended)
            _become_app_process(fork.number)
            os.close(wake)
            run(fork.number, control, fork.engines)
            sys.exit()
        os.close(control)
        requests.send(encoder.encode(Forked(fork.number, pid)))


def _exits() -> Iterator[Exited]:
    with contextlib.suppress(ChildProcessError):  # there are none
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            yield Exited(pid, os.waitstatus_to_exitcode(status))


def _become_app_process(number: int) -> None:
    setproctitle(APP_TITLE.format(number))
    os.setsid()  # Ctrl-C reaches the supervisor only
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _NOT_FOR_IT)
