"""A real PostgreSQL server: several migrations at once, and a server whose database goes away."""

import asyncio
import base64
import json
import re
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from http.client import HTTPException
from itertools import pairwise
from typing import Any

import pytest
import websockets
from django.utils import timezone

from tests.e2e.conftest import Serve
from tests.e2e.talking import SETTINGS, Message, Server, Stream
from tests.media import assert_decodes, assert_pts_contiguous
from tests.postgresql import PostgresServer
from tests.processes import Process, free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

ENDS_WITHIN_S = 8.0
"""Under 5 s on a machine that is not busy; what waits for the database takes ten and more."""
NOTICED_WITHIN_S = 10.0
HEALS_WITHIN_S = 10.0
STALL_S = 0.5
"""Between two frames; a busy machine is allowed some of it."""
LOCK_ID = 0x6D757365
"""Of the lock that migrations take."""


@pytest.fixture
def empty(postgres: PostgresServer) -> str:
    """The name of an empty database."""
    return postgres.new_database()


@pytest.fixture(scope="module")
def migrated(postgres: PostgresServer) -> str:
    """The name of a database that others are copied from."""
    name = postgres.new_database()
    migrating = migrate(postgres.url(name))
    assert migrating.wait(100) == 0, migrating.output
    return name


@pytest.fixture
def database(postgres: PostgresServer, migrated: str) -> str:
    """The name of a migrated database."""
    return postgres.new_database(migrated)


@pytest.fixture
def rows(postgres: PostgresServer, database: str) -> Callable[[str], dict[str, Any]]:
    """Return one column of the history, by user."""

    def rows(column: str) -> dict[str, Any]:
        with postgres.connect(database) as connection:
            query = f"SELECT user_id, {column} FROM streaming_sessionrecord"
            return dict(connection.execute(query.encode()).fetchall())

    return rows


def migrate(url: str) -> Process:
    return Process(
        *("manage.py", "migrate", "--verbosity", "0"), env={**SETTINGS, "DATABASE_URL": url}
    )


@pytest.mark.lasting
def test_four_migrations_at_once(postgres: PostgresServer, empty: str) -> None:
    running = [migrate(postgres.url(empty)) for _ in range(4)]
    statuses = [process.wait(100) for process in running]
    assert statuses == [0] * 4, [process.output for process in running]
    with postgres.connect(empty) as connection:
        assert connection.execute("SELECT count(*) FROM streaming_sessionrecord").fetchone() == (0,)


def test_a_migration_says_in_one_sentence_that_there_is_no_database() -> None:
    migrating = migrate(f"postgres://avatar@127.0.0.1:{free_port()}/nothing")
    assert migrating.wait(60) == 1
    [line] = migrating.output.splitlines()
    assert line.startswith("CommandError: The database cannot be reached: connection failed")


FAILING = """
import time
import django
from django.core.management import CommandError, call_command
django.setup()
try:
    call_command("migrate", verbosity=0)
except CommandError as error:
    print("failed:", error)
time.sleep(60)
"""


def test_a_migration_waits_its_turn_and_one_that_fails_gives_it_up(
    postgres: PostgresServer, empty: str
) -> None:
    with postgres.connect(empty) as connection:
        connection.execute("CREATE TABLE streaming_doorprocess (id integer)")  # as before 0.2
        connection.execute("SELECT pg_advisory_lock(%s)", [LOCK_ID])
        migrating = Process(*("-c", FAILING), env={**SETTINGS, "DATABASE_URL": postgres.url(empty)})
        try:
            migrating.wait_for("Another migration is running")
            assert "failed" not in migrating.output
            connection.execute("SELECT pg_advisory_unlock(%s)", [LOCK_ID])
            migrating.wait_for("failed: This database is of a version before 0.2")
            assert migrating.is_running
            # The database learns a moment later that the connection which held it is gone.
            end_s = time.monotonic() + 5
            take = "SELECT pg_try_advisory_lock(%s)"
            while connection.execute(take, [LOCK_ID]).fetchone() != (True,):
                assert time.monotonic() < end_s, "the lock is held"
                time.sleep(0.05)
        finally:
            migrating.kill()


