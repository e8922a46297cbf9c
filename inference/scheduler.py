"""Who is rendered next, and in what company.

Jobs of all sessions wait here for the engine. Whenever it is free it gets the most urgent ones, as
many as it takes in one call: while it works, the next batch gathers. So one session alone waits for
nobody, and many share calls without anyone having decided a batching window.

Pure: deadlines are numbers, jobs are opaque.
"""

import heapq
import itertools
from collections.abc import Hashable
from typing import Generic, TypeVar

Job = TypeVar("Job", bound=Hashable)


class Scheduler(Generic[Job]):
    """Earliest deadline first, at most ``concurrency`` calls at once."""

    def __init__(self, *, concurrency: int) -> None:
        self._concurrency = concurrency
        self._waiting: list[tuple[float, int, Job]] = []
        self._order = itertools.count()
        self._withdrawn: set[Job] = set()
        self._calls = 0

    def __len__(self) -> int:
        """Jobs that wait."""
        return len(self._waiting) - len(self._withdrawn)

    def submit(self, job: Job, deadline_s: float) -> None:
        heapq.heappush(self._waiting, (deadline_s, next(self._order), job))

    def withdraw(self, job: Job) -> None:
        """Forget a job that still waits; nothing happens if it does not."""
        if any(job == waiting for _, _, waiting in self._waiting):
            self._withdrawn.add(job)

    def start_call(self, max_batch: int) -> list[Job]:
        """The next batch, or [] if none waits or the engine has its hands full.

        A batch that is not empty must be followed by `end_call`.
        """
        if self._calls >= self._concurrency:
            return []
        batch: list[Job] = []
        while self._waiting and len(batch) < max_batch:
            _, _, job = heapq.heappop(self._waiting)
            if job in self._withdrawn:
                self._withdrawn.remove(job)
            else:
                batch.append(job)
        if batch:
            self._calls += 1
        return batch

    def end_call(self) -> None:
        self._calls -= 1
