"""What each process of a server holds at a moment: memory, descriptors, sockets, threads, tasks.

Tasks are what the event loops say at `/metrics`, all others what the kernel says.
"""

import re
import urllib.request
from dataclasses import dataclass

import psutil

from benchmarks.server import Server, app_number
from musetalk_site.processes.fork_server import FORK_SERVER_TITLE

METRICS_WITHIN_S = 120.0
"""A machine that is busy with other work may take long."""
_TASKS = re.compile(r'^talking_avatar_process_tasks\{process="[^"]*:(\d+)"\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Held:
    """What one process holds."""

    pid: int
    name: str
    memory_bytes: int
    """Resident and its own: pages that it shares with others are not counted twice."""
    descriptors: int
    sockets: int
    threads: int
    tasks: int

    def __str__(self) -> str:
        return (
            f"{self.name} {self.memory_bytes / 2**20:.1f} MiB, {self.descriptors} descriptors, "
            f"{self.sockets} sockets, {self.threads} threads, {self.tasks} tasks"
        )


def held_by(server: Server, *, asks_for_tasks: bool = True) -> list[Held]:
    """Return what all processes of the server hold now, oldest first.

    Args:
        server: On this machine. Those of its processes that just end are left out.
        asks_for_tasks: Whether it is asked for its tasks, which costs it a request.
    """
    assert server.tree is not None
    tasks = _tasks(server) if asks_for_tasks else {}
    held = []
    for process in sorted(server.tree.processes(), key=psutil.Process.create_time):
        try:
            with process.oneshot():
                memory = process.memory_full_info()
                held.append(
                    Held(
                        process.pid,
                        _name(process),
                        memory.uss,
                        process.num_fds(),
                        len(process.net_connections("all")),
                        process.num_threads(),
                        tasks.get(process.pid, 0),
                    )
                )
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return held


def _name(process: psutil.Process) -> str:
    """What a process does, by its command line."""
    if (number := app_number(process)) is not None:
        return f"app {number}"
    arguments = process.cmdline()
    if " ".join(arguments).startswith(FORK_SERVER_TITLE):
        return "fork server"
    if "run_engine" in arguments:
        return "engine"
    commands = [argument for argument in arguments if argument in ("serve", "runworker")]
    return commands[0] if commands else "other"


def _tasks(server: Server) -> dict[int, int]:
    """Return the tasks by process id."""
    page = server.address.replace("ws", "http", 1) + "/metrics"
    with urllib.request.urlopen(page, timeout=METRICS_WITHIN_S) as answer:
        text = answer.read().decode()
    return {int(pid): int(float(count)) for pid, count in _TASKS.findall(text)}
