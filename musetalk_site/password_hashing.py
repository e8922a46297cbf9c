"""Passwords are hashed one at a time, after everything else that the machine has to do.

A hash takes a quarter of a second of a core on purpose: forty log-ins at once would take every core
from the streams.
"""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from django.contrib.auth.hashers import PBKDF2PasswordHasher

NICENESS = 19


def _work_after_others() -> None:
    if sys.platform == "linux":  # elsewhere only processes have a priority
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


_worker = ThreadPoolExecutor(1, "password hashing", initializer=_work_after_others)


class OneAtATimeHasher(PBKDF2PasswordHasher):
    """Django's default hasher, in one thread of its own."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        return _worker.submit(super().encode, password, salt, iterations).result()
