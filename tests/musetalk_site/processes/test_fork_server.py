"""Processes that are really forked, by programs of their own: this one has threads."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from tests.processes import ROOT

pytestmark = pytest.mark.slow

HEAD = """
import asyncio, json, os, signal, sys, time
import psutil
from musetalk_site.processes.control import control_pair
from musetalk_site.processes.fork_server import ForkServer, ForkServerEnded

def tell(**what):
    print(json.dumps(what), flush=True)
"""


def told(program: str, status: int = 0) -> list[dict[str, object]]:
    """What a program told, line by line."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", HEAD + textwrap.dedent(program)],
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "4"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == status, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_a_process_has_its_socket_and_what_was_imported_and_how_it_ended_is_known() -> None:
    said = told(
        """
        def run(number, control, engines):
            os.write(control, b"here")
            tell(
                number=number,
                engines=engines,
                imported="colorsys" in sys.modules,
                title=" ".join(psutil.Process().cmdline()).strip(),
                leads=os.getsid(0) == os.getpid(),
                open=len(os.listdir("/proc/self/fd")) - 1,  # but for the one that lists them
            )
            if number == 8:
                os.kill(os.getpid(), signal.SIGKILL)
            sys.exit(3)

        async def main(forks):
            forks.start()
            for number in (7, 8):
                ours, theirs = control_pair()
                child = await forks.fork(number, theirs, ["/run/engine"])
                theirs.close()
                status = await child.wait()
                tell(received=ours.recv(9).decode(), status=status)
            forks.close()

        assert "colorsys" not in sys.modules
        asyncio.run(main(ForkServer(run, imports=["colorsys"])))
        """
    )
    begun, ended = said[::2], said[1::2]
    common = {"engines": ["/run/engine"], "imported": True, "leads": True, "open": 4}
    assert begun == [
        {"number": n, "title": f"manage.py serve: app process {n}", **common} for n in (7, 8)
    ]
    assert ended == [{"received": "here", "status": status} for status in (3, -9)]


def test_what_is_imported_holds_nothing_that_is_one_processs_own() -> None:
    (said,) = told(
        """
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "musetalk_site.settings")
        import importlib
        from inference import process_settings
        from musetalk_site.processes.fork_server import APP_IMPORTS

        with process_settings.starting_no_threads():  # as manage.py does
            import django
            django.setup()
        for name in APP_IMPORTS:
            importlib.import_module(name)
        from channels.layers import channel_layers
        from django.db import connections
        files = [os.path.realpath(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd")]
        tell(
            layers=list(channel_layers.backends),
            threads=psutil.Process().num_threads(),  # those of libraries, too
            connections=[each.alias for each in connections.all() if each.connection],
            loops=[each for each in files if "eventpoll" in each],
            reactor="twisted.internet.reactor" in sys.modules,
        )
        """
    )
    assert said == {
        "layers": [],
        "threads": 1,
        "connections": [],
        "loops": [],
        "reactor": False,
    }


def test_python_warns_of_no_threads_whatever_the_priority() -> None:
    """It did in one that gives way: of the numbers in /proc, it took the priority's."""
    program = """
        import warnings

        async def main(forks):
            forks.start()
            child = await forks.fork(1, control_pair()[1], [])
            tell(status=await child.wait())
            forks.close()

        os.nice(5)
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", category=ResourceWarning)  # of the sockets of this test
        warnings.showwarning = lambda message, *_, **__: tell(warned=str(message))
        asyncio.run(main(ForkServer(lambda *_: None, imports=["numpy"])))
        """
    assert told(program) == [{"status": 0}]


def test_signals_to_all_leave_the_fork_server_and_reach_processes_that_just_began() -> None:
    said = told(
        """
        def run(number, control, engines):
            time.sleep(30)

        async def main(forks):
            forks.start()
            (server,) = psutil.Process().children()
            for signal_ in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
                server.send_signal(signal_)
                ours, theirs = control_pair()
                child = await forks.fork(1, theirs, [])
                child.signal(signal.SIGTERM)
                tell(status=await child.wait())
                child.signal(signal.SIGTERM)  # nobody else's
            forks.close()
            tell(left=len(psutil.Process().children(recursive=True)))

        asyncio.run(main(ForkServer(run, imports=[])))
        """
    )
    assert said == [*[{"status": -15}] * 3, {"left": 0}]


def test_what_goes_wrong_in_a_process_is_raised_there() -> None:
    program = """
        def run(number, control, engines):
            raise ValueError("no such thing")

        async def main(forks):
            forks.start()
            child = await forks.fork(1, control_pair()[1], [])
            tell(status=await child.wait())
            forks.close()

        try:
            forks = ForkServer(run, imports=[])
        except ValueError as error:
            tell(raised=str(error))
            raise
        asyncio.run(main(forks))
        """
    assert told(program) == [{"raised": "no such thing"}, {"status": 1}]


def test_a_fork_server_that_was_killed_is_noticed_where_something_waits() -> None:
    program = """
        def run(number, control, engines):
            os.read(control, 1)

        async def main(forks):
            forks.start()
            ours, theirs = control_pair()
            child = await forks.fork(1, theirs, [])
            (server,) = psutil.Process().children()
            server.kill()
            try:
                await child.wait()
            except ForkServerEnded as error:
                tell(said=str(error))
            try:
                await forks.fork(2, theirs, [])
            except ConnectionError:
                tell(more=False)
            forks.close()

        asyncio.run(main(ForkServer(run, imports=[])))
        """
    assert told(program) == [
        {"said": "the process that starts the others ended"},
        {"more": False},
    ]


def test_a_process_that_the_system_does_not_make_is_no_end_of_the_others() -> None:
    program = """
        from musetalk_site.processes.fork_server import ForkFailed

        real_fork, refused = os.fork, []

        def fork():
            if os.getppid() == supervisor and len(refused) < 1:
                refused.append(1)
                raise BlockingIOError(11, "Resource temporarily unavailable")
            return real_fork()

        def run(number, control, engines):
            sys.exit(5)

        async def main(forks):
            forks.start()
            try:
                await forks.fork(1, control_pair()[1], [])
            except ForkFailed as error:
                tell(said=str(error))
            child = await forks.fork(1, control_pair()[1], [])
            tell(status=await child.wait())
            forks.close()

        supervisor = os.getpid()
        os.fork = fork
        asyncio.run(main(ForkServer(run, imports=[])))
        """
    assert told(program) == [
        {"said": "[Errno 11] Resource temporarily unavailable"},
        {"status": 5},
    ]


def test_it_ends_with_a_supervisor_that_was_killed() -> None:
    program = """
        async def main(forks):
            forks.start()
            tell(pid=psutil.Process().children()[0].pid)
            os.kill(os.getpid(), signal.SIGKILL)

        asyncio.run(main(ForkServer(lambda *_: None, imports=[])))
        """
    (said,) = told(program, status=-9)
    subprocess.run(["tail", "--pid", str(said["pid"]), "-f", "/dev/null"], timeout=10, check=True)
