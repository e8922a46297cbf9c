"""Who is rendered next, and in what company.

Jobs of all sessions wait here for the engine. Whenever it is free it gets the most urgent ones, as
many as it takes in one call: while it works, the next batch gathers. So one session alone waits for
nobody, and many share calls without anyone having decided a batching window.

An engine that is too slow for all of them must not spend itself on the most urgent ones alone: each
would come too late by the time it took for the one before. So a job that a call begun now cannot
finish in time is passed over as long as there is one that it can.

Pure: deadlines are numbers, jobs are opaque.
"""

import heapq
import itertools
from collections.abc import Hashable
from typing import Generic, TypeVar

Job = TypeVar("Job", bound=Hashable)


class Batcher(Generic[Job]):
    """Earliest deadline that can be met first. Not thread-safe."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, Job]] = []
        self._order = itertools.count()
        self._withdrawn: set[Job] = set()

    def __len__(self) -> int:
        """Jobs that wait."""
        return len(self._waiting) - len(self._withdrawn)

    def submit(self, job: Job, deadline_s: float) -> None:
        heapq.heappush(self._waiting, (deadline_s, next(self._order), job))

    def withdraw(self, job: Job) -> None:
        """Forget a job that still waits; nothing happens if it does not."""
        if any(job == waiting for _, _, waiting in self._waiting):
            self._withdrawn.add(job)

    def next_batch(self, max_batch: int, *, end_s: float = 0.0) -> list[Job]:
        """Take the jobs of the next call; none if none waits.

        Args:
            max_batch: How many at most.
            end_s: When the call would probably be over. If that is too late for all, the least
                urgent job is tried alone.
        """
        batch: list[Job] = []
        too_late: list[tuple[float, int, Job]] = []
        while self._waiting and len(batch) < max_batch:
            waiting = heapq.heappop(self._waiting)
            deadline_s, _, job = waiting
            if job in self._withdrawn:
                self._withdrawn.remove(job)
            elif deadline_s < end_s:
                too_late.append(waiting)
            else:
                batch.append(job)
        if too_late and not batch:
            batch.append(too_late.pop()[2])
        for waiting in too_late:
            heapq.heappush(self._waiting, waiting)
        return batch
