"""How this process uses its database, and whether it can."""

import logging

from django.db import connection

from inference.reachability import Reachability


class Availability(Reachability):
    """What those who use the database regularly saw of it."""

    def __init__(self) -> None:
        super().__init__(
            logging.getLogger(__name__),
            lost="the database cannot be reached; trying again until it is back: %s",
            back="the database is back after %.1f s",
        )


availability = Availability()
"""Of this process."""


def use_kept_connection() -> None:
    """Begin something with the connection that this thread has kept; with another if it broke.

    For threads of our own that ask every second: where Django does not know when a connection is
    needed again, it opens one for each call, which costs four times the question. They close theirs
    at their end.
    """
    if connection.connection is None:
        return
    if connection.errors_occurred or not connection.is_usable():
        connection.close()
