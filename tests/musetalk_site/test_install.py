"""Installing: what it may use, the arguments of uv, and that requirements are pinned."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from musetalk_site import install

REQUIREMENT_FILES = sorted(path.name for path in install.ROOT.glob("requirements*.txt"))


def test_it_needs_nothing_installed() -> None:
    tree = ast.parse(Path(install.__file__).read_text())
    imported = {
        alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {
        str(node.module).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
    }
    assert imported <= sys.stdlib_module_names


def test_an_including_file_counts_for_those_it_includes() -> None:
    everything = install.digests([install.ROOT / "requirements-dev.txt"])
    core = install.digests([install.ROOT / "requirements-core.txt"])
    assert set(everything) == {
        "requirements-dev.txt",
        "requirements.txt",
        "requirements-core.txt",
        "requirements-tracing.txt",
    }
    assert core.items() <= everything.items()


def test_a_changed_file_is_installed_again(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("one==1\n")
    before = install.digests([file])
    file.write_text("one==2\n")
    assert install.digests([file]) != before


def test_uv_is_reported_what_pip_is_configured_to() -> None:
    configured = {
        "index-url": ["https://main.example/simple"],
        "extra-index-url": ["https://more.example/simple", "file:///mirror/simple"],
        "find-links": ["/wheels"],
        "constraint": ["/etc/constraints.txt"],
        "timeout": ["60"],
    }
    assert install.uv_options(configured) == [
        *("--default-index", "https://main.example/simple"),
        *("--index", "https://more.example/simple", "--index", "file:///mirror/simple"),
        *("--find-links", "/wheels"),
        *("--constraint", "/etc/constraints.txt"),
        *("--index-strategy", "unsafe-best-match"),
    ]


def test_without_uv_pip_does_the_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert install.fetch_uv(Path("/bin/false"), tmp_path) is None
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> "subprocess.CompletedProcess[str]":
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    install.install(Path("python"), [Path("some.txt")], None)
    [command] = commands
    assert command[:4] == ["python", "-m", "pip", "install"]
    assert command[-2:] == ["--requirement", "some.txt"]


def test_pips_own_list_of_its_configuration_is_understood(monkeypatch, tmp_path: Path) -> None:
    configuration = tmp_path / "pip.conf"
    configuration.write_text(
        "[global]\nextra-index-url =\n  https://one.example/simple\n  https://two.example/simple\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(configuration))
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels")
    configured = install.pip_configuration(Path(sys.executable))
    assert configured["extra-index-url"][-2:] == [
        "https://one.example/simple",
        "https://two.example/simple",
    ]
    assert configured["find-links"][-1:] == ["/wheels"]


@pytest.mark.parametrize("name", REQUIREMENT_FILES)
def test_every_requirement_is_pinned(name: str) -> None:
    for line in (install.ROOT / name).read_text().splitlines():
        if not line.startswith(("#", "-r ", "torch>=")):
            assert re.fullmatch(r"[A-Za-z0-9_-]+(\[[a-z]+\])?==[0-9][0-9a-z.]*(; .+)?", line), line


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
@pytest.mark.parametrize("name", [".venv", "var", "models", "node_modules"])
def test_git_leaves_out_what_is_made_also_where_it_is_a_link(tmp_path: Path, name: str) -> None:
    """To a folder on a larger disk, or to another checkout's."""
    shutil.copy(install.ROOT / ".gitignore", tmp_path)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / name).symlink_to(tmp_path.parent)
    ignored = subprocess.run(["git", "-C", tmp_path, "check-ignore", "-q", name])
    assert ignored.returncode == 0
