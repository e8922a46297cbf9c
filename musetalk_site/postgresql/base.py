"""Django's backend for PostgreSQL, with our connections."""

from types import SimpleNamespace
from typing import Any

import psycopg
from django.db.backends.postgresql import base

from musetalk_site.postgresql.connections import ANSWERS_WITHIN_S, CONNECTS_WITHIN_S, Connection


class DatabaseWrapper(base.DatabaseWrapper):
    """A thread's access to the database: no call of it waits for ever."""

    Database = SimpleNamespace(  # type: ignore[assignment]  # as good as a module
        **{**vars(psycopg), "connect": Connection.connect}
    )
    """The driver, as Django uses it."""

    answers_within_s: float | None = ANSWERS_WITHIN_S
    """Of the connections that are opened from now on; None: without a deadline."""

    def get_connection_params(self) -> dict[str, Any]:
        """Return what the driver needs; a deadline in DATABASE_URL is kept."""
        return {"connect_timeout": CONNECTS_WITHIN_S, **super().get_connection_params()}

    def get_new_connection(self, conn_params: dict[str, Any]) -> Connection:
        """Open a connection."""
        connection: Connection = super().get_new_connection(conn_params)
        connection.answers_within_s = self.answers_within_s
        return connection
