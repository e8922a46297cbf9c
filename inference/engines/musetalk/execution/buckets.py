"""How many jobs go into one batch: sizes that the nets are recorded for.

A batch is padded to the next bucket, and a GPU that is full does padding at the price of work. So a
number of jobs is cut into the buckets that take the least time together: 18 as 16 and 2 where a
batch of 32 would take twice as long.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

SIZES = (1, 2, 4, 8, 12, 16, 20, 24, 32)
"""Between 8 and 32 a power of two alone leaves a GPU with half of its sessions refused."""


def bucket_of(count: int, sizes: Iterable[int]) -> int:
    """Return the smallest of ``sizes``, which ascend, that holds ``count``."""
    return next(size for size in sizes if size >= count)


def least_times(count: int, times: Mapping[int, float]) -> tuple[tuple[float, int], ...]:
    """For 0 … ``count`` jobs the time of their batches and the bucket to begin with (0 for none).

    ``times``: what a batch of each bucket takes, in any unit. Of equal times the larger bucket.
    """
    return _least_times(count, tuple(times.items()))


@lru_cache(maxsize=256)
def _least_times(count: int, times: tuple[tuple[int, float], ...]) -> tuple[tuple[float, int], ...]:
    """Kept, as it is wanted for each batch and each report of a capacity: 0.1 ms of Python."""
    best = [(0.0, 0)]
    for jobs in range(1, count + 1):
        best.append(
            min(
                ((took + best[max(jobs - size, 0)][0], size) for size, took in times),
                key=lambda found: (found[0], -found[1]),
            )
        )
    return tuple(best)


def next_batch(count: int, times: Mapping[int, float]) -> int:
    """How many of ``count`` jobs the next batch is to take."""
    return min(least_times(count, times)[-1][1], count)


def call_at_rest(jobs: int, period: float, times: Mapping[int, float]) -> tuple[int, float]:
    """The call that it comes to when ``jobs`` jobs come evenly in every ``period``.

    Each call takes all jobs that came during the one before. Where that never settles: a call of
    all jobs.

    Returns:
        How many jobs it has, and what it takes.
    """
    totals = [took for took, _ in least_times(jobs, times)]
    return next(
        ((n, took) for n, took in enumerate(totals) if n and took * jobs <= n * period),
        (jobs, totals[-1]),
    )


def jobs_carried(busy: float, times: Mapping[int, float]) -> int:
    """How many jobs a period can bring, evenly spread, for calls to keep up with them.

    Calls come to rest where each takes the jobs that came during the one before (`call_at_rest`).
    With ``jobs`` a period, a call of ``batch`` jobs comes every ``batch / jobs`` of it; calls keep
    up if for some batch of at most ``jobs`` they fill no more than ``busy`` of the period.

    Args:
        busy: The part of a period that calls may fill, in the unit of ``times``.
        times: What a batch of each bucket takes while others come before and after it.

    Returns:
        The largest number of jobs; 0 if a single one takes longer than ``busy``.
    """
    most = int(busy / min(took / size for size, took in times.items()))
    totals = [took for took, _ in least_times(most, times)]
    cheapest, carried = float("inf"), 0
    for jobs in range(1, most + 1):
        cheapest = min(cheapest, totals[jobs] / jobs)
        if jobs * cheapest <= busy:
            carried = jobs
    return carried
