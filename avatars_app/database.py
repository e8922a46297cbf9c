"""Whether this process can use its database."""

import logging

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
