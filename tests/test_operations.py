"""What `docs/operations.md` has people run does what it says."""

import json
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks.server import new_database
from musetalk_site.configuration.environment import BASE_DIR
from tests.processes import make_superuser

PAGE = (BASE_DIR / "docs" / "operations.md").read_text()
JQ = shutil.which("jq")


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_the_scrape_is_one_that_prometheus_takes(tmp_path: Path) -> None:
    [text] = blocks("yaml")
    [job] = yaml.safe_load(text)["scrape_configs"]
    assert job["job_name"] == "talking-avatar", "the alerts ask for this job"
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is missing: Debian's package prometheus brings it")
    (tmp_path / "prometheus.yml").write_text(text)
    said = subprocess.run(
        [promtool, "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True
    )
    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.skipif(JQ is None, reason="jq is missing: Debian's package jq brings it")
def test_the_lines_of_a_session_are_found() -> None:
    [command] = blocks("bash")
    _, _, chosen = command.partition("|")
    lines = [{"session": "3f2a…", "event": "one"}, {"session": "other", "event": "two"}, {}]
    found = subprocess.run(
        shlex.split(chosen.strip()),
        input="\n".join(map(json.dumps, lines)),
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    assert [json.loads(line) for line in found.stdout.splitlines()] == lines[:1]


@pytest.mark.slow
def test_a_database_that_is_written_to_is_copied_and_put_back(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    url = new_database(tmp_path / "var")
    make_superuser(url, "ann", "secret")
    live = sqlite3.connect(tmp_path / "var" / "db.sqlite3", isolation_level=None)
    live.execute("PRAGMA journal_mode=WAL")
    live.execute("BEGIN IMMEDIATE")  # a write that is under way
    live.execute("UPDATE auth_user SET email = 'half'")
    [command] = blocks("sh")
    python, *arguments = shlex.split(command)
    assert python == ".venv/bin/python"
    subprocess.run([sys.executable, *arguments], cwd=tmp_path, check=True)
    live.execute("COMMIT")
    live.close()
    copy = sqlite3.connect(tmp_path / "copy.sqlite3")
    assert copy.execute("SELECT username, email FROM auth_user").fetchall() == [("ann", "")]
    assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    copy.close()
