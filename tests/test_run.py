"""What runs the tests: groups side by side, and a folder for all that they leave."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import run
from tests.run import Group

PYTHON = (sys.executable, "-c")


@pytest.fixture
def run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand for the system's folder of temporary files."""
    for name in ("TMPDIR", run.FOLDER_OF_RUN):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr(run.tempfile, "tempdir", None)
    return tmp_path


def test_what_processes_leave_is_removed(run_folder: Path) -> None:
    leave = "import tempfile; print(tempfile.mkdtemp())"
    with run.shared_folder():
        left = subprocess.run([*PYTHON, leave], capture_output=True, text=True, check=True).stdout
        assert Path(left.strip()).is_dir()
        assert Path(left.strip()).is_relative_to(run_folder)
    assert list(run_folder.iterdir()) == []


@pytest.mark.parametrize("is_written", [False, True])
def test_processes_share_their_byte_code(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch, *, is_written: bool
) -> None:
    module = run_folder / "module.py"
    module.write_text("")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "" if is_written else "1")
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", "")
    monkeypatch.setattr(run, "BYTE_CODE", run_folder / "byte-code")
    say_where = "import module, os; print(module.__cached__, os.path.exists(module.__cached__))"
    with run.shared_folder():
        environment = {**os.environ, "PYTHONPATH": str(run_folder)}
        said = subprocess.run(
            [*PYTHON, say_where], env=environment, capture_output=True, text=True, check=True
        ).stdout
    path, is_there = said.split()
    assert is_there == "True"
    assert Path(path).is_relative_to(run_folder / "__pycache__") == is_written


def test_processes_share_a_migrated_database(run_folder: Path) -> None:
    make = "import benchmarks.server as it; print(it._migrated_database())"
    with run.shared_folder():
        begun = [
            subprocess.Popen([*PYTHON, make], cwd=run.ROOT, stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        (one, _), (other, _) = (process.communicate() for process in begun)
        assert one == other
        assert Path(one.strip()).parent.parent == run_folder
        assert Path(one.strip()).stat().st_size > 0


def test_the_next_is_of_a_kind_of_which_few_run() -> None:
    groups = [Group(name, (), gives_way=name == "c") for name in "abc"]
    a, b, c = groups
    try:
        assert run.next_to_start([b, c], [a], most={False: 2, True: 1}) is b
        assert run.next_to_start([b, c], [a], most={False: 1, True: 1}) is c
        assert run.next_to_start([b, c], [a], most={False: 1, True: 0}) is None
    finally:
        for group in groups:
            group.stop()


def test_others_wait_for_what_the_first_compiles(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    first = f"""
import pathlib, time
assert not pathlib.Path({str(begun)!r}).exists()
print("collected 1 item", flush=True)
while not pathlib.Path({str(begun)!r}).exists():
    time.sleep(0.01)
"""
    second = f"import pathlib; pathlib.Path({str(begun)!r}).touch()"
    _, is_broken = run.run([Group("first", (*PYTHON, first)), Group("second", (*PYTHON, second))])
    assert not is_broken


def test_a_report_ends_with_the_processor_time_of_all(capfd: pytest.CaptureFixture[str]) -> None:
    compute = "import time\nwhile time.process_time() < 1: pass"
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {compute!r}])"
    said, is_broken = run.run([Group("busy", (*PYTHON, nested))])
    assert not is_broken
    assert "0 s of processor time" not in said
    assert said in capfd.readouterr().out


def test_a_group_that_is_stopped_cleans_up(tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    code = f"""
import signal, sys, pathlib
signal.signal(signal.SIGINT, signal.default_int_handler)
print("begun", flush=True)
try:
    signal.pause()
except KeyboardInterrupt:
    pathlib.Path({str(ended)!r}).touch()
"""
    group = Group("patient", (*PYTHON, code))
    group.start()
    while not group.said:
        assert not group.has_ended()
    group.stop()
    assert ended.exists()
    assert not group.log.exists()