class Viewer:
    """Reads a stream to its end, and keeps what came."""

    def __init__(self, stream: Stream) -> None:
        self.frames: list[Message] = []
        self.others: list[Message] = []
        self._came_s: list[float] = []
        self._stream = stream
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> int | None:
        try:
            while True:
                message = await self._stream.next()
                if message["type"] == "VIDEO_FRAME":
                    self.frames.append(message["data"])
                    self._came_s.append(time.monotonic())
                else:
                    self.others.append(message)
        except websockets.ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None

    async def end(self, within_s: float) -> int | None:
        """Return the close code."""
        return await asyncio.wait_for(self._watching, within_s)

    def assert_whole(self, at_least: int) -> None:
        """No frame is missing, none was waited for, and all decode."""
        assert len(self.frames) >= at_least
        assert_pts_contiguous([frame["frame_timestamp"] for frame in self.frames])
        assert_decodes(base64.b64decode(frame["frame_data"]) for frame in self.frames)
        assert max(later - earlier for earlier, later in pairwise(self._came_s)) < STALL_S
        assert [message for message in self.others if message["type"] == "ERROR"] == []


async def becomes(wanted: Any, look: Callable[[], Any], within_s: float) -> float:
    """Wait until ``look`` returns what is wanted; return how long that took."""
    began_s = time.monotonic()
    while (seen := await asyncio.to_thread(look)) != wanted:
        assert time.monotonic() < began_s + within_s, seen
        await asyncio.sleep(0.1)
    return time.monotonic() - began_s


def health(server: Server) -> tuple[str, bool, int, bytes]:
    said = json.loads(server.get("/health")[1])
    return (said["status"], said["services"]["database"], *server.get("/readyz"))


WEBHOOKS = {"WEBHOOK_URL": "https://127.0.0.1:9/", "WEBHOOK_SECRET": "whsec_" + 32 * "A"}
"""Another part of the server that looks into the database every second."""
WELL = ("ready", True, 200, b"ready\n")
OUT = ("degraded", False, 503, b"The database cannot be reached.\n")


