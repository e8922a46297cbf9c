"""What a session has done, in numbers."""

from collections import Counter
from dataclasses import dataclass, field

from inference.metrics import LatenessHistogram, MetricsSum


@dataclass(slots=True)
class SessionMetrics(MetricsSum):
    """Of one session, or of many. ``samples`` are those of accepted speech."""

    messages: int = 0
    samples: int = 0
    frames_sent: int = 0
    frames_held_back: int = 0
    video_bytes: int = 0
    workers: int = 0
    """Accepted, one after the other."""
    workers_lost: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    """ERROR messages by code."""
    lateness: LatenessHistogram = field(default_factory=LatenessHistogram)
    """How much later than the soonest of them frames came from workers."""
