import ast
from pathlib import Path

import pytest

import streaming
from streaming.protocol import closing
from streaming.protocol.closing import CloseCause
from streaming.protocol.errors import CloseCode, ClosingError

KNOWN = [value for value in vars(closing).values() if isinstance(value, CloseCause)]


@pytest.mark.parametrize("close_cause", KNOWN, ids=lambda close_cause: close_cause.word)
def test_an_ending_has_either_a_reason_of_its_own_or_an_error_that_says_more(close_cause):
    assert (close_cause.reason == "error") == (close_cause.error is not None)


def test_a_word_stands_for_one_close_code():
    words = {close_cause.word for close_cause in KNOWN}
    assert len({(each.word, each.close_code) for each in KNOWN}) == len(words)


def close_codes_raised() -> set[CloseCode]:
    """Those that the gateway's own code gives to a ClosingError."""
    calls = (
        node
        for path in Path(streaming.__file__).parent.rglob("*.py")
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
        close_cause = closing.of(error)
        assert (close_cause.close_code, close_cause.reason, close_cause.error) == (
            code,
            "error",
            error,
        )


@pytest.mark.parametrize(
    ("reason", "details"),
    [
        ("preparing", {"reason": "preparing", "percent": 40}),
        ("failed", {"reason": "failed", "percent": 40}),
        ("none", {"reason": "none"}),
    ],
)
def test_how_far_an_avatar_is_is_reported_if_there_is_one(reason, details):
    close_cause = closing.no_avatar(reason, 40)
    assert (close_cause.word, close_cause.close_code) == ("no_avatar", 4404)
    assert (close_cause.error.code, close_cause.error.details) == ("MODEL_NOT_FOUND", details)
