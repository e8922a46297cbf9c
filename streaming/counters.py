"""What a session has done, in numbers."""

from collections import Counter
from dataclasses import dataclass, field

from inference.counters import Lateness, Tally


@dataclass(slots=True)
class Counters(Tally):
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
    lateness: Lateness = field(default_factory=Lateness)
    """How much later than the soonest of them frames came from workers."""
