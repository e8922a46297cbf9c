"""The states of a connection, and which of the client's messages belong into which.

What concerns the session's worker has states of its own, in `worker_link`, while this is OPEN.
"""

import uuid
from enum import Enum, auto

from streaming.protocol.client_messages import AnyClientMessage, Close, Init, Pong
from streaming.protocol.errors import ProtocolError


class State(Enum):
    CONNECTED = auto()
    """Before INIT."""
    OPENING = auto()
    """The avatar is being looked up."""
    OPEN = auto()
    DETACHED = auto()
    """The connection was lost, and the client may resume the session on another one."""
    CLOSED = auto()


class Event(Enum):
    INIT = auto()
    REFUSE_ID = auto()
    OPEN = auto()
    DETACH = auto()
    RESUME = auto()
    CLOSE = auto()


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.CONNECTED: {Event.INIT: State.OPENING, Event.CLOSE: State.CLOSED},
    State.OPENING: {
        Event.REFUSE_ID: State.CONNECTED,
        Event.OPEN: State.OPEN,
        Event.CLOSE: State.CLOSED,
    },
    State.OPEN: {Event.DETACH: State.DETACHED, Event.CLOSE: State.CLOSED},
    State.DETACHED: {Event.RESUME: State.OPEN, Event.CLOSE: State.CLOSED},
    State.CLOSED: {},
}


def check(message: AnyClientMessage, state: State, session_id: str | None) -> None:
    """Raise INVALID_SESSION unless the message belongs here and now.

    ``session_id``: the connection's own, once INIT has come. CLOSE and PONG are valid at any time,
    and need not name it.
    """
    if isinstance(message, Init):
        if state is not State.CONNECTED:
            raise invalid_session("INIT came already; a connection has one session.")
        return
    if isinstance(message, Close | Pong):
        if message.session_id is None or session_id is None:
            return
    elif state is not State.OPEN:
        raise invalid_session("The session is not initialized; send INIT first.")
    if not _is_same_id(message.session_id, session_id):
        raise invalid_session(f"session_id must be {session_id}, this connection's.")


def invalid_session(message: str) -> ProtocolError:
    return ProtocolError("INVALID_SESSION", message)


def _is_same_id(given: str | None, own: str | None) -> bool:
    """Whether both are one UUID, however it is spelt."""
    if given == own:
        return True
    if given is None or own is None:
        return False
    try:
        return uuid.UUID(given) == uuid.UUID(own)
    except ValueError:
        return False
