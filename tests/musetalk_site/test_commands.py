"""The commands of `manage.py`, on what `make run` installs."""

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from django.core.management import get_commands

ROOT = Path(__file__).resolve().parents[2]
OURS = {"avatars_app", "inference", "musetalk_site", "streaming"}
PROGRAM = """
import json, os, sys
commands, absent = map(json.loads, sys.argv[1:])

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in absent:
            raise ModuleNotFoundError(f"{name} is installed for tests alone", name=name)

sys.meta_path.insert(0, Absent())
sys.path.insert(0, "clients/python/src")
os.environ["DJANGO_SETTINGS_MODULE"] = "musetalk_site.settings"
import django
from django.core.management import load_command_class
django.setup()
for application, name in commands:
    load_command_class(application, name)
"""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_by(requirements: Path) -> set[str]:
    """The distributions that a file names, with all that those need."""
    found: set[str] = set()
    lines = [line.partition("#")[0].strip() for line in requirements.read_text().splitlines()]
    wanted = [line for line in lines if line and not line.startswith("-")]
    while wanted:
        line = wanted.pop()
        name = normal(re.match(r"[\w.-]+", line)[0])
        if name in found or "extra ==" in line:
            continue
        found.add(name)
        try:
            wanted += metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # of another platform
            continue
    return found


@pytest.mark.slow
def test_they_can_be_loaded_without_what_only_tests_need() -> None:
    ours = [(app, name) for name, app in get_commands().items() if app in OURS]
    core = installed_by(ROOT / "requirements-core.txt")
    absent = [
        module
        for module, distributions in metadata.packages_distributions().items()
        if not any(normal(name) in core for name in distributions)
    ]
    assert "pytest" in absent
    command = [sys.executable, "-c", PROGRAM, json.dumps(ours), json.dumps(absent)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
