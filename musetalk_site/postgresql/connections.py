"""Connections to PostgreSQL on which no call waits for ever.

A server that is stopped, a network that falls silent and a lock that another connection holds all
look alike: no answer comes, and nothing is closed. The client library has a deadline for opening a
connection alone. A thread that waits without one learns of no outage, and holds up the end of its
process.
"""

import time
from contextlib import suppress
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen

ANSWERS_WITHIN_S = 5.0
"""How long the server may take to answer one call."""
CANCELS_WITHIN_S = 1.0
"""How long it may take to hear that its answer is no longer wanted."""
CONNECTS_WITHIN_S = 3
"""How long opening a connection may take, for each address of the host; an integer for libpq."""
INTERRUPTIBLE_EVERY_S = 0.1
"""For Ctrl-C."""

Result = TypeVar("Result")


class Connection(psycopg.Connection[Any]):
    """A connection that is closed once the server has not answered in time."""

    answers_within_s: float | None = ANSWERS_WITHIN_S
    """None: it may take as long as it likes."""

    def wait(
        self,
        gen: PQGen[Result],
        interval: float = INTERRUPTIBLE_EVERY_S,
        timeout: float | None = None,
    ) -> Result:
        """Return what a call results in.

        Raises:
            OperationalError: The server did not answer in time, among other reasons.
        """
        if timeout is not None or self.answers_within_s is None:
            return super().wait(gen, interval, timeout)
        deadline_s = time.monotonic() + self.answers_within_s
        try:
            return super().wait(gen, interval, self.answers_within_s)
        except psycopg.OperationalError:
            if time.monotonic() < deadline_s:
                raise
            self._give_up()
            raise psycopg.OperationalError(
                f"the server did not answer within {self.answers_within_s:g} s"
            ) from None

    def _give_up(self) -> None:
        """Close it. The server is asked to cancel: otherwise it keeps waiting for a lock."""
        if psycopg.capabilities.has_cancel_safe():
            with suppress(psycopg.Error):
                self.cancel_safe(timeout=CANCELS_WITHIN_S)
        self.close()
