"""A process whose event loop stands still is ended, and one whose loop runs is not."""

import signal
import time

import pytest

from musetalk_site.watchdog import EXIT_STATUS
from tests.processes import Process

PROGRAM = """
import asyncio, time
from musetalk_site.watchdog import Watchdog

def hang():
    {hang}

async def main():
    watchdog = Watchdog(limit_s=0.5)
    watchdog.start()
    print("watching", flush=True)
    await asyncio.sleep(1.5)
    hang()
    watchdog.stop()
    time.sleep(1)
    print("ended", flush=True)

asyncio.run(main())
"""


@pytest.fixture
def run():
    processes = []

    def run(hang: str) -> Process:
        processes.append(Process("-c", PROGRAM.format(hang=hang)))
        processes[-1].wait_for("watching")
        return processes[-1]

    yield run
    for process in processes:
        process.kill()


@pytest.mark.parametrize("hang", ["time.sleep(30)", "while True: pass"])
def test_a_loop_that_hangs_ends_the_process_and_shows_where(run, hang: str) -> None:
    process = run(hang)
    assert process.wait(10) == EXIT_STATUS
    assert "the event loop has not run for 0.5 s" in process.output
    assert "in hang" in process.output
    assert "ended" not in process.output


def test_a_loop_that_runs_is_left_alone_until_it_ends(run) -> None:
    process = run("pass")
    assert process.wait(10) == 0, process.output
    assert process.output == "watching\nended\n"


def test_a_process_that_was_stopped_as_a_whole_continues(run) -> None:
    process = run("pass")
    process.send(signal.SIGSTOP)
    time.sleep(2)
    process.send(signal.SIGCONT)
    assert process.wait(10) == 0, process.output
