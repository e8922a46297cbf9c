"""The interrupts that a worker has not confirmed, and what each of them dropped."""

from collections import deque
from dataclasses import dataclass

from inference.timing import audio_timestamp_ms


@dataclass(slots=True)
class _Interrupt:
    generation: int
    shown: int
    """Up to here the interrupted speech is on its way to the screen."""
    end: int
    """Up to here it had been accepted."""


class Interrupts:
    """Positions are in samples."""

    def __init__(self) -> None:
        self._pending: deque[_Interrupt] = deque()

    @property
    def is_pending(self) -> bool:
        return bool(self._pending)

    def add(self, generation: int, shown: int, accepted: int) -> None:
        """Speech from ``shown`` to ``accepted`` is to be dropped; ``generation`` follows it."""
        self._pending.append(_Interrupt(generation, shown, accepted))

    def acknowledge(self, position: int) -> bool:
        """What is before ``position`` is on its way to the screen; False if nothing is pending.

        Frames that come before a confirmation show the old speech only, whatever their last one's
        padding claims.
        """
        if not self._pending:
            return False
        first = self._pending[0]
        first.shown = max(first.shown, min(position, first.end))
        return True

    def answer(self, generation: int) -> list[int]:
        """Interrupts up to ``generation`` are confirmed: the ms of speech that each dropped."""
        dropped_ms = []
        while self._pending and self._pending[0].generation <= generation:
            interrupt = self._pending.popleft()
            dropped_ms.append(audio_timestamp_ms(interrupt.end - interrupt.shown))
        return dropped_ms
