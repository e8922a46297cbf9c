"""When a process that ends repeatedly is not started any more. Pure: time is an argument."""

import signal
from collections import deque

DEATHS = 5
DEATHS_WITHIN_S = 30.0


class RestartLimit:
    """Counts how often one process ended lately, or before it was of any use."""

    def __init__(self) -> None:
        self._deaths: deque[float] = deque()
        self._never_ready = 0

    def count_death(self, now_s: float, *, was_ready: bool = True) -> bool:
        """Count an end; whether it was the last that is accepted.

        Args:
            now_s: When it ended.
            was_ready: Whether it was of use before. On a busy machine one that cannot start may
                take longer to find out than many ends may be apart.
        """
        self._never_ready = 0 if was_ready else self._never_ready + 1
        self._deaths.append(now_s)
        while now_s - self._deaths[0] > DEATHS_WITHIN_S:
            self._deaths.popleft()
        return max(len(self._deaths), self._never_ready) >= DEATHS


def describe_status(status: int) -> str:
    """How a process ended, by its exit status as `subprocess` gives it."""
    if status < 0:
        return f"signal {signal.Signals(-status).name}"
    return f"status {status}"
