"""The README's commands, word for word, in a copy of the project in another folder."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from musetalk_site import install
from tests.processes import ROOT, free_port
from tests.test_readme import blocks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.lasting,
    pytest.mark.skipif(
        any(shutil.which(tool) is None for tool in ("make", "git", "curl")),
        reason="needs make, git and curl",
    ),
]

SHELL = blocks("sh")
RUN, TALK, PREPARE, REDIS, TEST = range(5)
"""The blocks of the README; `make test` is what runs this."""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project in a folder with a space in its name, with what `make run` installs."""
    folder = tmp_path_factory.mktemp("a folder") / "talking avatar"
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is no git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    venv = folder / ".venv"
    venv.mkdir()
    for part in ("bin", "lib", "pyvenv.cfg"):
        (venv / part).symlink_to(Path(sys.prefix) / part)
    installed = install.digests([folder / "requirements-core.txt"])
    (venv / "installed.json").write_text(json.dumps(installed))
    return folder


class Terminal:
    """A shell in which a person typed commands; Ctrl-C reaches all that it runs."""

    def __init__(self, text: str, folder: Path, variables: Mapping[str, str]) -> None:
        names = ("PATH", "HOME", "LANG")
        env = {name: os.environ[name] for name in names if name in os.environ}
        self.output = ""
        self._news = threading.Condition()
        self._shell = subprocess.Popen(
            ["sh", "-c", text],
            cwd=folder,
            env={**env, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # A shell ignores it for tests in the background, and children would inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._shell.stdout is not None
        for line in self._shell.stdout:
            with self._news:
                self.output += line
                self._news.notify_all()

    def wait_for(self, words: str) -> None:
        with self._news:
            self._news.wait_for(lambda: words in self.output or not self._reader.is_alive(), 60)
        assert words in self.output, self.output

    def press_ctrl_c(self) -> int:
        os.killpg(self._shell.pid, signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        status = self._shell.wait(90)
        self._reader.join(5)
        return status

    def close(self) -> None:
        if self._shell.poll() is None:
            os.killpg(self._shell.pid, signal.SIGKILL)
            self.wait()
        assert self._shell.stdout is not None
        self._shell.stdout.close()


@pytest.fixture
def terminal(copy: Path) -> Iterator["OpenTerminal"]:
    opened = OpenTerminal(copy)
    yield opened
    for each in opened.terminals:
        each.close()


class OpenTerminal:
    """Opens terminals in the copy, with the README's port exchanged for a free one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = str(free_port())
        self.terminals: list[Terminal] = []

    def __call__(self, text: str, **variables: str) -> Terminal:
        text = text.replace("localhost:8000", f"localhost:{self.port}")
        given = {"HOST": "127.0.0.1", "PORT": self.port, "PROCESSES": "1", **variables}
        self.terminals.append(Terminal(text, self.folder, given))
        return self.terminals[-1]


def assert_spoken(talking: Terminal) -> None:
    """All of the sample was shown; on a busy machine the status is 1 for a mouth that was late."""
    status = talking.wait()
    assert re.search(r"^of them with speech +2\d\d$", talking.output, re.MULTILINE), talking.output
    assert status == 0 or "too busy" in talking.output, talking.output


def test_two_commands_and_an_upload(terminal: OpenTerminal) -> None:
    serving = terminal(SHELL[RUN])
    serving.wait_for("takes sessions")
    assert len(serving.output.splitlines()) < 15, "one line a step"

    talking = terminal(SHELL[TALK])
    assert_spoken(talking)
    video = terminal.folder / "out.mp4"
    assert video.stat().st_size > 100_000

    video.rename(terminal.folder / "me.mp4")
    sending, asking = (terminal(line) for line in SHELL[PREPARE].splitlines())
    assert (sending.wait(), asking.wait()) == (0, 0)
    assert '"user_id":"me"' in sending.output, sending.output
    again = terminal(SHELL[PREPARE].splitlines()[1])
    again.wait()
    assert '"percent":' in again.output, again.output

    status = serving.press_ctrl_c()
    assert "ended" in serving.output
    assert "Traceback" not in serving.output
    assert status in {0, 2, -signal.SIGINT, 128 + signal.SIGINT}


def test_processes_over_redis(terminal: OpenTerminal, redis_url: str) -> None:
    *lines, serve, work = (
        line.replace("redis://localhost:6379/0", redis_url) for line in SHELL[REDIS].splitlines()
    )
    setting_up = terminal("\n".join(lines))
    assert setting_up.wait() == 0, setting_up.output
    (export,) = [line for line in lines if line.startswith("export ")]
    serving = terminal(f"{export}\nexec {serve}")
    working = terminal(f"{export}\nexec {work}")
    working.wait_for("takes sessions")
    serving.wait_for("serving on")
    talking = terminal(SHELL[TALK].replace("--user-id me", "--user-id ann"))
    assert_spoken(talking)
    for process in (serving, working):
        assert process.press_ctrl_c() == 0, process.output
        assert "Traceback" not in process.output


def test_the_program_runs_anywhere(terminal: OpenTerminal, tmp_path: Path) -> None:
    serving = terminal(SHELL[RUN])
    serving.wait_for("takes sessions")
    (code,) = blocks("python")
    program = tmp_path / "example.py"
    code = code.replace("localhost:8000", f"localhost:{terminal.port}").replace('"me"', '"ann"')
    program.write_text(code)
    done = subprocess.run(
        [sys.executable, program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(terminal.folder / "clients" / "python" / "src")},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("1000 False\n", "")


def test_every_block_is_tried() -> None:
    assert len(SHELL) == TEST + 1
    first_words = [shlex.split(block)[:2] for block in SHELL]
    assert first_words[RUN] == ["make", "run"]
    assert first_words[TALK][1] == "manage.py"
    assert first_words[PREPARE][0] == "curl"
    assert first_words[REDIS][0] == "python3"
    assert first_words[TEST] == ["make", "test"]
