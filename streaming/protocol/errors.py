"""What can go wrong at the gateway, and how the client sees it.

StreamingError
├── ProtocolError       a request cannot be fulfilled: becomes an ERROR, the connection stays
│   └── ClosingError    becomes an ERROR, and the connection is closed
│       ├── HolderFull  a subject or an address has as many sessions as it may have
│       └── DatabaseUnavailable  no session can begin without the database
└── SessionIdTaken      the proposed session_id is live, and another user's

A fault of the server is neither: its traceback goes to the log, the client sees INTERNAL_ERROR.
"""

from enum import IntEnum
from typing import Any, Literal

ErrorCode = Literal[
    "INVALID_MESSAGE",
    "INVALID_SESSION",
    "MODEL_NOT_FOUND",
    "PROCESSING_ERROR",
    "RATE_LIMIT_EXCEEDED",
    "UNAUTHORIZED",
    "INTERNAL_ERROR",
]


class CloseCode(IntEnum):
    """Why the server closes. Daphne sends 1000 and 4000 to 4999 only; 1009 is its own affair."""

    CLIENT_REQUEST = 1000
    SERVER_SHUTDOWN = 4012
    UNAUTHORIZED = 4401
    MODEL_NOT_FOUND = 4404
    TIMEOUT = 4408
    SUPERSEDED = 4409
    CAPACITY = 4429
    INTERNAL_ERROR = 4500


ERROR_MEANINGS: tuple[tuple[ErrorCode, str, str], ...] = (
    (
        "INVALID_MESSAGE",
        ("not JSON, an unknown type, a wrong field, an unknown clip, an utterance that is over"),
        "the session continues",
    ),
    (
        "INVALID_SESSION",
        ("before INIT, a second INIT, another session_id, another user's live id, a wrong token"),
        "the session continues",
    ),
    (
        "MODEL_NOT_FOUND",
        "the avatar is not ready, cannot be opened, or there is none",
        "close 4404",
    ),
    (
        "PROCESSING_ERROR",
        "no worker, or lip-sync failed or was too slow: details.reason",
        "the session continues",
    ),
    (
        "PROCESSING_ERROR",
        'the database cannot be used: details.reason: "database_unavailable", or the identity '
        'provider cannot be reached: "identity_provider_unavailable"; connect again after '
        "details.retry_after_ms",
        "close 4500",
    ),
    (
        "RATE_LIMIT_EXCEEDED",
        "too many messages, too much queued speech, too many utterances",
        "the session continues",
    ),
    (
        "RATE_LIMIT_EXCEEDED",
        'no place to speak is free: details.reason: "speech_capacity"; send the chunk again after '
        "details.retry_after_ms",
        "the session continues",
    ),
    (
        "RATE_LIMIT_EXCEEDED",
        'all workers are full: details.reason: "capacity"',
        "close 4429",
    ),
    (
        "RATE_LIMIT_EXCEEDED",
        "too many sessions, or connections a minute, of one subject or address: details.reason: "
        '"sessions_per_subject", "connections_per_address", …; connect again after '
        "details.retry_after_ms",
        "close 4429",
    ),
    (
        "UNAUTHORIZED",
        "with AUTH: the credential is missing, wrong, over or withdrawn",
        "close 4401",
    ),
    (
        "INTERNAL_ERROR",
        "a fault of the server",
        "close 4500",
    ),
)
"""Code, when it comes, what follows; for the pages that explain the protocol."""

CLOSE_MEANINGS: dict[int, str] = {
    1000: "the client asked for it",
    1009: "a message was too large",
    4012: "the server shuts down",
    4401: "the credential does not allow this session, or allows it no longer",
    4404: "there is no avatar to show",
    4408: "no INIT within 10 s, no message for SESSION_IDLE_S, or MAX_SESSION_S is over",
    4409: "opened on a newer connection, another user's session, or ended by an operator",
    4429: "no capacity, or a limit of the subject or the address",
    4500: "a fault of the server, or of its database",
}
"""Every close code, for the same pages. 1009 is Daphne's own."""


SESSION_RETRY_AFTER_MS = 5_000
DATABASE_RETRY_AFTER_MS = 3_000


class StreamingError(Exception):
    """Parent of all; never raised itself."""


class ProtocolError(StreamingError):
    """A client's request cannot be fulfilled.

    ``message`` is a sentence for people: what was wrong and what is allowed. ``details`` is for
    programs; ``retry_after_ms`` stands in it where trying again helps.
    """

    def __init__(self, code: ErrorCode, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.message = message
        self.details = details


class ClosingError(ProtocolError):
    """A request cannot be fulfilled, and without it there is no session."""

    def __init__(
        self, code: ErrorCode, message: str, *, close_code: CloseCode, **details: Any
    ) -> None:
        super().__init__(code, message, **details)
        self.close_code = close_code


class HolderFull(ClosingError):
    """A subject or an address has as many sessions as it may have."""

    def __init__(self, holder: str, limit: int) -> None:
        """Refuse another session.

        Args:
            holder: Its kind and its name, as in ``subject:ann``.
            limit: How many it may have.
        """
        kind = holder.partition(":")[0]
        super().__init__(
            "RATE_LIMIT_EXCEEDED",
            f"This {kind} has {limit} sessions, and may have no more; end one, then try again.",
            close_code=CloseCode.CAPACITY,
            reason=f"sessions_per_{kind}",
            retry_after_ms=SESSION_RETRY_AFTER_MS,
        )
        self.holder = holder
        self.limit = limit


class DatabaseUnavailable(ClosingError):
    """The database cannot be reached, or takes no more connections: no session can begin now."""

    def __init__(self) -> None:
        super().__init__(
            "PROCESSING_ERROR",
            "The server cannot use its database now; connect again in "
            f"{DATABASE_RETRY_AFTER_MS // 1_000} s.",
            close_code=CloseCode.INTERNAL_ERROR,
            reason="database_unavailable",
            retry_after_ms=DATABASE_RETRY_AFTER_MS,
        )


class SessionIdTaken(StreamingError):
    pass
