"""What can go wrong at the gateway, and how the client sees it.

StreamingError
├── ProtocolError       a request cannot be fulfilled: becomes an ERROR, the connection stays
│   └── ClosingError    becomes an ERROR, and the connection is closed
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


class SessionIdTaken(StreamingError):
    pass
