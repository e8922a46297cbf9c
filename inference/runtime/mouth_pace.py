"""How many mouths are made while the process cannot keep its time.

A neighbor that takes the processor away makes everything late at once. What can be saved then are
mouths: making one is half the work of a speaking frame, and most of what keeps the event loop
waiting. Between mouths that are made the last one is repeated, and the sound continues. So, when
frames leave late, every second mouth is made, and then every fourth; pictures keep their rate, and
idle sessions, which are only sent what was encoded before, feel it last.

When frames are in time again there is a step back after a moment, as `late_steps` has it.

Pure: time is an argument.
"""

from inference.late_steps import LateSteps, Rule

LATE_S = 0.02
"""A frame sent so long after it was due is late."""
WINDOW_S = 0.4
MOST_STEPS = 2
MOST_PATIENCE_S = 12.8
_RULE = Rule(
    late_share=0.1,
    window_s=WINDOW_S,
    least_count=5,
    most_steps=MOST_STEPS,
    least_patience_s=0.8,
    most_patience_s=MOST_PATIENCE_S,
)


class MouthPace:
    """Of one process."""

    def __init__(self) -> None:
        """Start in time."""
        self._late = LateSteps(_RULE)

    @property
    def every(self) -> int:
        """Of so many mouths one is made; 1: all are."""
        return 1 << self._late.steps

    def frame_sent(self, lateness_s: float, now_s: float) -> None:
        """Count a frame that was sent.

        Args:
            lateness_s: How long after it was due.
            now_s: The moment.
        """
        self._late.count(is_late=lateness_s > LATE_S, now_s=now_s)
