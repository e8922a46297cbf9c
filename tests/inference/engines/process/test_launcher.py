"""The launcher with small processes in the place of engines: they keep its rules and no more."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from inference.engines.process import launcher as launching
from inference.engines.process.client import EngineProcessClient
from inference.engines.process.launcher import EngineLauncher, engine_process_command
from inference.errors import EngineUnavailable
from tests.fakes import InlinePool
from tests.inference.engines.process.test_engine_process import until

ENGINE = """
import pathlib, socket, sys, os
folder, listening, launcher = sys.argv[1:]
launcher = socket.socket(fileno=int(launcher))
(pathlib.Path(folder) / f"{os.getpid()}.started").touch()
if not launcher.recv(1):
    sys.exit(0)
(pathlib.Path(folder) / f"{os.getpid()}.serves").touch()
launcher.sendall(b"\\n")
launcher.recv(1)
"""
REFUSES = """
import socket, sys
launcher = socket.socket(fileno=int(sys.argv[3]))
launcher.recv(1)
launcher.sendall(b"there is no device")
sys.exit(3)
"""

Start = Callable[[str], EngineLauncher]


@pytest.fixture
async def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    monkeypatch.setattr(launching, "STANDBY_AFTER_S", 0.05)
    launchers: list[EngineLauncher] = []

    def start(program: str) -> EngineLauncher:
        def command(listening: int, launcher: int) -> list[str]:
            return [sys.executable, "-c", program, str(tmp_path), str(listening), str(launcher)]

        launchers.append(EngineLauncher(command))
        launchers[-1].start()
        return launchers[-1]

    yield start
    for launcher in launchers:
        await launcher.stop()


async def marks(folder: Path, kind: str, count: int) -> set[int]:
    """The processes that came so far, once there are so many."""

    def processes() -> set[int]:
        return {int(path.stem) for path in folder.glob(f"*.{kind}")}

    await until(lambda: len(processes()) >= count, 30)
    return processes()


async def test_a_second_process_stands_by_and_serves_when_the_first_is_killed(
    start: Start, tmp_path: Path
) -> None:
    launcher = start(ENGINE)
    [first] = await marks(tmp_path, "serves", 1)
    assert launcher.pid == first
    [second] = await marks(tmp_path, "started", 2) - {first}
    assert await marks(tmp_path, "serves", 1) == {first}
    os.kill(first, signal.SIGKILL)
    assert await marks(tmp_path, "serves", 2) == {first, second}
    assert launcher.pid == second
    [third] = await marks(tmp_path, "started", 3) - {first, second}
    await launcher.stop()
    for process in (second, third):
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


async def test_none_stands_by_before_the_first_serves(start: Start, tmp_path: Path) -> None:
    start(ENGINE.replace('launcher.sendall(b"\\n")', ""))
    await marks(tmp_path, "serves", 1)
    await asyncio.sleep(1.0)
    assert len(await marks(tmp_path, "started", 1)) == 1


async def test_what_an_engine_says_before_it_gives_up_reaches_runtimes(
    start: Start,
) -> None:
    launcher = start(REFUSES)
    client = EngineProcessClient(launcher.address, pool=InlinePool(), version="1")
    with pytest.raises(EngineUnavailable, match="there is no device"):
        await asyncio.wait_for(client.connect(), 30)
    assert client.state().is_lost
    await client.close()


async def test_a_process_that_dies_repeatedly_is_given_up(start: Start) -> None:
    launcher = start("import sys; sys.exit(7)")
    client = EngineProcessClient(launcher.address, pool=InlinePool(), version="1")
    with pytest.raises(EngineUnavailable, match="5 times within 30 s, the last time with status 7"):
        await asyncio.wait_for(client.connect(), 60)
    await client.close()


async def test_processes_end_with_the_launcher_s_socket(tmp_path: Path) -> None:
    """As when the launcher is killed: both ends close without a word."""
    ours, theirs = socket.socketpair()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ENGINE, str(tmp_path), "0", str(theirs.fileno())),
        pass_fds=[theirs.fileno()],
    )
    theirs.close()
    await marks(tmp_path, "started", 1)
    ours.close()
    with contextlib.suppress(TimeoutError):
        assert await asyncio.wait_for(process.wait(), 30) == 0


def test_the_command_line_names_device_and_sockets() -> None:
    command = engine_process_command(Path("/srv/manage.py"), "cuda:1")
    assert list(command(3, 4)) == [
        *(sys.executable, "/srv/manage.py", "run_engine"),
        *("--device", "cuda:1", "--sockets", "3,4"),
    ]
