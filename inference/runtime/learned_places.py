"""How many sessions can speak at once, corrected by what they cost and by how late they are.

The first number is a measurement made alone, before anybody speaks (`calibration`). Real sessions
cost something else: warped faces, other sizes, a cache shared with neighbors. So the processor time
of the whole process, without what frames cost that do not speak, corrects it.

Processor time does not show that a neighbor takes the processor away. Then frames are late, and a
tenth of the places is withdrawn each second until they are in time again; after that the places
return, as in congestion control: additive increase, multiplicative decrease.

Pure: time is an argument.
"""

from inference.timing import FRAMES_PER_SECOND

UTILIZATION = 0.9
"""How much of the cores sessions may take together."""
OBSERVE_EVERY_S = 1.0
MIN_FRAMES = 50
"""Speaking frames from which on their mean cost says something."""
WEIGHT = 0.2
"""Of the newest measurement."""
IDLE_FRAME_S = 0.000_2
"""Processor time of a frame that does not speak, until it was measured."""
LARGEST_CORRECTION = 4.0
"""The first measurement is wrong by no larger factor than this."""
WITHDRAWN = 0.9
RETURNED = 0.05
LEAST_SHARE = 0.25


class LearnedPlaces:
    """The places of one process whose engine does not learn them itself."""

    def __init__(self, frame_s: float, cores: float) -> None:
        """Start with a measurement.

        Args:
            frame_s: Processor time of a speaking frame, all included, s.
            cores: How many cores the sessions may take.
        """
        self._measured_s = self._frame_s = frame_s
        self._cores = cores
        self._share = 1.0
        """Of the places that the cost allows, those that lateness leaves."""
        self._idle_frame_s = IDLE_FRAME_S
        self._forget()

    def _forget(self) -> None:
        self._cpu_s, self._speaking, self._others = 0.0, 0, 0

    @property
    def places(self) -> int:
        """How many sessions can speak at once."""
        allowed = UTILIZATION * self._cores / (FRAMES_PER_SECOND * self._frame_s)
        return max(1, int(self._share * allowed))

    @property
    def frame_ms(self) -> float:
        """Processor time of a speaking frame as it is known now."""
        return self._frame_s * 1_000

    def observe(self, cpu_s: float, *, speaking: int, others: int, is_late: bool) -> None:
        """About a second has passed.

        Args:
            cpu_s: Processor time that the process took since the last call, s.
            speaking: Frames with speech that it sent.
            others: Frames without.
            is_late: Whether too many frames were late.
        """
        if is_late:
            self._share = max(LEAST_SHARE, self._share * WITHDRAWN)
        else:
            self._share = min(1.0, self._share + RETURNED)
        if (speaking > 0) != (self._speaking > 0):
            self._forget()  # seconds in which nobody speaks tell another cost
        self._cpu_s += cpu_s
        self._speaking += speaking
        self._others += others
        if self._speaking >= MIN_FRAMES:
            cost_s = (self._cpu_s - self._others * self._idle_frame_s) / self._speaking
            lowest_s = self._measured_s / LARGEST_CORRECTION
            cost_s = min(max(cost_s, lowest_s), self._measured_s * LARGEST_CORRECTION)
            self._frame_s += WEIGHT * (cost_s - self._frame_s)
            self._forget()
        elif not self._speaking and self._others >= MIN_FRAMES:
            self._idle_frame_s += WEIGHT * (self._cpu_s / self._others - self._idle_frame_s)
            self._forget()
