"""Steps up while too much is late, and down again once nothing is: how load is answered.

What is late is counted in windows of time. After a window of which too large a share was late there
is a step more. When all has been in time for a while there is a step less, the next one after
another such while. A step back that was too early makes the while longer: where the load stays,
nobody should be late every moment just to find that out.

Pure: time is an argument.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """When steps are taken.

    ``late_share``: more than this late in one window: a step more. ``window_s``: how long one is.
    ``least_count``: with fewer in a window a share says nothing. ``most_steps``: no more than
    these. ``least_patience_s``, ``most_patience_s``: how long all must be in time before there is
    a step less.
    """

    late_share: float
    window_s: float
    least_count: int
    most_steps: int
    least_patience_s: float
    most_patience_s: float


class LateSteps:
    """Counts what is late, and says how many steps that has come to."""

    def __init__(self, rule: Rule) -> None:
        """Start in time."""
        self.steps = 0
        self._rule = rule
        self._count = self._late = 0
        self._window_began_s = 0.0
        self._changed_s = 0.0
        """When the last step was, or would have been, were there more."""
        self._has_eased = False
        """That was one less."""
        self._patience_s = rule.least_patience_s

    def count(self, *, is_late: bool, now_s: float) -> None:
        """Count one.

        Args:
            is_late: Whether it was.
            now_s: The moment.
        """
        if now_s - self._window_began_s >= self._rule.window_s:
            if self._count >= self._rule.least_count:
                self._judge(now_s)
            self._window_began_s = now_s
            self._count = self._late = 0
        self._count += 1
        self._late += is_late

    def _judge(self, now_s: float) -> None:
        """Judge the window that is over."""
        since_s = now_s - self._changed_s
        if self._late > self._rule.late_share * self._count:
            if self._has_eased and since_s < self._patience_s:
                self._patience_s = min(2 * self._patience_s, self._rule.most_patience_s)
            self._step(min(self.steps + 1, self._rule.most_steps), now_s)
        elif since_s < self._patience_s:
            return
        elif self.steps:
            self._step(self.steps - 1, now_s)
        elif since_s >= self._rule.most_patience_s:
            self._patience_s = self._rule.least_patience_s

    def _step(self, steps: int, now_s: float) -> None:
        self._has_eased = steps < self.steps
        self.steps, self._changed_s = steps, now_s
