"""The JavaScript package: complete, of the server's version, self-contained."""

import json
import re
from pathlib import Path

from musetalk_site.version import VERSION

PACKAGE = Path(__file__).resolve().parents[3] / "clients" / "javascript"
DESCRIPTION = json.loads((PACKAGE / "package.json").read_text())


def test_it_has_the_server_s_version() -> None:
    assert DESCRIPTION["version"] == VERSION
    assert json.loads((PACKAGE / "package-lock.json").read_text())["version"] == VERSION


def test_what_is_exported_exists_and_nothing_else_is_needed() -> None:
    exported = [e for e in DESCRIPTION["exports"].values() if isinstance(e, dict)]
    assert exported
    for each in exported:
        assert (PACKAGE / each["default"]).is_file()
    assert "dependencies" not in DESCRIPTION
    assert (PACKAGE / "LICENSE").read_text() == (PACKAGE.parents[1] / "LICENSE").read_text()


def test_its_modules_import_each_other_alone_and_stay_small() -> None:
    modules = sorted((PACKAGE / "src").glob("*.js"))
    assert len(modules) > 15
    for module in modules:
        text = module.read_text()
        assert len(text.splitlines()) <= 500, module.name
        for name in re.findall(r'^(?:import "|(?! \*).* from ")([^"]+)";', text, re.MULTILINE):
            assert name.startswith("./"), f"{module.name} imports {name}"
            assert (module.parent / name).is_file(), f"{module.name} imports {name}"
