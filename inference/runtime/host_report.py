"""What a host does at a moment, for /health, the log, metrics and benchmarks."""

from dataclasses import dataclass, field

from inference.engines.base import EngineState
from inference.metrics import CallMetrics, DurationHistogram, FrameMetrics


@dataclass(frozen=True, slots=True)
class HostReport:
    """The state of a host, and what it has done so far."""

    sessions: int
    engine: str
    engine_state: EngineState
    waiting_jobs: int
    totals: FrameMetrics
    places: int | None = None
    """How many sessions can speak at once; None: not known."""
    speaking: int = 0
    """How many hold a place."""
    speaking_elsewhere: int = 0
    """How many sessions of other processes hold one of these places."""
    calls: CallMetrics = field(default_factory=CallMetrics)
    encoding: DurationHistogram = field(default_factory=DurationHistogram)
    is_behind: bool = False
    """So many frames are late that no session more may begin to speak."""
    is_late: bool = False
    """Frames are so late that no session is admitted."""

    @property
    def is_full(self) -> bool:
        """All places to speak are taken."""
        return self.places is not None and self.speaking + self.speaking_elsewhere >= self.places

    def __str__(self) -> str:
        text = f"sessions {self.sessions}, jobs waiting {self.waiting_jobs}: {self.totals}"
        return f"{text}; {self.engine_state.message}" if self.engine_state.message else text
