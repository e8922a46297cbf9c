"""What a resume token says, and which are refused; a watch token is none."""

import pytest

from streaming.gateway.resume_tokens import ResumeClaim, SignedTokens, check_token
from streaming.gateway.takeover import owner_of
from streaming.gateway.watch_tokens import SignedWatchTokens
from streaming.protocol.errors import ProtocolError
from tests.streaming.fakes import SESSION_ID

ANN = owner_of("ann", "key:1")
OTHER_ID = "6f1c2e1a-5b0e-4c53-9d0b-000000000000"


def test_a_token_says_which_connection_it_was_given_to_and_when_the_session_began():
    token = SignedTokens(ANN, 1_000.1234).issue(SESSION_ID, 3)
    assert check_token(token, SESSION_ID.upper(), ANN) == ResumeClaim(3, 1_000.123)


@pytest.mark.parametrize(
    ("session_id", "owner"),
    [
        (OTHER_ID, ANN),
        (SESSION_ID, owner_of("ann", "key:2")),
        (SESSION_ID, owner_of("bob", "key:1")),
        (SESSION_ID, owner_of("ann", "")),
    ],
)
def test_it_is_for_one_session_of_one_subject(session_id, owner):
    token = SignedTokens(ANN, 1_000.0).issue(SESSION_ID, 0)
    with pytest.raises(ProtocolError, match="does not fit"):
        check_token(token, session_id, owner)


def test_other_tokens_are_refused():
    opening = SignedTokens(ANN, 1_000.0)
    token = opening.issue(SESSION_ID, 0)
    altered = token[:-1] + ("a" if token[-1] != "a" else "b")
    watch = SignedWatchTokens(opening)
    for wrong in ("", "nonsense", altered, watch.issue(SESSION_ID)):
        with pytest.raises(ProtocolError, match="does not fit"):
            check_token(wrong, SESSION_ID, ANN)
    assert not watch.admits(token, SESSION_ID)
