"""What the log says of a connection: the context of its lines, the errors it was sent, its end."""

import logging
import uuid
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

if TYPE_CHECKING:  # the settings import this module, before anything of the session may be loaded
    from streaming.protocol.server_messages import Error
    from streaming.session.session import Session

log = logging.getLogger(__name__)

CONNECTION: Final = "connection"
"""The context variable: a function that gives the fields as they are when a line is written."""

SAME_ERROR_EVERY_S = 10.0
"""A client that repeats its mistake gets one line in so many seconds."""


class Source(Protocol):
    """What the fields are read from."""

    scope: Any
    session: "Session"


class ConnectionLog:
    """The log of one connection."""

    def __init__(self, source: Source) -> None:
        self._fields = _fields_of(source)
        self._source = weakref.ref(source)
        self._written_s: dict[str, float] = {}
        self._left_out: Counter[str] = Counter()
        self._close_code: int | None = None

    def bind(self) -> None:
        """Have the lines of this task, and of tasks begun in it, carry the fields."""
        structlog.contextvars.bind_contextvars(**{CONNECTION: self._fields})

    @contextmanager
    def bound(self) -> Iterator[None]:
        """For what another connection's task does to this connection."""
        with structlog.contextvars.bound_contextvars(**{CONNECTION: self._fields}):
            yield

    def error_sent(self, error: "Error", now_s: float) -> None:
        """Log an error sent to the client: the first of a kind in `SAME_ERROR_EVERY_S` gets a line.

        Args:
            error: The message.
            now_s: The time, in seconds.
        """
        code = error.data.code
        written_s = self._written_s.get(code)
        if written_s is not None and now_s - written_s < SAME_ERROR_EVERY_S:
            self._left_out[code] += 1
            return
        self._written_s[code] = now_s
        left_out = self._left_out.pop(code, 0)
        more = f" ({left_out} more since the line before)" if left_out else ""
        log.warning(
            "session %s: ERROR %s sent: %s%s",
            self._session_id,
            code,
            error.data.message,
            more,
            extra={"code": code},
        )

    def closing(self, code: int | None) -> None:
        """Keep a close code, of whichever side closes first."""
        if self._close_code is None:
            self._close_code = code

    def closed(self) -> None:
        """Log that the connection is gone."""
        source = self._source()
        log.info(
            "session %s: connection closed with %s",
            self._session_id,
            self._close_code,
            extra={
                "close_code": self._close_code,
                "cause": None if source is None else source.session.close_cause,
            },
        )

    @property
    def _session_id(self) -> str | None:
        source = self._source()
        return None if source is None else source.session.session_id


def _fields_of(source: Source) -> Callable[[], dict[str, Any]]:
    # Tasks copy the context in which they begin and may outlive the connection: held weakly.
    reference, request = weakref.ref(source), uuid.uuid4().hex[:12]

    def fields() -> dict[str, Any]:
        source = reference()
        if source is None:
            return {}
        session, link = source.session, source.session.link
        worker = None if link is None else link.last_worker
        known = {
            "request": request,
            "session": session.session_id,
            "user": session.user_id,
            "avatar": None if link is None else link.avatar.folder,
            "address": (source.scope.get("client") or [None])[0],
            "engine": None if worker is None else worker.engine,
        }
        return {name: value for name, value in known.items() if value}

    return fields
