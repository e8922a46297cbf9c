"""A real PgBouncer before PostgreSQL, which gives each transaction another connection; and TLS."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import Certificate
from tests.e2e.conftest import Serve
from tests.e2e.talking import SETTINGS, Server
from tests.pooler import Pooler, find_pgbouncer
from tests.postgresql import PostgresServer, find_programs
from tests.processes import Process

pytestmark = [pytest.mark.slow, pytest.mark.lasting, pytest.mark.timeout(180)]

LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"


@pytest.fixture(scope="module")
def pooler(postgres: PostgresServer) -> Iterator[Pooler]:
    program = find_pgbouncer()
    if program is None:
        pytest.skip("PgBouncer is missing: Debian's package pgbouncer brings it")
    with Pooler(program, postgres) as pooler:
        yield pooler


@pytest.fixture(scope="module")
def migrated(postgres: PostgresServer, pooler: Pooler) -> str:
    """A database that three processes have migrated at once; the pool has three connections."""
    name = postgres.new_database()
    running = [migrate(pooler.url(name)) for _ in range(3)]
    statuses = [process.wait(100) for process in running]
    assert statuses == [0] * 3, [process.output for process in running]
    with postgres.connect(name) as connection:
        assert connection.execute("SELECT count(*) FROM streaming_sessionrecord").fetchone() == (0,)
        assert connection.execute(LOCKS.encode()).fetchone() == (0,)
    return name


def migrate(url: str) -> Process:
    return Process(
        *("manage.py", "migrate", "--verbosity", "0"), env={**SETTINGS, "DATABASE_URL": url}
    )


MANY_ROWS = """
import threading
import django
django.setup()
from django.contrib.auth.models import Group

Group.objects.bulk_create([Group(name=f"many {n}") for n in range(5_000)])
done = threading.Event()
def others():
    while not done.is_set():
        Group.objects.filter(name="none").exists()
beside = threading.Thread(target=others)
beside.start()
try:
    print("read", sum(1 for _ in Group.objects.filter(name__startswith="many").iterator(100)))
finally:
    done.set()
"""


def test_many_rows_are_read_piece_by_piece(pooler: Pooler, migrated: str) -> None:
    reading = Process("-c", MANY_ROWS, env={**SETTINGS, "DATABASE_URL": pooler.url(migrated)})
    assert reading.wait(60) == 0, reading.output
    assert reading.output == "read 5000\n"


async def converse(server: Server) -> None:
    async with server.stream("ann") as stream:
        await stream.frames(25)
        await stream.send("CLOSE")
        await stream.end()


def assert_is_written(server: Server, postgres: PostgresServer, database: str) -> None:
    """A session is, and the server knows its database."""
    asyncio.run(converse(server))
    health = json.loads(server.get("/health")[1])
    assert (health["status"], health["services"]["database"]) == ("ready", True)
    assert server.process.end() == 0
    assert "ERROR" not in server.process.output
    with postgres.connect(database) as connection:
        query = "SELECT close_cause FROM streaming_sessionrecord WHERE user_id = 'ann'"
        assert connection.execute(query.encode()).fetchall() == [("client_request",)]


def test_a_server_behind_it(
    serve: Serve, pooler: Pooler, migrated: str, postgres: PostgresServer
) -> None:
    assert_is_written(serve(DATABASE_URL=pooler.url(migrated)), postgres, migrated)


def test_connections_are_encrypted_where_the_address_says_so(serve: Serve, tmp_path: Path) -> None:
    """An authority that did not sign the server's certificate is refused in one sentence."""
    (tmp_path / "other").mkdir()
    trusted, other = Certificate.make(tmp_path), Certificate.make(tmp_path / "other")
    programs = find_programs()
    if programs is None:
        pytest.skip("PostgreSQL is missing: Debian's package postgresql brings it")
    with PostgresServer(programs, trusted) as server:
        name = server.new_database()
        address = f"{server.url(name)}?sslmode=verify-full&sslrootcert="
        refused = migrate(f"{address}{other.chain}")
        assert refused.wait(60) == 1
        [line] = refused.output.splitlines()
        assert line.startswith("CommandError: The database cannot be reached: ")
        assert "certificate verify failed" in line
        migrating = migrate(f"{address}{trusted.chain}")
        assert migrating.wait(60) == 0, migrating.output
        serving = serve(DATABASE_URL=f"{address}{trusted.chain}")
        with server.connect("postgres") as connection:
            query = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
            query += "WHERE datname = %s"
            assert connection.execute(query.encode(), [name]).fetchone() == (True,)
        assert_is_written(serving, server, name)
