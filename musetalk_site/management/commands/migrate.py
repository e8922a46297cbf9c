"""`manage.py migrate`, by one process at a time, and not on a database of before 0.2.

Several units that start together all migrate first. Django does not lock: on a fresh database all
but one fail. Here each waits for the one before it, by an advisory lock of PostgreSQL, or by a lock
on a file beside the SQLite database.

The advisory lock is a transaction's, on a connection of its own: a pooler such as PgBouncer gives
the next statement outside of a transaction another connection, which would hold the lock for ever.
For the same reason nobody waits within a transaction: all connections of a small pool might.

The migrations were rewritten in 0.2. A SQLite database of before is moved aside; it holds only the
history of sessions and avatars' rows, and prepared folders count as avatars without a row.
"""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import DatabaseError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from inference.reachability import in_one_line

_LOCK_ID = 0x6D757365
"""Of the advisory lock; any number that no other application uses."""
_ASKS_AGAIN_S = 0.5


class Command(migrate.Command):
    """Django's, with a lock."""

    def execute(self, *args: Any, **options: Any) -> Any:
        """Check and migrate; CommandError if the database does not let it."""
        try:
            return super().execute(*args, **options)
        except (DatabaseError, OSError) as error:
            raise CommandError(f"The database cannot be changed: {in_one_line(error)}") from error

    def handle(self, *args: Any, **options: Any) -> None:
        """Wait for other migrations, then migrate."""
        connection = connections[options["database"]]
        with self._locked(connection):
            if _is_of_before(connection):
                self._move_aside(connection)
            super().handle(*args, **options)

    def _move_aside(self, connection: BaseDatabaseWrapper) -> None:
        if connection.vendor != "sqlite":
            raise CommandError(
                "This database is of a version before 0.2, whose migrations were rewritten: name "
                "an empty one in DATABASE_URL."
            )
        connection.close()
        path = Path(str(connection.settings_dict["NAME"]))
        aside = path.with_name(f"{path.name}.before-0.2-{timezone.now():%Y%m%d-%H%M%S}")
        path.rename(aside)
        self.stdout.write(f"The database is of a version before 0.2: it was moved to {aside}.")

    @contextlib.contextmanager
    def _locked(self, connection: BaseDatabaseWrapper) -> Iterator[None]:
        if connection.vendor == "postgresql":
            connection.close()
            connection.answers_within_s = None  # type: ignore[attr-defined]  # migrations take long
            locking = connection.copy()
            try:
                self._lock(locking)
                yield
            finally:
                locking.close()  # ends its transaction
        elif connection.vendor == "sqlite" and not connection.is_in_memory_db():  # type: ignore[attr-defined]
            with _locked_file(Path(f"{connection.settings_dict['NAME']}.lock")):
                yield
        else:
            yield

    def _lock(self, connection: BaseDatabaseWrapper) -> None:
        """Begin a transaction that has the lock."""
        is_said = False
        try:
            while not _try_lock(connection):
                if not is_said:
                    self.stdout.write("Another migration is running: waiting for its end.")
                    self.stdout.flush()
                    is_said = True
                threading.Event().wait(_ASKS_AGAIN_S)
        except OperationalError as error:
            raise CommandError(f"The database cannot be reached: {in_one_line(error)}") from None


def _try_lock(connection: BaseDatabaseWrapper) -> bool:
    """Whether the connection now is in a transaction that has the lock."""
    connection.set_autocommit(False)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK_ID])
        has_lock = bool(cursor.fetchone()[0])
    if not has_lock:
        connection.close()
    return has_lock


@contextlib.contextmanager
def _locked_file(path: Path) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # Windows: several processes are not migrated together there
        yield
        return
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_of_before(connection: BaseDatabaseWrapper) -> bool:
    return "streaming_doorprocess" in connection.introspection.table_names()
