"""A session's live frames, as the session sees them: its requests and their outcomes.

Frames are submitted in order. Each has one outcome, and may be late before: the session learns
of both by one callback. `pipeline` does the work.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from inference.runtime.frame_queue import PlannedFrame


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """A frame is ready to be sent."""

    frame: PlannedFrame
    access_unit: bytes
    is_idr: bool
    is_repeated: bool = False
    """Its mouth was not made in time: an earlier one, or the source picture's, stands in."""
    failure: str | None = None
    """Why it shows the source picture's mouth where it should speak; None: it does not."""
    took_s: float = 0.0
    """How long encoding took."""


@dataclass(frozen=True, slots=True, eq=False)
class MouthLate:
    """The engine's time for a frame is over: it must be cut off or withdrawn."""

    frame: PlannedFrame


@dataclass(frozen=True, slots=True, eq=False)
class NotEncoded:
    """There can be no picture."""

    error: Exception


Outcome = Encoded | MouthLate | NotEncoded
TakeOutcome = Callable[[Outcome, float], None]
"""Called on the event loop, with the moment."""


class LiveStream(Protocol):
    """The live frames of one session. Lives on the event loop."""

    def submit(self, frame: PlannedFrame, *, repeats_mouth: bool = False) -> None:
        """Have a frame made.

        Args:
            frame: The next one, with LIVE as its source.
            repeats_mouth: The engine is not asked for its mouth: an earlier one is repeated.
        """

    def cut_off(self, frame: PlannedFrame) -> None:
        """Do not wait for a frame's mouth any longer: an earlier one is repeated."""

    def withdraw(self, frames: Iterable[PlannedFrame]) -> bool:
        """Take back frames that are not wanted any more; there are none behind them.

        Returns:
            Whether an encoder has seen one of them, so that later pictures may refer to it.
        """

    def end_stretch(self) -> None:
        """Expect nothing to encode until the next stretch: a clip's own frame is next."""

    def decode_ahead(self, clip: str, index: int) -> None:
        """Have a picture decoded before it is needed that does not follow the one before it."""


OpenStream = Callable[[TakeOutcome], LiveStream]
"""Opens the live stream of one session, which receives each outcome."""