@asynccontextmanager
async def beside(hindrance: AbstractContextManager[None]) -> AsyncIterator[None]:
    """Set it up and end it in a thread: it takes a while, and frames are to be read."""
    await asyncio.to_thread(hindrance.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(hindrance.__exit__, None, None, None)


async def refusal(server: Server) -> tuple[str, int | None, float]:
    """Return the error that a client receives now, the close code, and after how long."""
    began_s = time.monotonic()
    async with server.stream("newcomer") as stream:
        messages, code = await asyncio.wait_for(stream.end(), NOTICED_WITHIN_S)
    [error] = [message for message in messages if message["type"] == "ERROR"]
    return error["data"]["code"], code, time.monotonic() - began_s


def test_a_session_is_written(
    serve: Serve, postgres: PostgresServer, database: str, rows: Callable[[str], dict[str, Any]]
) -> None:
    async def converse(server: Server) -> None:
        async with server.stream("ann") as stream:
            await stream.frames(5)
            await becomes({"ann": ""}, lambda: rows("close_cause"), 10)
            await stream.send("CLOSE")
            await stream.end()
        await becomes({"ann": "client_request"}, lambda: rows("close_cause"), 10)

    asyncio.run(converse(serve(DATABASE_URL=postgres.url(database))))


@pytest.mark.lasting
@pytest.mark.parametrize("outage", ["stopped", "killed"])
async def test_streams_continue_without_the_database(
    serve: Serve,
    postgres: PostgresServer,
    database: str,
    rows: Callable[[str], dict[str, Any]],
    outage: str,
) -> None:
    server = await asyncio.to_thread(lambda: serve(DATABASE_URL=postgres.url(database), **WEBHOOKS))
    async with server.stream("ann") as stream, server.stream("bob") as other:
        viewer = Viewer(stream)
        await other.frames(5)
        await becomes({"ann": "", "bob": ""}, lambda: rows("close_cause"), 10)
        written = rows("frames")["ann"]
        async with beside(getattr(postgres, outage)()):
            began = timezone.now()
            code, closed, refused_s = await refusal(server)
            assert (code, closed) == ("PROCESSING_ERROR", 4500)
            noticed_s = await becomes(OUT, lambda: health(server), NOTICED_WITHIN_S)
            await other.send("CLOSE")
            await other.end()
            assert (await asyncio.to_thread(server.get, "/sessions"))[0] == 503
            status, numbers = await asyncio.to_thread(server.get, "/metrics")
            assert (status, b"talking_avatar_sessions" in numbers) == (200, True)
            await asyncio.sleep(3)
            ended = timezone.now()
        healed_s = await becomes(WELL, lambda: health(server), HEALS_WITHIN_S)
        await becomes({"ann": "", "bob": "client_request"}, lambda: rows("close_cause"), 10)
        assert began < rows("ended_at")["bob"] < ended
        assert rows("frames")["ann"] > written
        async with server.stream("cyd") as newcomer:
            await newcomer.frames(5)
        await stream.send("CLOSE")
        assert await viewer.end(10) == 1000
        viewer.assert_whole(at_least=100)
    # Not only the history, which is what /health goes by: the last of those who met the outage.
    await asyncio.to_thread(server.process.wait_for, "the database is back")
    assert await asyncio.to_thread(server.process.end) == 0
    assert outage_lines(server.process) == ["cannot be reached", "is back"]
    print(f"refused {refused_s:.1f} s, noticed {noticed_s:.1f} s, healed {healed_s:.1f} s")


async def test_a_server_without_a_free_connection_is_an_outage(
    serve: Serve, postgres: PostgresServer, database: str
) -> None:
    """The history's own connection works; a session could begin only where there is another."""
    server = await asyncio.to_thread(lambda: serve(DATABASE_URL=postgres.url(database)))
    await becomes(WELL, lambda: health(server), HEALS_WITHIN_S)
    async with beside(postgres.full()):
        await becomes(OUT, lambda: health(server), 20)  # without a session that meets it
    await becomes(WELL, lambda: health(server), HEALS_WITHIN_S)
    async with server.stream("cyd") as newcomer:
        await newcomer.frames(5)


def outage_lines(process: Process) -> list[str]:
    """What the log says of the outage."""
    assert "Traceback" not in process.output, process.output
    assert process.output.count("trying again") == 1, process.output
    return re.findall(r"the database (cannot be reached|is back)", process.output)


@contextmanager
def held(postgres: PostgresServer, database: str, statement: str) -> Iterator[None]:
    """A transaction that another connection does not end."""
    with postgres.connect(database) as connection, connection.transaction():
        connection.execute(statement.encode())
        yield


HINDRANCES = {
    "stopped": lambda postgres, database: postgres.stopped(),
    "killed": lambda postgres, database: postgres.killed(),
    "row": lambda postgres, database: held(
        postgres, database, "SELECT * FROM streaming_gatewayprocess FOR UPDATE"
    ),
    "tables": lambda postgres, database: held(
        postgres, database, "LOCK streaming_gatewayprocess, avatars_app_avatar"
    ),
    "migration": lambda postgres, database: held(
        postgres, database, f"SELECT pg_advisory_xact_lock({LOCK_ID})"
    ),
}


@pytest.mark.lasting
@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize("hindrance", HINDRANCES)
async def test_the_end_does_not_wait_for_the_database(
    serve: Serve, postgres: PostgresServer, database: str, hindrance: str, processes: str
) -> None:
    server = await asyncio.to_thread(
        lambda: serve(DATABASE_URL=postgres.url(database), PROCESSES=processes)
    )
    await asyncio.to_thread(server.wait_until_it_takes_sessions)
    async with server.stream("ann") as stream:
        viewer = Viewer(stream)
        await becomes(True, lambda: len(viewer.frames) >= 25, 10)
        async with beside(HINDRANCES[hindrance](postgres, database)):
            request = asyncio.create_task(asyncio.to_thread(ask_in_vain, server))
            await asyncio.sleep(1)
            began_s = time.monotonic()
            server.process.send(signal.SIGTERM)
            assert await viewer.end(ENDS_WITHIN_S) == 4012
            told_s = time.monotonic() - began_s
            assert viewer.others[-1]["type"] == "CLOSE_ACK"
            assert await asyncio.to_thread(server.process.wait, ENDS_WITHIN_S) == 0
            ended_s = time.monotonic() - began_s
            await request
        viewer.assert_whole(at_least=25)
    print(f"told after {told_s:.2f} s, ended after {ended_s:.1f} s")


def ask_in_vain(server: Server) -> None:
    """Have a request wait for the database."""
    with suppress(OSError, HTTPException):
        server.get("/sessions")
