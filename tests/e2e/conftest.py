"""Servers, workers and browsers as real processes, with databases and folders of their own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from benchmarks.server import ServerProcess, new_database
from benchmarks.studio_page import chromium, find_chromium
from tests.e2e.talking import Server
from tests.processes import Process, free_port

Start = Callable[..., Process]


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    """`manage.py serve` on a free port, for all tests that only talk to it."""
    with ServerProcess() as running:
        yield running
        assert "Traceback" not in running.log(), running.log()[-5_000:]
        assert running.stop() == 0, running.log()[-5_000:]


@pytest.fixture
def address(server: ServerProcess) -> str:
    """Return the server's address as pages have it."""
    return server.address.replace("ws", "http", 1)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run Chromium for a module, which has another one where it needs more."""
    executable = find_chromium()
    assert executable is not None
    with chromium(executable) as running:
        yield running


@pytest.fixture(scope="session")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The database of all tests' processes, unless a module has one of its own."""
    return new_database(tmp_path_factory.mktemp("database"))


@pytest.fixture
def start(database_url: str, tmp_path: Path) -> Iterator[Start]:
    """Start processes with these arguments and variables; they are gone when the test is over."""
    processes: list[Process] = []

    def start(*arguments: str, **variables: str) -> Process:
        process = Process(
            *arguments,
            env={
                "DJANGO_SETTINGS_MODULE": "musetalk_site.settings",
                "DATABASE_URL": database_url,
                "AVATARS_DIR": str(tmp_path / "avatars"),
                "ENGINE": "viseme",
                **variables,
            },
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()


@pytest.fixture
def serve(start: Start) -> Callable[..., Server]:
    """Start `manage.py serve` with these arguments and variables, and wait until it answers."""

    def serve(*arguments: str, **variables: str) -> Server:
        port = free_port()
        process = start(
            *("manage.py", "serve", "--host", "127.0.0.1", "--port", str(port), *arguments),
            **variables,
        )
        server = Server(process, port)
        server.wait_until_it_answers()
        return server

    return serve
