"""A throw-away PostgreSQL server for tests, from the programs of this machine."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import psycopg

from tests.certificates import Certificate
from tests.processes import free_port

WITHOUT_DURABILITY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""Nothing of it is to outlive a crash of the machine."""
STARTS_WITHIN_S = 30.0
_UNPRIVILEGED = ("postgres", "nobody")
"""Accounts for a server that root starts: PostgreSQL refuses to be run by root itself."""


def find_programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, the newest; None: it is not installed."""
    folders = list(Path("/usr/lib/postgresql").glob("*/bin"))  # Debian's
    folders.sort(key=lambda folder: int(folder.parent.name))
    on_path = shutil.which("postgres")
    if on_path is not None:
        folders.append(Path(on_path).resolve().parent)
    return next((each for each in reversed(folders) if (each / "initdb").exists()), None)


def wait_for_answers(process: "subprocess.Popen[bytes]", url: str) -> None:
    """Wait until a server answers at ``url``; OperationalError if it ends, or takes too long."""
    end_s = time.monotonic() + STARTS_WITHIN_S
    while True:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > end_s or process.poll() is not None:
                raise
            time.sleep(0.02)


class PostgresServer:
    """A cluster in a temporary folder, on a free port of this machine, for everybody on it.

    ``with`` starts and ends it.
    """

    def __init__(self, programs: Path, certificate: Certificate | None = None) -> None:
        """With a certificate, it takes connections with TLS as well."""
        self._programs = programs
        self._certificate = certificate
        self._as_account = as_account()
        self._folder = Path(tempfile.mkdtemp(prefix="avatar-postgresql-"))
        self._server: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    def __enter__(self) -> Self:
        if self._as_account:
            shutil.chown(self._folder, self._as_account["user"])
        data = str(self._folder / "data")
        self._run("initdb", "--pgdata", data, "--no-sync", "--auth", "trust", "-U", "avatar")
        if self._certificate is not None:
            self._install(self._certificate)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        assert self._server is None, "it runs"
        settings = WITHOUT_DURABILITY | {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "ssl": "off" if self._certificate is None else "on",
        }
        self._server = subprocess.Popen(
            [
                *(self._programs / "postgres", "-D", self._folder / "data"),
                *(f"--{name}={value}" for name, value in settings.items()),
            ],
            cwd=self._folder,
            **self._as_account,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for_answers(self._server, self.url("postgres"))

    def _install(self, certificate: Certificate) -> None:
        """Put it where the server looks; of the key it must be the only reader."""
        for path, name in ((certificate.chain, "server.crt"), (certificate.key, "server.key")):
            placed = self._folder / "data" / name
            shutil.copy(path, placed)
            placed.chmod(0o600)
            if self._as_account:
                shutil.chown(placed, self._as_account["user"])

    def kill(self) -> None:
        """End it at once, as in a crash: the next start recovers from that."""
        if self._server is not None:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait()
            self._server = None

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Accepts connections, as the kernel does, and answers nothing."""
        pids = self._pids()
        _send(signal.SIGSTOP, pids)
        try:
            yield
        finally:
            _send(signal.SIGCONT, pids)

    @contextmanager
    def killed(self) -> Iterator[None]:
        """Refuses connections, as nothing listens there."""
        self.kill()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def full(self) -> Iterator[None]:
        """Has no connection left for anybody else."""
        with ExitStack() as taken:
            with suppress(psycopg.OperationalError):
                while True:
                    taken.enter_context(self.connect("postgres"))
            yield

    def new_database(self, template: str = "template1") -> str:
        """Make a database, empty or as another one, and return its name."""
        name = f"avatar_{uuid.uuid4().hex}"
        with self.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        return name

    def url(self, database: str) -> str:
        """Return a database's address for `DATABASE_URL`."""
        return f"postgres://avatar@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str) -> "psycopg.Connection[tuple[Any, ...]]":
        """Open a connection whose statements are transactions of their own."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="avatar", dbname=database, autocommit=True
        )

    def _pids(self) -> list[int]:
        """Return the first process, then those of the connections and other work."""
        assert self._server is not None, "it runs"
        pid = self._server.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            cwd=self._folder,
            capture_output=True,
            **self._as_account,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def _send(number: signal.Signals, pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # the process of a connection that is over
            os.kill(pid, number)


def as_account() -> dict[str, Any]:
    """Return how `subprocess` starts a program under an account that PostgreSQL accepts."""
    if os.geteuid() != 0:
        return {}
    there = {account.pw_name: account for account in pwd.getpwall()}
    account = next(there[name] for name in _UNPRIVILEGED if name in there)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
