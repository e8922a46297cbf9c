"""When a process that ends repeatedly is not started any more. Pure: time is an argument."""

import signal
from collections import deque

DEATHS = 5
DEATHS_WITHIN_S = 30.0


class RestartLimit:
    """Counts how often one process ended lately."""

    def __init__(self) -> None:
        self._deaths: deque[float] = deque()

    def count_death(self, now_s: float) -> bool:
        """Count an end; whether it was the last that is accepted."""
        self._deaths.append(now_s)
        while now_s - self._deaths[0] > DEATHS_WITHIN_S:
            self._deaths.popleft()
        return len(self._deaths) >= DEATHS


def describe_status(status: int) -> str:
    """How a process ended, by its exit status as `subprocess` gives it."""
    if status < 0:
        return f"signal {signal.Signals(-status).name}"
    return f"status {status}"
