"""The project's words: the check finds what it forbids, and the tree holds none of it."""

from pathlib import Path

import pytest

from tests import wording

FORBIDDEN = wording.phrases("# a comment\n\ndoors? => gateway\ngoes on => continues\n")


def found(name: str, text: str) -> list[tuple[int, str]]:
    return [
        (hit.line, hit.text)
        for hit in wording.hits(Path(name), text, FORBIDDEN, wording.any_of(FORBIDDEN))
    ]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.py", '"""A door."""\n', [(1, "door")]),
        ("a.py", "x = 1\n# it goes\n# on here\n", [(2, "goes on")]),
        ("a.py", "def test_a_door_goes_on():\n    pass\n", [(1, "door"), (1, "goes on")]),
        ("a.py", 'log.info("one %s door", 2)\n', [(1, "door")]),
        ("a.py", "door = doors.goes(on)\n", []),
        ("a.py", '"""Indoors."""\n', []),
        ("a.md", "# Title\n\nIt goes\non.\n\nTwo *Doors*\n", [(3, "goes on"), (6, "Doors")]),
        ("a.js", "  // it goes\n  // on\n", [(1, "goes on")]),
    ],
)
def test_phrases_are_found_in_prose_and_names(
    name: str, text: str, expected: list[tuple[int, str]]
) -> None:
    assert found(name, text) == expected


def test_a_line_without_words_to_write_instead_is_refused() -> None:
    with pytest.raises(ValueError, match="doors"):
        wording.phrases("doors\n")


def test_the_project_uses_its_own_words() -> None:
    if not (wording.ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    assert [str(hit) for hit in wording.check(wording.tracked())] == []
