"""The state of the mouth while sound comes, is late, or ends.

It is closed, speaking, holding (the sound is late: the mouth keeps its shape and the speech clock
stands), or easing shut::

      state     │ READY     STARVED    SILENT     ENDED
    ────────────┼───────────────────────────────────────────
      CLOSED    │ SPEAKING  CLOSED     CLOSED     CLOSED
      SPEAKING  │ SPEAKING  HOLDING    EASING     EASING
      HOLDING   │ SPEAKING  HOLDING    EASING     EASING
      EASING    │ SPEAKING  EASING*    EASING*    EASING*     * CLOSED when the last step is done

Pure: a step from one value to the next.
"""

from dataclasses import dataclass
from enum import Enum, auto

from inference.runtime.speech_queue import Speech

_EASE_AFTER_SPEECH = (0.6, 0.2)
_EASE_AFTER_INTERRUPT = (0.4,)


class Mouth(Enum):
    CLOSED = auto()
    SPEAKING = auto()
    HOLDING = auto()
    EASING = auto()

    @property
    def is_in_utterance(self) -> bool:
        """Whether an utterance is running, its sound there or late."""
        return self in (Mouth.SPEAKING, Mouth.HOLDING)


@dataclass(frozen=True, slots=True)
class MouthState:
    """The state after the last planned frame."""

    phase: Mouth = Mouth.CLOSED
    strength: float = 0.0
    """1 speaking or holding, less when easing shut, 0 closed."""
    steps: tuple[float, ...] = ()
    """Strengths of the steps of easing that are still to come."""

    def advance(self, speech: Speech) -> "MouthState":
        """One tick, by the table above."""
        if speech is Speech.READY:
            return MouthState(Mouth.SPEAKING, 1.0)
        if self.phase is Mouth.CLOSED:
            return self
        if self.phase.is_in_utterance and speech is Speech.STARVED:
            return MouthState(Mouth.HOLDING, 1.0)
        return _ease(_EASE_AFTER_SPEECH if self.phase.is_in_utterance else self.steps)

    def interrupt(self) -> "MouthState":
        """Drop the utterance: the next ticks shut the mouth quickly."""
        if self.phase.is_in_utterance:
            return MouthState(Mouth.EASING, self.strength, _EASE_AFTER_INTERRUPT)
        return self


SHUT = MouthState()


def _ease(steps: tuple[float, ...]) -> MouthState:
    return MouthState(Mouth.EASING, steps[0], steps[1:]) if steps else SHUT
