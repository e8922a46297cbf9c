"""The image and the services of `Dockerfile` and `compose.yaml`, as far as no engine is needed."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands, load_command_class

from musetalk_site.configuration.environment import VARIABLES
from tests.processes import free_port
from tests.test_architecture import PACKAGES

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVERS = {name: each for name, each in COMPOSE["services"].items() if "build" in each}


def instructions(word: str) -> list[str]:
    return re.findall(rf"^{word} (.*)$", DOCKERFILE, re.MULTILINE)


def copied() -> list[Path]:
    """What the image takes from the repository."""
    lines = [line.split() for line in instructions("COPY") if "--from" not in line]
    return [path for *sources, _ in lines for name in sources for path in ROOT.glob(name)]


def entry_point() -> list[str]:
    [words] = instructions("ENTRYPOINT")
    parsed: list[str] = json.loads(words)
    return parsed


def test_what_it_copies_exists_and_is_not_ignored() -> None:
    names = {path.name for path in copied()}
    assert {*PACKAGES, "templates", "manage.py", "requirements-core.txt", "NOTICE"} <= names
    kept = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")
    ]
    assert [name for name in names if not any(fnmatch(name, each) for each in kept)] == []


def test_it_runs_as_an_account_of_its_own() -> None:
    assert instructions("USER")[-1:] == ["avatar"]
    assert DOCKERFILE.index("useradd") < DOCKERFILE.index("\nUSER")


def test_signals_reach_the_command() -> None:
    shell, option, script, name = entry_point()
    assert (shell, option, name) == ("sh", "-c", "manage.py")
    assert script.rpartition("&& ")[2] == 'exec .venv/bin/python manage.py "$@"'
    assert all(isinstance(json.loads(command), list) for command in instructions("CMD"))


@pytest.mark.parametrize("service", SERVERS)
def test_services_run_commands_with_settings_that_exist(service: str) -> None:
    name, *options = SERVERS[service]["command"]
    command = load_command_class(get_commands()[name], name)
    command.create_parser("manage.py", name).parse_args(options)
    assert set(SERVERS[service]["environment"]) <= set(VARIABLES)


def test_services_wait_for_others_that_exist_and_say_when_they_are_healthy() -> None:
    services = COMPOSE["services"]
    for service in services.values():
        for name, condition in service.get("depends_on", {}).items():
            assert condition == {"condition": "service_healthy"}
            assert "build" in services[name] or services[name]["healthcheck"]["test"]
        for volume in service.get("volumes", ()):
            assert volume.partition(":")[0] in COMPOSE["volumes"]
    published = [port for service in services.values() for port in service.get("ports", ())]
    assert published == ["127.0.0.1:8000:8000"]


@pytest.mark.lasting
@pytest.mark.slow
def test_the_entry_point_serves_and_ends_at_a_signal(tmp_path: Path) -> None:
    for path in copied():
        if path.is_dir():
            ignored = shutil.ignore_patterns("node_modules", "__pycache__", "musetalk")
            is_engine = path.name in {"inference", "musetalk_site"}
            shutil.copytree(path, tmp_path / path.name, ignore=None if is_engine else ignored)
        else:
            shutil.copy(path, tmp_path)
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parent.parent)
    port = free_port()
    environment = {"PATH": "/usr/bin:/bin", "PORT": str(port), "PROCESSES": "1"}
    server = subprocess.Popen([*entry_point(), "serve"], cwd=tmp_path, env=environment)
    try:
        [check] = re.findall(r"CMD +(\[.*\])$", DOCKERFILE, re.MULTILINE)[:1]
        _, code, script = json.loads(check)
        end_s = time.monotonic() + 60
        while not _answers(port):
            assert server.poll() is None
            assert time.monotonic() < end_s
            time.sleep(0.2)
        checked = [sys.executable, code, script]
        assert subprocess.run(checked, env=environment, check=False).returncode == 0
        server.send_signal(signal.SIGTERM)
        assert server.wait(15) == 0
    finally:
        server.kill()
        server.wait()
    assert (tmp_path / "var" / "db.sqlite3").exists()
    assert subprocess.run(checked, env=environment, stderr=-3, check=False).returncode != 0


def _answers(port: int) -> bool:
    with suppress(OSError):
        urllib.request.urlopen(f"http://localhost:{port}/livez", timeout=2).close()
        return True
    return False
