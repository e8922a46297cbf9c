"""Two halves of a batch on two queues of work, so that two batches can be under way at once.

A GPU is not full while it does the UNet, whose inner layers are small. So the UNet of a batch runs
beside the decoder of the one before::

    first  queue   UNet 1 │ UNet 2    │ UNet 3    │
    second queue          │ decoder 1 │ decoder 2 │ decoder 3

Each queue does its work in order, so batches end in the order in which they were begun, and what
they hold does not depend on which half is faster. Between the queues there are two rules. The
second half of a batch begins after its first. And the first half of the next batch, which writes
where the one before it wrote, begins after that was *taken*: copied to where the second half reads
it, which it reads alone.

Pure: queues are CUDA's streams, or a test's; nothing here waits.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

Made = TypeVar("Made")
Taken = TypeVar("Taken")
Result = TypeVar("Result")


class WorkQueue(Protocol):
    """What is needed of a ``torch.cuda.Stream``."""

    def record_event(self) -> Any:
        """An event that happens when all that was queued until now is done."""

    def wait_event(self, event: Any) -> None:
        """What is queued from now on begins after the event."""


class Overlap:
    """Queues batches on two queues; one thread at a time."""

    def __init__(
        self,
        first: WorkQueue,
        second: WorkQueue,
        enter: Callable[[Any], AbstractContextManager[Any]],
    ) -> None:
        """Take two queues.

        Args:
            first: Of the UNet.
            second: Of the decoder and all that follows.
            enter: Inside of what it returns, work goes to the queue it was given.
        """
        self._first = first
        self._second = second
        self._enter = enter
        self._taken: Any | None = None
        self._ended: Any | None = None
        self.is_on = True
        """Otherwise a batch begins when the one before it has ended: for comparing."""

    def run(
        self,
        make: Callable[[], Made],
        take: Callable[[Made], Taken],
        finish: Callable[[Taken], Result],
    ) -> Result:
        """Queue one batch; what a step raises ends it, and the next batch can follow.

        Args:
            make: The first half. May overwrite what the batch before it made.
            take: Copies what was made, on the second queue.
            finish: The second half, after ``take``. May overwrite what the batch before it took.

        Returns:
            What ``finish`` returns.
        """
        before = self._taken if self.is_on else self._ended
        if before is not None:
            self._first.wait_event(before)
        with self._enter(self._first):
            made = make()
        self._second.wait_event(self._first.record_event())
        with self._enter(self._second):
            try:
                taken = take(made)
            finally:
                self._taken = self._ended = self._second.record_event()
            try:
                return finish(taken)
            finally:
                self._ended = self._second.record_event()
