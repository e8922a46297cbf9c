"""Several app processes behind one port, real ones: placed, superseded, killed, ended."""

import asyncio
import base64
import json
import re
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import websockets

from benchmarks.server import app_processes as processes_of
from benchmarks.server import new_database
from tests.e2e.conftest import Serve
from tests.e2e.talking import Server, Stream
from tests.media import assert_decodes

pytestmark = pytest.mark.lasting

COUNT = 3
SLEEP_S = 12.0


@pytest.fixture
def server(share: Serve) -> Server:
    return share(PROCESSES=str(COUNT))


@pytest.fixture
def own_server(serve: Serve) -> Server:
    """One that the test may end."""
    running = serve(PROCESSES="2")
    running.wait_until_it_takes_sessions()
    return running


def app_processes(server: Server) -> list[psutil.Process]:
    return list(processes_of(server.process.pid).values())


def sessions(server: Server) -> dict[str, dict[str, Any]]:
    return json.loads(server.get("/sessions")[1])["active_sessions"]


async def until(holds: Callable[[], bool], within_s: float = 20.0) -> None:
    end_s = time.monotonic() + within_s
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < end_s
        await asyncio.sleep(0.1)


@asynccontextmanager
async def streams(server: Server, count: int) -> AsyncIterator[list[Stream]]:
    async with AsyncExitStack() as stack:
        opened = [
            await stack.enter_async_context(server.stream(f"user{number}"))
            for number in range(count)
        ]
        await asyncio.gather(*(stream.frames(2) for stream in opened))
        try:
            yield opened
        finally:
            for stream in opened:  # a farewell would wait for frames that nobody reads
                stream.socket.transport.abort()


async def test_streams_are_spread_and_any_process_knows_all(server: Server) -> None:
    async with streams(server, 2 * COUNT) as opened:
        for _ in range(5):  # by whichever process accepts the connection
            seen = await asyncio.to_thread(sessions, server)
            assert set(seen) == {stream.session_id for stream in opened}
        workers = Counter(described["worker"] for described in seen.values())
        assert sorted(workers.values()) == [2] * COUNT, workers
        decoded = await asyncio.gather(*(stream.frames(10) for stream in opened))
        for frames in decoded:
            numbers = [frame["frame_timestamp"] // 40 for frame in frames]
            assert numbers == list(range(numbers[0], numbers[0] + 10))


async def test_the_newer_connection_wins_in_whichever_process(server: Server) -> None:
    for _ in range(2 * COUNT):
        async with server.stream("ann") as older:
            await older.frames(1)
            async with server.stream("ann", older.session_id) as newer:
                await newer.frames(1)
                messages, code = await asyncio.wait_for(older.end(), 5)
                assert code == 4409, messages[-1:]
                await newer.frames(5)
            async with server.stream("bob", older.session_id) as other:
                message = await other.next()
                if message["type"] == "ERROR":  # ann's session may not have ended everywhere yet
                    assert message["data"]["code"] == "INVALID_SESSION"


async def test_another_users_session_is_safe_in_every_process(server: Server) -> None:
    async with server.stream("ann") as anns:
        await anns.frames(1)
        for _ in range(2 * COUNT):
            async with server.stream("bob", anns.session_id) as bobs:
                message = await bobs.next()
                assert message["data"]["code"] == "INVALID_SESSION", message
        await anns.frames(5)


async def test_a_connection_that_asked_for_pages_before_becomes_a_stream(server: Server) -> None:
    """Proxies keep connections alive: pages, then an upgrade, on one connection."""
    for _ in range(COUNT):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await asyncio.to_thread(_read_answer, connection)
            connection.setblocking(False)
            uri = f"{server.address}/musetalk/v1/ws/keptalive"
            async with websockets.connect(uri, sock=connection.dup(), max_size=None) as ws:
                stream = Stream(ws)
                await stream.send("INIT", user_id="keptalive")
                await stream.frames(3)


def _read_answer(connection: socket.socket) -> None:
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65_536)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1])
    while len(body) < length:
        body += connection.recv(65_536)


async def test_a_killed_process_is_replaced_and_costs_its_own_sessions_only(server: Server) -> None:
    async with streams(server, 2 * COUNT) as opened:
        before = await asyncio.to_thread(sessions, server)
        victim = app_processes(server)[0]
        lost = [s for s in opened if before[s.session_id]["worker"].endswith(f":{victim.pid}")]
        assert 0 < len(lost) < len(opened)  # two, unless one of the tests before is still counted
        victim.kill()
        for stream in lost:
            await asyncio.wait_for(stream.end(), 5)
        for stream in opened:
            if stream not in lost:
                await stream.frames(10)
        ids = {stream.session_id for stream in lost}
        await until(lambda: not ids & set(sessions(server)), within_s=5)  # its history is closed
        await until(lambda: "takes sessions" in server.process.output.partition("starting ano")[2])
        assert len(app_processes(server)) == COUNT


