"""The server under test: a process of its own, with a database and folders of its own.

`server_under_test` is what every benchmark of the stream runs against. With ``--server`` that is a
server which runs already; then what can only be read from its process (CPU, memory) is read too if
``--pid`` names it, and else left out.
"""

import argparse
import asyncio
import atexit
import fcntl
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Self

import psutil

from benchmarks.folders import ROOT
from benchmarks.verdict import Verdict
from musetalk_site.configuration.environment import VARIABLES
from musetalk_site.processes.fork_server import APP_TITLE
from talking_avatar import AvatarError

OF_THE_MACHINE = {
    *("PROCESSES", "DEVICE", "USE_FLOAT16", "EMPHASIS", "LOG_LEVEL"),
    *("MODEL_PATH", "MUSETALK_DECODER", "MUSETALK_LOOK_AHEAD_MS", "MUSETALK_MEMORY_GB"),
}
"""Settings that a server under test takes over from its surroundings."""
START_TIMEOUT_S = 60.0
END_TIMEOUT_S = 20.0
_POLL_S = 0.1


class ServerFailed(Exception):
    """The server did not start, or ended by itself; the message has the end of its log."""


@cache
def _migrated_database() -> Path:
    """Return a new database, which this process makes once: to migrate one takes seconds.

    Where several run the tests side by side, in a folder of their run, the first of them makes it.
    """
    shared = os.environ.get("AVATAR_TEST_RUN")
    folder = Path(shared or tempfile.mkdtemp(prefix="avatar-database-"))
    if not shared:
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path, unfinished = folder / "migrated.sqlite3", folder / "unfinished.sqlite3"
    with (folder / "migrating").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not path.exists():
            url = f"sqlite:///{unfinished}"
            _manage("migrate", "--verbosity", "0", environment={"DATABASE_URL": url})
            unfinished.rename(path)
    return path


def new_database(folder: Path) -> str:
    """Make a migrated SQLite database in a folder.

    Returns:
        Its URL.
    """
    return copied_database(_migrated_database(), folder)


def copied_database(template: Path, folder: Path) -> str:
    """Make a copy of an SQLite database in a folder.

    Returns:
        Its URL.
    """
    path = folder / "db.sqlite3"
    source = sqlite3.connect(template)
    with closing(source), closing(sqlite3.connect(path)) as made:
        source.backup(made)
    return f"sqlite:///{path}"


def own_settings(**settings: str) -> dict[str, str]:
    """Return the environment of a server that has nothing to do with any other.

    Where a server runs already, the environment or ``.env`` may name its Redis, its webhooks and
    who may open streams: a server under test would take its sessions, report to its back end, and
    refuse the clients that measure. So only what says how fast a server can be is taken from there.

    Args:
        settings: Those of this server.
    """
    others = {name: "" for name in VARIABLES if name not in OF_THE_MACHINE}
    return {
        **os.environ,
        **others,  # an empty variable is the default, whatever the file says
        "DJANGO_SETTINGS_MODULE": "musetalk_site.settings",
        "SECRET_KEY": "of a server that lives for minutes",
        "ENGINE": os.environ.get("ENGINE", "viseme"),
        **settings,
    }


