"""A process that was forked is what it would be if it had been started by hand."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import ROOT, Process

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked"),
]

SAYS_WHAT_IT_IS = """
import atexit, os, signal, sys, threading
import __main__
project = {"avatars_app", "benchmarks", "inference", "musetalk_site", "streaming"}
print(sys.argv[1:], os.getcwd(), os.environ["WORD"], __name__, __main__.__file__)
print(sys.path, open("/proc/self/cmdline").read().replace("\\0", " ").strip())
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
print(signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGCHLD))
print(threading.active_count(), len(os.listdir("/proc/self/fd")), os.getsid(0))
print(sorted(project & {name.split(".")[0] for name in sys.modules}))
print("twisted.internet.reactor" in sys.modules)
atexit.register(print, "at the end")
"""


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_ends_it_and_is_known(tmp_path: Path, signal_number: signal.Signals) -> None:
    script = tmp_path / "script.py"
    # A signal just before a sleep does not end it, wherever it comes from.
    script.write_text("import time\nprint('begun')\nwhile True:\n    time.sleep(0.1)")
    process = Process(str(script))
    process.wait_for("begun")
    assert process.is_running
    assert process.end(signal_number) == -signal_number
    assert not process.is_running


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Take SIGINT as a terminal does; in the background of a shell it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_it_is_as_if_started_by_hand(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SAYS_WHAT_IT_IS + "sys.exit(7)")
    forked, by_hand = (
        Process(str(script), "a", "b c", env={"WORD": "ä"}, is_forked=is_forked)
        for is_forked in (True, False)
    )
    assert forked.wait() == by_hand.wait() == 7
    assert forked.output == by_hand.output
    first, *_, last = forked.output.splitlines()
    assert first == f"['a', 'b c'] {ROOT} ä __main__ {script}"
    assert last == "at the end"


def test_what_goes_wrong_is_said_and_known(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("1 / 0")
    process = Process(str(script))
    assert process.wait() == 1
    assert process.output.endswith("ZeroDivisionError: division by zero\n")


def test_what_sets_python_up_is_not_forked(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import sys\nprint(sys.warnoptions, 'numpy' in sys.modules)")
    process = Process(str(script), env={"PYTHONWARNINGS": "error"})
    assert process.wait() == 0
    assert process.output == "['error'] False\n"
    process = Process("-c", "import os; print(os.getppid())")
    assert process.wait() == 0
    assert process.output == f"{os.getpid()}\n"
