"""How the server ends a connection: the messages to the client, and the name in the history.

A `CloseCause` becomes an ERROR, if there is something to say, then a CLOSE_ACK, then a close code.
Most are constants. Where it turns out on the way that there can be no session, a `ClosingError` is
raised, and `of` makes a cause of it.
"""

from dataclasses import dataclass
from typing import Literal

from streaming.protocol.errors import CloseCode, ClosingError, ProtocolError
from streaming.protocol.server_messages import CloseReason

CloseCauseName = Literal[
    "client_request",
    "server_shutdown",
    "unauthorized",
    "no_avatar",
    "timeout",
    "superseded",
    "capacity",
    "server_fault",
    "operator",
]
"""For the history; `SessionRecord.CloseCause` has them too."""


@dataclass(frozen=True, slots=True)
class CloseCause:
    word: CloseCauseName
    close_code: CloseCode
    reason: CloseReason = "error"
    """As CLOSE_ACK gives it."""
    error: ProtocolError | None = None
    """Sent before the close; it is never raised."""


CLIENT_REQUEST = CloseCause("client_request", CloseCode.CLIENT_REQUEST, "client_request")
TIMEOUT = CloseCause("timeout", CloseCode.TIMEOUT, "timeout")
SERVER_SHUTDOWN = CloseCause("server_shutdown", CloseCode.SERVER_SHUTDOWN, "server_shutdown")

SUPERSEDED = CloseCause(
    "superseded",
    CloseCode.SUPERSEDED,
    error=ProtocolError("INVALID_SESSION", "This session was taken over by a newer connection."),
)

OF_ANOTHER_USER = ProtocolError(
    "INVALID_SESSION", "This session_id is another user's; propose another, or null."
)
ID_TAKEN = CloseCause("superseded", CloseCode.SUPERSEDED, error=OF_ANOTHER_USER)
"""Found out by another gateway's answer, when the session may be open already."""

# The protocol has no code of its own for this. As when it was taken over, the session does not
# belong to this client any more, and there is no use in connecting again at once.
OPERATOR = CloseCause(
    "operator",
    CloseCode.SUPERSEDED,
    error=ProtocolError(
        "INVALID_SESSION",
        "This session was ended by an operator of the server.",
        reason="ended_by_operator",
    ),
)

TOKEN_EXPIRED = CloseCause(
    "unauthorized",
    CloseCode.UNAUTHORIZED,
    error=ProtocolError(
        "UNAUTHORIZED", "Your token allows this session no longer; connect again with a new one."
    ),
)

SERVER_FAULT = CloseCause(
    "server_fault",
    CloseCode.INTERNAL_ERROR,
    error=ProtocolError(
        "INTERNAL_ERROR", "The server made a mistake; it was logged. Connect again."
    ),
)

_WORDS: dict[CloseCode, CloseCauseName] = {
    CloseCode.UNAUTHORIZED: "unauthorized",
    CloseCode.MODEL_NOT_FOUND: "no_avatar",
    CloseCode.CAPACITY: "capacity",
    CloseCode.INTERNAL_ERROR: "server_fault",
}

_NO_AVATAR = {
    "preparing": "The avatar is being prepared; connect again when it is ready.",
    "failed": "The avatar could not be prepared; upload its video again.",
    "none": "There is no avatar for this user, and no default one; upload a video.",
}


def of(error: ClosingError) -> CloseCause:
    """Return the end that an error means."""
    return CloseCause(_WORDS[error.close_code], error.close_code, error=error)


def no_avatar(reason: Literal["preparing", "failed", "none"], percent: int) -> CloseCause:
    """There is no face to show; ``percent`` of its preparation is done."""
    progress = {} if reason == "none" else {"percent": percent}
    return of(
        ClosingError(
            "MODEL_NOT_FOUND",
            _NO_AVATAR[reason],
            close_code=CloseCode.MODEL_NOT_FOUND,
            reason=reason,
            **progress,
        )
    )
