"""`manage.py migrate` as real processes."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.processes import ROOT

pytestmark = pytest.mark.slow


def migrate(database: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "musetalk_site.settings",
            "DATABASE_URL": f"sqlite:///{database}",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def tables(database: Path) -> set[str]:
    with closing(sqlite3.connect(database)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}


@pytest.mark.lasting
def test_four_at_once_on_a_fresh_database(tmp_path: Path) -> None:
    database = tmp_path / "db.sqlite3"
    running = [migrate(database) for _ in range(4)]
    outputs = [process.communicate(timeout=100)[0] for process in running]
    assert [process.returncode for process in running] == [0] * 4, outputs
    assert "streaming_gatewayprocess" in tables(database)


def test_a_database_of_before_is_moved_aside(tmp_path: Path) -> None:
    database = tmp_path / "db.sqlite3"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE streaming_doorprocess (id)")
    process = migrate(database)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
    [aside] = tmp_path.glob("db.sqlite3.before-0.2-*")
    assert str(aside) in output
    assert tables(aside) == {"streaming_doorprocess"}
    assert "streaming_gatewayprocess" in tables(database)


def test_what_is_no_database_is_said_in_one_sentence(tmp_path: Path) -> None:
    database = tmp_path / "db.sqlite3"
    database.write_bytes(b"no database" * 500)
    process = migrate(database)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said == "CommandError: The database cannot be changed: file is not a database\n"
