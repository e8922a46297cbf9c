"""How long a mouth waits for its answer while many sessions speak: found by playing it through.

The call that it comes to on average (`buckets.call_at_rest`) tells too little: sessions begin at
any time, calls that happened to be large bring large ones after them, and 9 jobs are cut into 8
and 1. So some seconds of jobs are played through, for sessions that are spread at random, always
the same way.

Pure: no clock; all times are in one unit, any.
"""

import random
from collections.abc import Mapping

from inference.engines.musetalk.execution.buckets import least_times

SHARE = 0.99
"""Of jobs that are answered in time."""

PERIODS = 100
SPREADS = 4
"""Ways in which sessions are spread over the period."""


def answered_within(
    jobs: int,
    period: float,
    times: Mapping[int, float],
    *,
    under_way: int = 1,
    overhead: float = 0.0,
) -> float:
    """Within what time `SHARE` of jobs are answered, of ``jobs`` that come in every ``period``.

    Args:
        jobs: At least 1; fewer than keep calls busy all the time, or waiting grows without end.
        period: The time in which each session brings one.
        times: What a batch of each bucket takes of the device.
        under_way: Calls at the same time, whose batches the device does one after the other.
        overhead: What a call takes beside the device's time, beside another call's.
    """
    spread = random.Random(0)  # noqa: S311 -- the same for all
    totals = [took for took, _ in least_times(2 * jobs, times)]
    waited: list[float] = []
    for _ in range(SPREADS):
        phases = sorted(spread.uniform(0, period) for _ in range(jobs))
        came = [number * period + phase for number in range(PERIODS) for phase in phases]
        waited += _waits(came, totals, under_way, overhead)
    return sorted(waited)[int(SHARE * len(waited))]


def _waits(came: list[float], totals: list[float], under_way: int, overhead: float) -> list[float]:
    """Of each job; ``totals``: what so many take at once, no call takes more."""
    waits: list[float] = []
    free_at = [0.0] * under_way
    device_free_at = 0.0
    at = 0
    while at < len(came):
        begins = max(min(free_at), came[at])
        end = at
        while end < len(came) and came[end] <= begins and end - at < len(totals) - 1:
            end += 1
        device_free_at = max(begins + overhead, device_free_at) + totals[end - at]
        free_at[free_at.index(min(free_at))] = device_free_at
        waits += [device_free_at - time for time in came[at:end]]
        at = end
    return waits
