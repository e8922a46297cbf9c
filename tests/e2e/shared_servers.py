"""Servers that several tests use, one for all that want the same."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks.server import new_database
from tests.e2e.talking import SETTINGS, Server, start_server
from tests.processes import Process

MOST = 6
"""So many run at once. The one that was asked for longest ago ends first, but never `PLAIN`."""

Key = tuple[tuple[str, ...], frozenset[tuple[str, str]]]
PLAIN: Key = ((), frozenset(SETTINGS.items()))
"""The one with the settings as they are, which most tests use without asking again. It starts as by
hand, with nothing imported before."""


class SharedServers:
    """Running servers by their arguments and variables."""

    def __init__(self, new_folder: Callable[[], Path]) -> None:
        self._new_folder = new_folder
        self._running: dict[Key, Server] = {}

    def get(self, *arguments: str, **variables: str) -> Server:
        """Return the server that runs with these, or start it; it takes sessions."""
        variables = {**SETTINGS, **variables}
        key = (arguments, frozenset(variables.items()))
        server = self._running.pop(key, None)
        if server is None or not server.process.is_running:
            server = self._start(*arguments, **variables)
        self._running[key] = server
        if len(self._running) > MOST:
            self._end(next(key for key in self._running if key != PLAIN))
        return server

    def close(self) -> None:
        """End them all, then say what was wrong with some."""
        with ExitStack() as ends:
            for key in list(self._running):
                ends.callback(self._end, key)

    def _start(self, *arguments: str, **variables: str) -> Server:
        folder = self._new_folder()
        is_plain = (arguments, frozenset(variables.items())) == PLAIN
        variables.setdefault("AVATARS_DIR", str(folder / "avatars"))
        if "DATABASE_URL" not in variables:
            variables["DATABASE_URL"] = new_database(folder)

        def start(*command: str, **environment: str) -> Process:
            return Process(*command, env=environment, is_forked=not is_plain)

        server = start_server(start, *arguments, **variables)
        try:
            server.wait_until_it_takes_sessions()
        except BaseException:
            server.process.kill()
            raise
        return server

    def _end(self, key: Key) -> None:
        process = self._running.pop(key).process
        try:
            status = process.end()
        finally:
            process.kill()
        assert status == 0, process.output[-5_000:]
        fault = process.output.find("Traceback")
        assert fault < 0, process.output[max(0, fault - 2_000) : fault + 5_000]
