"""What may import what, and what the tree may hold.

The contracts themselves are in `pyproject.toml`, under import-linter.
"""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("avatars_app", "clients", "inference", "musetalk_site", "streaming")
CLIENT_LIBRARY = ROOT / "clients" / "python" / "src"
LARGEST_FILE_BYTES = 5_000_000
TOP_LEVEL = {
    *("avatars_app", "benchmarks", "clients", "docs", "inference", "integrations"),
    *("musetalk_site", "streaming", "templates", "tests", ".ci", ".github", "manage.py"),
}
"""The folders and the command; other files there are settings of tools and texts for people."""
LONGEST_MODULE_LINES = 500
LONGEST_FUNCTION_LINES = 40
"""Of code: docstring, comments and empty lines do not count."""
LONG_FUNCTIONS = {
    "clients/python/src/talking_avatar/client.py: __init__": "options, and what they are kept as",
    "inference/runtime/host.py: __init__": "one clock, one engine and what else sessions share",
    "inference/runtime/session.py: __init__": "the parts of one session",
    "musetalk_site/server/app.py: __init__": "the composition root of a serving process",
    "musetalk_site/server/daphne_server.py: __init__": "options, and what they are kept as",
    "musetalk_site/telemetry/process.py: _traffic": "a table of metrics with their help",
}
"""Functions that are one flat list, and what of: to split them would hide a line of it."""


def _lines(*command: str) -> list[str]:
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return said.stdout.splitlines()


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    listed = _lines("git", "ls-files", "--cached", "--others", "--exclude-standard")
    return [path for name in listed if (path := ROOT / name).is_file()]


def test_the_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    env = {**os.environ, "PYTHONPATH": str(CLIENT_LIBRARY)}
    said = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr


def test_the_default_server_starts_without_torch() -> None:
    code = (
        "import sys, musetalk_site.asgi, inference.engines.viseme.engine;"
        "print([n for n in ('torch', 'transformers', 'scipy', 'skia') if n in sys.modules])"
    )
    assert _lines(sys.executable, "-c", code) == ["[]"]


def test_every_module_says_what_it_knows(tracked: list[Path]) -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in tracked
        if path.suffix == ".py"
        and path.relative_to(ROOT).parts[0] in PACKAGES
        and "migrations" not in path.parts
        and path.name not in {"__init__.py", "apps.py", "admin.py"}
        and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_every_package_has_a_map_that_names_all_of_it(tracked: list[Path]) -> None:
    missing = [
        f"{map_.parent.relative_to(ROOT)}: {part}"
        for map_ in tracked
        if map_.name == "__init__.py" and map_.relative_to(ROOT).parts[0] in PACKAGES
        for text in [ast.get_docstring(ast.parse(map_.read_text())) or ""]
        for part in _parts(map_.parent)
        if not re.search(rf"\b{part}\b", text)
    ]
    assert missing == []


def _parts(package: Path) -> list[str]:
    """The modules and packages in it, but for those whose place Django gives."""
    if {"management", "migrations", "formats"} & set(package.parts):
        return []
    modules = [path.stem for path in package.glob("*.py") if not path.stem.startswith("__")]
    packages = [path.parent.name for path in package.glob("*/__init__.py")]
    return sorted(set(modules + packages) - {"migrations"})


def test_modules_stay_small_enough_to_be_read(tracked: list[Path]) -> None:
    long = [
        str(path.relative_to(ROOT))
        for path in tracked
        if path.suffix == ".py"
        and path.relative_to(ROOT).parts[0] in PACKAGES
        and len(path.read_text().splitlines()) > LONGEST_MODULE_LINES
    ]
    assert long == []


def test_functions_stay_short_enough_to_be_read(tracked: list[Path]) -> None:
    long = {
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in tracked
        if path.suffix == ".py" and not {"tests", "migrations"} & set(path.relative_to(ROOT).parts)
        for text in [path.read_text()]
        for lines in [text.splitlines()]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and _lines_of_code(node, lines) > LONGEST_FUNCTION_LINES
    }
    assert long == LONG_FUNCTIONS.keys()


def _lines_of_code(function: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> int:
    numbers = set(range(function.lineno, (function.end_lineno or function.lineno) + 1))
    if ast.get_docstring(function) is not None:
        docstring = function.body[0]
        numbers -= set(range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1))
    code = (lines[number - 1].strip() for number in numbers)
    return sum(bool(line) and not line.startswith("#") for line in code)


def test_workflows_run_what_there_is() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())
    jobs = workflow["jobs"].values()
    steps = [step for job in jobs for step in job["steps"] if "run" in step]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    commands = {step["run"] for step in steps} | {
        f"make {each}" for each in workflow["jobs"]["nightly"]["strategy"]["matrix"]["tests"]
    }
    assert commands - {"make ${{ matrix.tests }}"} <= {f"make {target}" for target in targets}
    variables = {name for step in steps for name in step.get("env", {})}
    assert all(name in (ROOT / "tests" / "settings.py").read_text() for name in variables)


def test_nothing_strays_into_the_top_level(tracked: list[Path]) -> None:
    text = {".md", ".toml", ".txt", ".yaml", ".example", ""}
    paths = [path.relative_to(ROOT) for path in tracked]
    strays = {path.parts[0] for path in paths} - TOP_LEVEL
    assert [name for name in strays if not (ROOT / name).is_file()] == []
    assert [name for name in strays if Path(name).suffix not in text] == []


def test_text_files_end_with_one_line_end(tracked: list[Path]) -> None:
    text = {".py", ".md", ".toml", ".txt", ".yaml", ".html", ".css", ".js", ".example"}
    wrong = [
        str(path.relative_to(ROOT))
        for path in tracked
        if path.suffix in text
        and (content := path.read_bytes())
        and (not content.endswith(b"\n") or content.endswith(b"\n\n"))
    ]
    assert wrong == []


def test_no_file_is_too_large_for_a_repository(tracked: list[Path]) -> None:
    large = [
        f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes"
        for path in tracked
        if path.stat().st_size > LARGEST_FILE_BYTES
    ]
    assert large == []
