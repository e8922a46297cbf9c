"""Errors of the library in programs of several processes."""

import pickle

import pytest

from talking_avatar import AvatarError, ConnectionLost, SessionRefused, SpeechRefused


@pytest.mark.parametrize(
    "error",
    [
        SessionRefused("RATE_LIMIT_EXCEEDED", "All are taken.", {"retry_after_ms": 5_000}),
        SpeechRefused("There is no place to speak.", 500),
        ConnectionLost("It is gone."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_reaches_another_process(error: AvatarError) -> None:
    arrived = pickle.loads(pickle.dumps(error))
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)
