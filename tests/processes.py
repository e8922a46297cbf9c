"""Real processes for tests: started, waited for, and never left behind."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from tests.forked_processes import ForkedProcess

ROOT = Path(__file__).resolve().parent.parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_superuser(database_url: str, name: str, password: str) -> None:
    """Make an account that may do everything in the admin."""
    making = Process(
        *("manage.py", "createsuperuser", "--noinput", "--username", name, "--email", ""),
        env={
            "DJANGO_SETTINGS_MODULE": "musetalk_site.settings",
            "DATABASE_URL": database_url,
            "DJANGO_SUPERUSER_PASSWORD": password,
        },
    )
    assert making.wait(60) == 0, making.output
    making.kill()


OF_THE_INTERPRETER = ("PYTHON", "OPENBLAS_", "OMP_", "MALLOC_", "LD_")
"""How variables begin that are read before the first line of a script."""


class Process:
    """A Python process of the project; its output is collected as it comes."""

    def __init__(
        self, *arguments: str, env: Mapping[str, str] | None = None, is_forked: bool = True
    ) -> None:
        """Start it.

        Args:
            arguments: Python's own.
            env: What it is given beside the tests' own environment.
            is_forked: Whether libraries may have been imported before, as `forked_processes` does.
                What sets Python itself up, or is no script, is started as by hand in any case.
        """
        self.output = ""
        self.env = dict(env or {})
        self._is_over = False
        self._news = threading.Condition()
        whole = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **self.env}
        is_script = arguments[0].endswith(".py") and sys.platform == "linux"
        is_plain = not any(name.startswith(OF_THE_INTERPRETER) for name in self.env)
        ours, theirs = os.pipe()
        self._child: ForkedProcess | subprocess.Popen[bytes]
        if is_forked and is_script and is_plain:
            self._child = ForkedProcess(arguments, whole, theirs)
        else:
            command = [sys.executable, *arguments]
            self._child = subprocess.Popen(
                command, cwd=ROOT, env=whole, stdout=theirs, stderr=theirs
            )
        os.close(theirs)
        self.pid = self._child.pid
        self._reader = threading.Thread(target=self._collect, args=(ours,), daemon=True)
        self._reader.start()

    def _collect(self, output: int) -> None:
        with open(output, errors="replace") as lines:
            for line in lines:
                with self._news:
                    self.output += line
                    self._news.notify_all()
        with self._news:
            self._is_over = True
            self._news.notify_all()

    def wait_for(self, words: str, timeout_s: float = 30.0) -> None:
        """Wait until the process has said ``words``."""
        with self._news:
            self._news.wait_for(lambda: words in self.output or self._is_over, timeout_s)
            assert words in self.output, f"never said {words!r}:\n{self.output}"

    @property
    def is_running(self) -> bool:
        return self._child.poll() is None

    def send(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = 15.0) -> int:
        """Send the signal, wait, and return the exit status."""
        self.send(number)
        return self.wait(timeout_s)

    def wait(self, timeout_s: float = 15.0) -> int:
        status = self._child.wait(timeout_s)
        self._reader.join(5)
        return status

    def kill(self) -> None:
        """Make sure that it is gone."""
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait()
        self._reader.join(5)  # longer only if a process that it started still writes

    def memory_bytes(self) -> int:
        """Resident memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
