"""Servers, workers and browsers as real processes, with databases and folders of their own.

A start takes a second of a core. So a test asks for its server in one of three ways: `server`
is the one with the settings as they are, `share` gives one with others to all tests that want the
same, and `serve` starts one that the test may end, kill, or read every word of.
"""

import atexit
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path

import pytest
from django.db import connections
from playwright.sync_api import Browser

from benchmarks.server import copied_database, new_database
from benchmarks.studio_page import chromium, find_chromium
from tests.e2e.shared_servers import SharedServers
from tests.e2e.talking import SETTINGS, Server, start_server
from tests.processes import Process, make_superuser

Start = Callable[..., Process]
Serve = Callable[..., Server]
DatabaseOf = Callable[[Server], AbstractContextManager[str]]

ADMINISTRATOR = ("admin", "secret")
"""Name and password of the account in databases that have one."""


@pytest.fixture(scope="session")
def share(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Return a server that runs with these arguments and variables, and takes sessions.

    Other tests use it before, beside and after: a test leaves it as it was.
    """
    servers = SharedServers(lambda: tmp_path_factory.mktemp("server"))
    yield servers.get
    servers.close()


@pytest.fixture(scope="session")
def server(share: Serve) -> Server:
    """`manage.py serve` with the settings as they are."""
    return share()


@pytest.fixture
def address(server: Server) -> str:
    """Return the server's address as pages have it."""
    return server.origin


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run Chromium for a module, which has another one where it needs more."""
    executable = find_chromium()
    assert executable is not None
    with chromium(executable) as running:
        yield running


@pytest.fixture(scope="session")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The database of all processes of `start` and `serve`, unless a module has one of its own."""
    return new_database(tmp_path_factory.mktemp("database"))


@cache
def _administrated_database() -> Path:
    folder = tempfile.mkdtemp(prefix="avatar-accounts-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    url = new_database(Path(folder))
    make_superuser(url, *ADMINISTRATOR)
    return Path(url.removeprefix("sqlite:///"))


def administrated_database(folder: Path) -> str:
    """Make a database with an administrator in a folder, and return its URL."""
    return copied_database(_administrated_database(), folder)


@pytest.fixture(scope="session")
def administrated(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The database of those who share a server with an administrator."""
    return administrated_database(tmp_path_factory.mktemp("administrated"))


@pytest.fixture(scope="session")
def database_of(django_db_blocker) -> DatabaseOf:
    """Give this process's models the database of a server, by the alias that is returned."""

    @contextmanager
    def database_of(server: Server) -> Iterator[str]:
        name = server.process.env["DATABASE_URL"].removeprefix("sqlite:///")
        wanted = {"ENGINE": "django.db.backends.sqlite3", "NAME": name}
        completed = connections.configure_settings({"default": {}, "server": wanted})
        connections.settings["server"] = completed["server"]
        try:
            with django_db_blocker.unblock():
                yield "server"
        finally:
            connections["server"].close()
            del connections["server"], connections.settings["server"]

    return database_of


@pytest.fixture
def start(database_url: str, tmp_path: Path) -> Iterator[Start]:
    """Start processes with these arguments and variables; they are gone when the test is over."""
    processes: list[Process] = []

    def start(*arguments: str, **variables: str) -> Process:
        own = {"DATABASE_URL": database_url, "AVATARS_DIR": str(tmp_path / "avatars")}
        process = Process(*arguments, env={**SETTINGS, **own, **variables})
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()


@pytest.fixture
def serve(start: Start) -> Serve:
    """Start `manage.py serve` with these arguments and variables, and wait until it answers."""

    def serve(*arguments: str, **variables: str) -> Server:
        server = start_server(start, *arguments, **variables)
        server.wait_until_it_answers()
        return server

    return serve
