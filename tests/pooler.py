"""A throw-away PgBouncer before a PostgreSQL server of tests."""

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from tests.postgresql import PostgresServer, as_account, wait_for_answers
from tests.processes import free_port


def find_pgbouncer() -> str | None:
    """Return its path; None: it is not installed."""
    return shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


class Pooler:
    """Gives each transaction another one of a few connections; ``with`` starts and ends it."""

    def __init__(self, program: str, server: PostgresServer, *, connections: int = 3) -> None:
        self._program = program
        self._server = server
        self._as_account = as_account()
        self._folder = Path(tempfile.mkdtemp(prefix="avatar-pooler-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._connections = connections
        self.port = free_port()

    def __enter__(self) -> Self:
        (self._folder / "users.txt").write_text('"avatar" ""\n')
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "trust",
            "auth_file": self._folder / "users.txt",
            "pool_mode": "transaction",
            "default_pool_size": self._connections,
            "server_round_robin": 1,  # or one client has the same connection nearly always
            "server_login_retry": 1,
        }
        lines = [
            "[databases]",
            f"* = host=127.0.0.1 port={self._server.port} user=avatar",
            "[pgbouncer]",
            *(f"{name} = {value}" for name, value in settings.items()),
        ]
        (self._folder / "pgbouncer.ini").write_text("\n".join(lines) + "\n")
        self._folder.chmod(0o755)
        self._process = subprocess.Popen(
            [self._program, "-q", str(self._folder / "pgbouncer.ini")],
            cwd=self._folder,
            **self._as_account,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for_answers(self._process, self.url("postgres"))
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None, "it was started"
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder)

    def url(self, database: str) -> str:
        """Return a database's address for `DATABASE_URL`."""
        return f"postgres://avatar@127.0.0.1:{self.port}/{database}"
