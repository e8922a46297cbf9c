"""How much of a processor's time something takes."""

import time
from collections.abc import Callable


def best_s(work: Callable[[], object], rounds: int = 7) -> float:
    """Return what ``work`` took in the best round: other work on the machine counts least there."""
    times = []
    for _ in range(rounds):
        began_s = time.process_time()
        work()
        times.append(time.process_time() - began_s)
    return min(times)
