"""`manage.py migrate`, by one process at a time, and not on a database of before 0.2.

Several units that start together all migrate first. Django does not lock: on a fresh database all
but one fail. Here each waits for the one before it, by an advisory lock of PostgreSQL, or by a lock
on a file beside the SQLite database.

The migrations were rewritten in 0.2. A SQLite database of before is moved aside; it holds only the
history of sessions and avatars' rows, and prepared folders count as avatars without a row.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from inference.reachability import in_one_line

_LOCK_ID = 0x6D757365
"""Of the advisory lock; any number that no other application uses."""


class Command(migrate.Command):
    """Django's, with a lock."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Wait for other migrations, then migrate."""
        connection = connections[options["database"]]
        with _locked(connection):
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
def _locked(connection: BaseDatabaseWrapper) -> Iterator[None]:
    if connection.vendor == "postgresql":
        connection.close()  # neither the lock nor a migration has a deadline
        connection.answers_within_s = None  # type: ignore[attr-defined]
        try:
            connection.ensure_connection()
        except OperationalError as error:
            raise CommandError(f"The database cannot be reached: {in_one_line(error)}") from None
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [_LOCK_ID])
        try:
            yield
        finally:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [_LOCK_ID])
    elif connection.vendor == "sqlite" and not connection.is_in_memory_db():  # type: ignore[attr-defined]
        with _locked_file(Path(f"{connection.settings_dict['NAME']}.lock")):
            yield
    else:
        yield


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
