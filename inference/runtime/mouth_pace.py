"""How many mouths are made while the process cannot keep its time.

A neighbor that takes the processor away makes everything late at once. What can be saved then are
mouths: making one is half the work of a speaking frame, and most of what keeps the event loop
waiting. Between mouths that are made the last one is repeated, and the sound continues. So, when
frames leave late, every second mouth is made, and then every fourth; pictures keep their rate, and
idle sessions, which are only sent what was encoded before, feel it last.

When frames are in time again there is a step back after a moment, the next one after another. A
step back that was too early makes the moment longer: where the load stays, a session should not be
late every second just to find that out.

Pure: time is an argument.
"""

LATE_S = 0.02
"""A frame sent so long after it was due is late."""
LATE_SHARE = 0.1
"""More late frames than this in one window: fewer mouths."""
WINDOW_S = 0.4
MIN_FRAMES = 5
"""With fewer frames in a window a share says nothing."""
MOST_STEPS = 2
LEAST_PATIENCE_S, MOST_PATIENCE_S = 0.8, 12.8
"""How long all must be in time before there is a step back."""


class MouthPace:
    """Of one process."""

    def __init__(self) -> None:
        """Start in time."""
        self._steps = 0
        self._frames = self._late = 0
        self._window_began_s = 0.0
        self._changed_s = 0.0
        """When the last step was."""
        self._has_eased = False
        """That was one back."""
        self._patience_s = LEAST_PATIENCE_S

    @property
    def every(self) -> int:
        """Of so many mouths one is made; 1: all are."""
        return 1 << self._steps

    def frame_sent(self, lateness_s: float, now_s: float) -> None:
        """Count a frame that was sent.

        Args:
            lateness_s: How long after it was due.
            now_s: The moment.
        """
        if now_s - self._window_began_s >= WINDOW_S:
            if self._frames >= MIN_FRAMES:
                self._judge(now_s)
            self._window_began_s = now_s
            self._frames = self._late = 0
        self._frames += 1
        self._late += lateness_s > LATE_S

    def _judge(self, now_s: float) -> None:
        """Judge the window that is over."""
        since_s = now_s - self._changed_s
        if self._late > LATE_SHARE * self._frames:
            if self._has_eased and since_s < self._patience_s:
                self._patience_s = min(2 * self._patience_s, MOST_PATIENCE_S)
            self._step(min(self._steps + 1, MOST_STEPS), now_s)
        elif since_s < self._patience_s:
            return
        elif self._steps:
            self._step(self._steps - 1, now_s)
        elif since_s >= MOST_PATIENCE_S:
            self._patience_s = LEAST_PATIENCE_S

    def _step(self, steps: int, now_s: float) -> None:
        self._has_eased = steps < self._steps
        self._steps, self._changed_s = steps, now_s
