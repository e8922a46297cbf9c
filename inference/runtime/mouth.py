"""What a mouth does while sound comes, is late, or ends.

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
        """Whether an utterance goes on, be its sound there or late."""
        return self in (Mouth.SPEAKING, Mouth.HOLDING)


@dataclass(frozen=True, slots=True)
class MouthState:
    """The state after the last planned frame."""

    phase: Mouth = Mouth.CLOSED
    strength: float = 0.0
    """1 speaking or holding, less when easing shut, 0 closed."""
    steps: tuple[float, ...] = ()
    """Strengths of the steps of easing that are still to come."""


SHUT = MouthState()


def advance(state: MouthState, speech: Speech) -> MouthState:
    """One tick, by the table above."""
    if speech is Speech.READY:
        return MouthState(Mouth.SPEAKING, 1.0)
    if state.phase is Mouth.CLOSED:
        return state
    if state.phase.is_in_utterance and speech is Speech.STARVED:
        return MouthState(Mouth.HOLDING, 1.0)
    return _ease(_EASE_AFTER_SPEECH if state.phase.is_in_utterance else state.steps)


def interrupt(state: MouthState) -> MouthState:
    """What the mouth was saying is gone: the next ticks shut it quickly."""
    if state.phase.is_in_utterance:
        return MouthState(Mouth.EASING, state.strength, _EASE_AFTER_INTERRUPT)
    return state


def _ease(steps: tuple[float, ...]) -> MouthState:
    return MouthState(Mouth.EASING, steps[0], steps[1:]) if steps else SHUT
