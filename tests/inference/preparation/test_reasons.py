"""Each reason that a preparation may give is explained."""

import re
from pathlib import Path

from inference.preparation import quality

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "avatars.md").read_text()
RAISED = re.compile(r'(?:PreparationError|_fail)\(\s*"([a-z_]+)"|reason="([a-z_]+)"')


def test_the_page_has_every_reason() -> None:
    sources = [
        *(ROOT / "inference" / "preparation").rglob("*.py"),
        *(ROOT / "avatars_app").rglob("*.py"),
    ]
    found = {a or b for path in sources for a, b in RAISED.findall(path.read_text())}
    assert {"no_face", "unreadable", "took_too_long", "storage"} <= found
    explained = set(re.findall(r"`([a-z_]+)`", PAGE))
    assert found | set(quality._REMEDIES) | {"damaged"} <= explained
