import ast
from pathlib import Path

import pytest

import streaming
from streaming import endings
from streaming.endings import Ending
from streaming.errors import CloseCode, ClosingError

KNOWN = [value for value in vars(endings).values() if isinstance(value, Ending)]


@pytest.mark.parametrize("ending", KNOWN, ids=lambda ending: ending.word)
def test_an_ending_has_either_a_reason_of_its_own_or_an_error_that_says_more(ending):
    assert (ending.reason == "error") == (ending.error is not None)


def test_each_is_another_word():
    assert len({ending.word for ending in KNOWN}) == len(KNOWN)


def close_codes_raised() -> set[CloseCode]:
    """Those that the door's own code gives to a ClosingError."""
    calls = (
        node
        for path in Path(streaming.__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ClosingError"
    )
    given = (next(k.value for k in call.keywords if k.arg == "close_code") for call in calls)
    return {CloseCode[code.attr] for code in given if isinstance(code, ast.Attribute)}


def test_there_is_an_ending_for_whatever_is_raised():
    codes = close_codes_raised()
    assert codes >= {CloseCode.MODEL_NOT_FOUND, CloseCode.CAPACITY}
    for code in codes:
        error = ClosingError("INTERNAL_ERROR", "for the test", close_code=code)
        ending = endings.of(error)
        assert (ending.close_code, ending.reason, ending.error) == (code, "error", error)


@pytest.mark.parametrize(
    ("reason", "details"),
    [
        ("preparing", {"reason": "preparing", "percent": 40}),
        ("failed", {"reason": "failed", "percent": 40}),
        ("none", {"reason": "none"}),
    ],
)
def test_how_far_an_avatar_is_is_told_if_there_is_one(reason, details):
    ending = endings.no_avatar(reason, 40)
    assert (ending.word, ending.close_code) == ("no_avatar", 4404)
    assert (ending.error.code, ending.error.details) == ("MODEL_NOT_FOUND", details)