def app_processes(server_pid: int) -> dict[int, psutil.Process]:
    """Return the app processes of a server that run now, by their numbers."""
    found = {}
    for process in psutil.Process(server_pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if (number := app_number(process)) is not None:
                found[number] = process
    return found


def app_number(process: psutil.Process) -> int | None:
    """Return the number of an app process; None if it is something else."""
    title = re.match(APP_TITLE.format(r"(\d+)"), " ".join(process.cmdline()))
    return None if title is None else int(title[1])


class ProcessTree:
    """What a process and all its children cost."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)

    def cpu_s(self) -> float:
        """User and system time of all, those included that ended and were waited for."""
        own = self._root.cpu_times()
        ended_s = own.children_user + own.children_system
        return float(sum(times.user + times.system for times in self._times()) + ended_s)

    def memory_bytes(self) -> int:
        """Resident memory of all."""
        return sum(process.memory_info().rss for process in self.processes())

    def processes(self) -> list[psutil.Process]:
        """The process itself, and all that come from it."""
        return [self._root, *self._root.children(recursive=True)]

    def _times(self) -> Iterator[Any]:
        for process in self.processes():
            try:
                yield process.cpu_times()
            except psutil.NoSuchProcess:
                continue


class ServerProcess:
    """`manage.py serve` on a free port, as a context manager; ready when entered.

    ``environment`` adds to or replaces settings; the engine is viseme unless ENGINE says otherwise.
    Everything that the server writes is in a folder that is gone afterwards.
    """

    def __init__(self, **environment: str) -> None:
        self._environment = environment
        self.start_timeout_s = START_TIMEOUT_S
        self.before_start: Callable[[dict[str, str]], None] | None = None
        """Called with the whole environment after the database is migrated."""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="avatar-server-")
        folder = Path(self._folder.name)
        self._log_path = folder / "server.log"
        self.port = free_port()
        environment = own_settings(**{"AVATARS_DIR": str(folder / "avatars"), **self._environment})
        try:
            if "DATABASE_URL" in self._environment:
                _manage("migrate", "--verbosity", "0", environment=environment)
            else:
                environment["DATABASE_URL"] = new_database(folder)
            if self.before_start is not None:
                self.before_start(environment)
            with self._log_path.open("ab") as log:
                self._process = subprocess.Popen(
                    [*_command("serve"), "--host", "127.0.0.1", "--port", str(self.port)],
                    cwd=ROOT,
                    env=environment,
                    stdout=log,
                    stderr=log,
                )
            self.tree = ProcessTree(self._process.pid)
            self._wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._folder.cleanup()

    def stop(self) -> int | None:
        """End the server as Ctrl-C would; its exit status."""
        if (process := getattr(self, "_process", None)) is None:
            return None
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return int(process.returncode)

    @property
    def address(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def log(self) -> str:
        """All that the server said so far."""
        return self._log_path.read_text(encoding="utf-8", errors="replace")

    def log_end(self) -> str:
        return self.log()[-2_000:]

    def get(self, path: str) -> dict[str, Any]:
        """Return the JSON at ``path``."""
        return get_json(self.address, path)

    def _wait_until_ready(self) -> None:
        deadline_s = time.monotonic() + self.start_timeout_s
        pause = threading.Event()
        while time.monotonic() < deadline_s:
            if self._process.poll() is not None:
                raise ServerFailed(f"The server ended at once.\n{self.log_end()}")
            try:
                if self.get("/health").get("status") == "ready":
                    return
            except OSError:
                pass
            pause.wait(_POLL_S)
        raise ServerFailed(f"Not ready within {self.start_timeout_s:g} s.\n{self.log_end()}")


class RunningServer:
    """A server that was started elsewhere."""

    def __init__(self, address: str, pid: int | None) -> None:
        self.address = address
        self.tree = ProcessTree(pid) if pid is not None else None

    def get(self, path: str) -> dict[str, Any]:
        return get_json(self.address, path)


Server = ServerProcess | RunningServer


def get_json(address: str, path: str) -> dict[str, Any]:
    """GET from the server whose stream is at ``address``; OSError if nobody answers."""
    page = address.replace("ws", "http", 1) + path
    try:
        with urllib.request.urlopen(page, timeout=5) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:  # which may say in JSON what is wrong
        with error:
            text = error.read()
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--server", help="ws://HOST:PORT of a running server; else one is started")
    parser.add_argument("--pid", type=int, help="process of that server, to read CPU and memory")
    parser.add_argument("--processes", help="how many processes serve; default: as PROCESSES says")
    parser.add_argument("--user-id", default="benchmark", help="whose avatar; default: %(default)s")
    add_json_argument(parser)


def add_json_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")


Measure = Callable[[Server, argparse.Namespace], Coroutine[Any, Any, Verdict]]


def judge_server(measure: Measure, options: argparse.Namespace) -> int:
    """Measure the server that the options name; the exit status, after the verdict is printed."""
    with server_under_test(options) as server:
        verdict = asyncio.run(measure(server, options))
    return verdict.conclude(options.json)


@contextmanager
def server_under_test(options: argparse.Namespace, **environment: str) -> Iterator[Server]:
    """As the options of `add_server_arguments` say, with these settings beside.

    If there can be none, or it refuses what a client asks, the program ends with a sentence and the
    end of the server's log.
    """
    try:
        if options.server:
            yield RunningServer(options.server, options.pid)
            return
        if options.processes:
            environment["PROCESSES"] = options.processes
        with ServerProcess(**environment) as server:
            try:
                yield server
            except AvatarError as error:
                sys.exit(f"{error}\n{server.log_end()}")
    except (ServerFailed, AvatarError) as failure:
        sys.exit(f"{failure}")


def _command(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "manage.py"), *arguments]


def _manage(*arguments: str, environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        _command(*arguments),
        cwd=ROOT,
        env={**own_settings(), **environment},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ServerFailed(f"manage.py {arguments[0]} failed.\n{done.stderr[-2_000:]}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
