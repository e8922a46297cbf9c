"""When frames come, and which one is due now, as far as the door can tell.

Frame ``n`` is due ``n`` frame times after frame 0, by whichever worker's clock. The frame that came
soonest, measured so, was held up least on its way, so it tells best when frame 0 was due.
"""

from inference.timing import FRAME_S, FrameClock


class Arrivals:
    """Of one session's frames, from worker to worker."""

    def __init__(self) -> None:
        self._clock: FrameClock | None = None
        """By the frame that came soonest."""

    def came(self, frame: int, now_s: float) -> float:
        """How many seconds later than the soonest frame, measured by its number, this one came."""
        origin_s = now_s - frame * FRAME_S
        if self._clock is None or origin_s < self._clock.origin_s:
            self._clock = FrameClock(origin_s)
        return origin_s - self._clock.origin_s

    def frame_due_at(self, now_s: float) -> int:
        """The number of the frame that is due; 0 as long as none has come."""
        return 0 if self._clock is None else self._clock.frame_due_at(now_s)
