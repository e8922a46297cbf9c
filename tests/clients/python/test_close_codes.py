"""Every close code of the server has words for people."""

import pytest

from streaming.protocol.errors import CLOSE_MEANINGS, CloseCode
from talking_avatar.close_codes import MEANINGS, in_words
from talking_avatar.events import Closed


def test_every_code_that_the_server_sends_has_words() -> None:
    assert {*CLOSE_MEANINGS, *map(int, CloseCode)} <= set(MEANINGS)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (4012, "the server shut down (close code 4012)"),
        (4429, "the server is full (close code 4429)"),
        (None, "the connection was lost"),
        (4999, "the connection was closed (close code 4999)"),
    ],
)
def test_words(code: int | None, words: str) -> None:
    assert in_words(code) == words
    assert str(Closed("server_shutdown", code)) == words


def test_what_hindered_the_next_connection_is_said_too() -> None:
    closed = Closed("connection lost", 1006, ConnectionError("Nothing answers."))  # type: ignore[arg-type]
    assert str(closed) == "the connection was lost (close code 1006); Nothing answers."
