"""Passwords are hashed one at a time, by a thread that gives way to the streams.

A hash takes a quarter of a second of a core on purpose: forty log-ins at once would take every core
from the streams.
"""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from django.contrib.auth.hashers import PBKDF2PasswordHasher

NICER_BY = 5
"""A third of the share of what has to do with streams. A lower one would let nobody log in to a
server that is overloaded."""


def _give_way() -> None:
    if sys.platform == "linux":  # elsewhere only processes have a priority
        thread = threading.get_native_id()
        niceness = os.getpriority(os.PRIO_PROCESS, thread) + NICER_BY
        os.setpriority(os.PRIO_PROCESS, thread, niceness)


_worker = ThreadPoolExecutor(1, "password hashing", initializer=_give_way)


class OneAtATimeHasher(PBKDF2PasswordHasher):
    """Django's default hasher, in one thread of its own."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        return _worker.submit(super().encode, password, salt, iterations).result()
