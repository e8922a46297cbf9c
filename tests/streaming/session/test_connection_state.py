"""Whether a message belongs, for each state and each way to name the session."""

import pytest

from streaming.protocol import codec
from streaming.protocol.client_messages import AnyClientMessage
from streaming.protocol.errors import ProtocolError
from streaming.session.connection_state import TRANSITIONS, Event, State, check
from tests.streaming.fakes import SESSION_ID, USER, text

OTHER_ID = "00000000-0000-0000-0000-000000000007"
CONNECTED, OPENING, OPEN, DETACHED, CLOSED = State


def message(type_: str, session_id: str | None = SESSION_ID) -> AnyClientMessage:
    fields = {"INIT": {"user_id": USER}, "STATE_CHANGE": {"target_state": "idle"}}
    return codec.parse(text(type_, session_id, **fields.get(type_, {})))


def belongs(type_: str, state: State, session_id: str | None = SESSION_ID) -> bool:
    own_id = None if state is CONNECTED else SESSION_ID
    try:
        check(message(type_, session_id), state, own_id)
    except ProtocolError as error:
        return error.code != "INVALID_SESSION"
    return True


def test_every_state_can_be_closed_and_none_is_left_for_itself():
    for state, ways in TRANSITIONS.items():
        assert (Event.CLOSE in ways) == (state is not CLOSED)
        assert state not in ways.values()


@pytest.mark.parametrize(
    ("type_", "states"),
    [
        ("INIT", {CONNECTED}),
        ("STATE_CHANGE", {OPEN}),
        ("INTERRUPT", {OPEN}),
        ("CLOSE", {CONNECTED, OPENING, OPEN}),
        ("PONG", {CONNECTED, OPENING, OPEN}),
    ],
)
def test_in_which_states_a_message_belongs(type_, states):
    connected = set(State) - {DETACHED, CLOSED}
    assert {state for state in connected if belongs(type_, state)} == states


@pytest.mark.parametrize("type_", ["STATE_CHANGE", "INTERRUPT", "CLOSE", "PONG"])
def test_it_must_be_this_session(type_):
    assert belongs(type_, OPEN, SESSION_ID.upper())
    assert belongs(type_, OPEN, SESSION_ID.replace("-", ""))
    assert not belongs(type_, OPEN, OTHER_ID)
    assert not belongs(type_, OPEN, "x")


@pytest.mark.parametrize(
    ("type_", "may_be_nameless"),
    [("STATE_CHANGE", False), ("INTERRUPT", False), ("CLOSE", True), ("PONG", True)],
)
def test_some_messages_need_not_name_it(type_, may_be_nameless):
    assert belongs(type_, OPEN, None) == may_be_nameless