async def test_a_process_that_dies_with_a_new_connection_costs_it_nothing(server: Server) -> None:
    starts = server.process.output.count("takes sessions")
    async with server.stream("ann") as stream:
        await stream.frames(2)
        worker = sessions(server)[stream.session_id]["worker"]
        owner = psutil.Process(int(str(worker).rpartition(":")[2]))
        owner.suspend()
        try:
            uri = f"{server.address}/musetalk/v1/ws/ann?session={stream.session_id}"

            async def connect() -> websockets.ClientConnection:
                return await websockets.connect(uri)

            connecting = [asyncio.create_task(connect()) for _ in range(3)]
            await asyncio.wait(connecting, timeout=0.5)
            assert not any(each.done() for each in connecting), "they were sent to the owner"
        finally:
            owner.kill()
        stream.socket.transport.abort()
        for each in connecting:
            connection = await asyncio.wait_for(each, 10)
            connection.transport.abort()
    await until(lambda: server.process.output.count("takes sessions") > starts)


async def test_a_machine_that_sleeps_continues_in_step(server: Server) -> None:
    """All of the server stands still for longer than its watchdog waits for a loop."""
    main = psutil.Process(server.process.pid)
    async with server.stream("ann") as stream, server.stream("bob") as other:
        before = (await stream.frames(10))[-1]["frame_timestamp"]
        await other.frames(10)
        everything = [*main.children(recursive=True), main]
        for process in everything:
            process.suspend()
        await asyncio.sleep(SLEEP_S)
        for process in everything:
            process.resume()
        woken_s = time.monotonic()
        frames = []
        while time.monotonic() < woken_s + 4:
            frames += await stream.frames(1)
            await other.frames(1)
        assert len(frames) <= 4 * 25 + 15, "no burst of what was missed"
        assert frames[-1]["frame_timestamp"] - before > 1_000 * SLEEP_S
        newer = [frame for frame in frames if frame["frame_timestamp"] > before + 1_000 * SLEEP_S]
        assert_decodes([base64.b64decode(frame["frame_data"]) for frame in newer])
        assert len(app_processes(server)) == COUNT


def test_what_forks_has_one_thread(serve: Serve) -> None:
    """Threads of libraries count: what they hold at a fork stays held in the new process."""
    server = serve(PROCESSES="2", OPENBLAS_NUM_THREADS="4", PYTHONWARNINGS="default")
    supervisor = psutil.Process(server.process.pid)
    (forks,) = supervisor.children()
    assert (supervisor.num_threads(), forks.num_threads()) == (1, 1)
    server.wait_until_it_takes_sessions()
    assert "multi-threaded" not in server.process.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_the_end_of_all_is_orderly(own_server: Server, number: signal.Signals) -> None:
    server = own_server
    async with streams(server, 2) as opened:
        children = app_processes(server)
        server.process.send(number)
        for stream in opened:
            messages, code = await asyncio.wait_for(stream.end(), 5)
            assert (messages[-1]["type"], code) == ("CLOSE_ACK", 4012)
        assert await asyncio.to_thread(server.process.wait) == 0
        assert not any(child.is_running() for child in children)
        assert "Traceback" not in server.process.output


async def test_a_killed_supervisor_leaves_no_process_behind(own_server: Server) -> None:
    server = own_server
    children = app_processes(server)
    server.process.send(signal.SIGKILL)
    await asyncio.to_thread(psutil.wait_procs, children, 10)
    assert not any(child.is_running() for child in children)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", server.port)) != 0


async def test_without_the_fork_server_all_end_and_the_reason_is_said(own_server: Server) -> None:
    server = own_server
    (forks,) = psutil.Process(server.process.pid).children()
    children = app_processes(server)
    forks.kill()
    assert await asyncio.to_thread(server.process.wait) == 1
    assert "the process that starts the others ended" in server.process.output
    await asyncio.to_thread(psutil.wait_procs, children, 10)
    assert not any(child.is_running() for child in children)


async def test_a_stop_before_the_processes_run_ends_them(start: Any, tmp_path: Path) -> None:
    process = start(
        *("manage.py", "serve", "--host", "127.0.0.1", "--port", "0", "--processes", "2"),
        DATABASE_URL=new_database(tmp_path),
    )
    process.wait_for("starting 2 processes")
    process.send(signal.SIGTERM)
    assert process.wait(20) == 0
    assert "killed" not in process.output
    assert "Traceback" not in process.output


def test_processes_that_cannot_start_end_the_command(start, tmp_path):
    process = start(
        *("manage.py", "serve", "--host", "127.0.0.1", "--port", "0", "--processes", "2"),
        DATABASE_URL=new_database(tmp_path),
        ENGINE="musetalk",
        MODEL_PATH=str(tmp_path),
    )
    assert process.wait(100) == 1
    assert re.search(r"process \d ended 5 times before it was ready", process.output)
    assert "ENGINE=musetalk, but" in process.output
