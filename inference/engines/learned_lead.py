"""How much earlier than was reckoned mouths must be asked for, learned from those that came late.

An engine knows what its calls take, and reckons from that how long a mouth waits while so many
sessions speak. What it cannot know is what happens beside them: threads of its process that wait
for each other, a machine that is busy, clips being prepared on the same device. And sessions keep
their places in the 40 ms of a frame, so a lead that is too short by a little is too short for the
same session in every frame, and its mouth does not move at all.

So where mouths come late there is a step more, until they do not, and where none has been late for
a while a step less, as `late_steps` has it.

Pure: time is an argument.
"""

from inference.late_steps import LateSteps, Rule

WINDOW_S = 0.5
STEP_S = 0.008
_MOST_STEPS = 15
MOST_S = _MOST_STEPS * STEP_S
"""No lead helps an engine that is so far behind."""
LEAST_PATIENCE_S = 10.0
_RULE = Rule(
    late_share=0.01,
    window_s=WINDOW_S,
    least_count=5,
    most_steps=_MOST_STEPS,
    least_patience_s=LEAST_PATIENCE_S,
    most_patience_s=640.0,
)


class LearnedLead:
    """Of one engine, for all sessions."""

    def __init__(self) -> None:
        """Start without anything learned."""
        self._late = LateSteps(_RULE)

    @property
    def extra_s(self) -> float:
        """How much earlier than reckoned, in seconds."""
        return self._late.steps * STEP_S

    def mouth_ended(self, *, is_late: bool, now_s: float) -> None:
        """Count a mouth that was made, or was not waited for any longer.

        Args:
            is_late: Whether that was after its deadline.
            now_s: The moment.
        """
        self._late.count(is_late=is_late, now_s=now_s)
