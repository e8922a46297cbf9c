"""Calls that a real server does not answer in time."""

import time
from collections.abc import Iterator

import psycopg
import pytest
from django.db import OperationalError, connections

from musetalk_site.configuration.environment import VARIABLES
from musetalk_site.postgresql.base import DatabaseWrapper
from musetalk_site.postgresql.connections import CONNECTS_WITHIN_S, Connection
from tests.postgresql import PostgresServer

pytestmark = pytest.mark.slow

ANSWERS_WITHIN_S = 0.3


@pytest.fixture
def connection(postgres: PostgresServer) -> Iterator[Connection]:
    with Connection.connect(
        host="127.0.0.1", port=postgres.port, user="avatar", dbname="postgres", autocommit=True
    ) as connection:
        connection.answers_within_s = ANSWERS_WITHIN_S
        yield connection


@pytest.fixture
def wrapper(postgres: PostgresServer, django_db_blocker) -> Iterator[DatabaseWrapper]:
    """The access that Django's code has, by the setting DATABASE_URL."""
    url = f"postgres://avatar@127.0.0.1:{postgres.port}/postgres"
    settings = connections.configure_settings({"default": VARIABLES["DATABASE_URL"].read(url)})
    wrapper = DatabaseWrapper(settings["default"], "default")
    with django_db_blocker.unblock():
        yield wrapper
        wrapper.close()


def test_what_takes_too_long_is_cancelled_and_its_connection_closed(
    postgres: PostgresServer, connection: Connection
) -> None:
    began_s = time.monotonic()
    with pytest.raises(psycopg.OperationalError, match=r"did not answer within 0\.3 s"):
        connection.execute("SELECT pg_sleep(60)")
    assert ANSWERS_WITHIN_S <= time.monotonic() - began_s < 10 * ANSWERS_WITHIN_S
    assert connection.closed
    running = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'"
    with postgres.connect("postgres") as other:
        end_s = time.monotonic() + 5
        while other.execute(running).fetchone() != (0,):
            assert time.monotonic() < end_s, "it still sleeps on the server"
            time.sleep(0.02)


def test_a_server_that_is_stopped(postgres: PostgresServer, connection: Connection) -> None:
    with postgres.stopped():
        began_s = time.monotonic()
        with pytest.raises(psycopg.OperationalError, match="did not answer"):
            connection.execute("SELECT 1")
        assert time.monotonic() - began_s < 5
    assert connection.closed


def test_other_errors_are_the_server_s_own(connection: Connection) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("SELECT * FROM nothing")
    connection.execute("SET statement_timeout = '10ms'")
    with pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute("SELECT pg_sleep(60)")
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_without_a_deadline_it_may_take_long(connection: Connection) -> None:
    connection.answers_within_s = None
    connection.execute("SELECT pg_sleep(%s)", [2 * ANSWERS_WITHIN_S])


def test_opening_has_a_deadline_too(wrapper: DatabaseWrapper, postgres: PostgresServer) -> None:
    assert wrapper.get_connection_params()["connect_timeout"] == CONNECTS_WITHIN_S
    wrapper.settings_dict["OPTIONS"] = {"connect_timeout": 2}
    with postgres.stopped():
        began_s = time.monotonic()
        with pytest.raises(OperationalError, match="timeout"):
            wrapper.ensure_connection()
        assert time.monotonic() - began_s < 6


def test_the_backend_opens_such_connections(wrapper: DatabaseWrapper) -> None:
    wrapper.answers_within_s = ANSWERS_WITHIN_S
    wrapper.ensure_connection()
    assert isinstance(wrapper.connection, Connection)
    assert wrapper.connection.answers_within_s == ANSWERS_WITHIN_S
