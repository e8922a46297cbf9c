"""How much earlier than was reckoned mouths must be asked for, learned from those that came late.

An engine knows what its calls take, and reckons from that how long a mouth waits while so many
sessions speak. What it cannot know is what happens beside them: threads of its process that wait
for each other, a machine that is busy, clips being prepared on the same device. And sessions keep
their places in the 40 ms of a frame, so a lead that is too short by a little is too short for the
same session in every frame, and its mouth does not move at all.

So where mouths come late there is a step more, until they do not. Where none has been late for a
while there is a step less; one that was too early makes the while longer.

Pure: time is an argument.
"""

LATE_SHARE = 0.01
"""More mouths than this late in one window: a step more."""
WINDOW_S = 0.5
MIN_MOUTHS = 5
"""With fewer mouths in a window a share says nothing."""
STEP_S = 0.008
MOST_S = 0.12
"""No lead helps an engine that is so far behind."""
LEAST_PATIENCE_S, MOST_PATIENCE_S = 10.0, 640.0
"""How long all must be in time before there is a step less."""


class LearnedLead:
    """Of one engine, for all sessions."""

    def __init__(self) -> None:
        """Start without anything learned."""
        self._steps = 0
        self._mouths = self._late = 0
        self._window_began_s = 0.0
        self._changed_s = 0.0
        """When the last step was, or the last mouth was late."""
        self._has_eased = False
        """The last step was one less."""
        self._patience_s = LEAST_PATIENCE_S

    @property
    def extra_s(self) -> float:
        """How much earlier than reckoned, in seconds."""
        return min(self._steps * STEP_S, MOST_S)

    def mouth_ended(self, *, is_late: bool, now_s: float) -> None:
        """Count a mouth that was made, or was not waited for any longer.

        Args:
            is_late: Whether that was after its deadline.
            now_s: The moment.
        """
        if now_s - self._window_began_s >= WINDOW_S:
            if self._mouths >= MIN_MOUTHS:
                self._judge(now_s)
            self._window_began_s = now_s
            self._mouths = self._late = 0
        self._mouths += 1
        self._late += is_late

    def _judge(self, now_s: float) -> None:
        """Judge the window that is over."""
        since_s = now_s - self._changed_s
        if self._late > LATE_SHARE * self._mouths:
            if self._has_eased and since_s < self._patience_s:
                self._patience_s = min(2 * self._patience_s, MOST_PATIENCE_S)
            self._has_eased = False
            self._changed_s = now_s
            if self.extra_s < MOST_S:
                self._steps += 1
        elif self._steps and since_s >= self._patience_s:
            self._has_eased = True
            self._changed_s = now_s
            self._steps -= 1
