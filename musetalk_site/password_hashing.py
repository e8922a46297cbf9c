"""Passwords are hashed one at a time.

A hash takes a quarter of a second of a core on purpose: forty log-ins at once would take every core
from the streams.
"""

import threading

from django.contrib.auth.hashers import PBKDF2PasswordHasher

_one_at_a_time = threading.Lock()


class OneAtATimeHasher(PBKDF2PasswordHasher):
    """Django's default hasher, for one thread at a time."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        with _one_at_a_time:
            return super().encode(password, salt, iterations)
