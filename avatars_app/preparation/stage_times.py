"""How long the stages of preparations took, as seen from outside. Pure: time is an argument."""

from bisect import bisect_left
from dataclasses import dataclass, field

STAGE_EDGES_S = (1, 2, 5, 10, 20, 40, 80, 160, 320, 640)


@dataclass(slots=True)
class StageHistogram:
    """How long one stage took."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(STAGE_EDGES_S) + 1))
    """Up to each of `STAGE_EDGES_S`, and beyond the last one."""
    total_s: float = 0.0


class StageTimes:
    """Counts the stages of preparations, which run one after the other."""

    def __init__(self) -> None:
        self.by_stage: dict[str, StageHistogram] = {}
        self._stage = ""
        self._began_s = 0.0

    def is_in(self, stage: str, now_s: float) -> None:
        """Record that the preparation is in a stage.

        Args:
            stage: Its name; "": in none.
            now_s: The moment, as exact as it is looked at.
        """
        if stage == self._stage:
            return
        if self._stage:
            took_s = now_s - self._began_s
            histogram = self.by_stage.setdefault(self._stage, StageHistogram())
            histogram.counts[bisect_left(STAGE_EDGES_S, took_s)] += 1
            histogram.total_s += took_s
        self._stage, self._began_s = stage, now_s
