"""What a session has done, in numbers."""

from collections import Counter
from dataclasses import dataclass, field

from inference.metrics import DurationHistogram, MetricsSum


@dataclass(slots=True)
class SessionMetrics(MetricsSum):
    """Of one session, or of many. ``samples`` are those of accepted speech."""

    messages: int = 0
    received_bytes: int = 0
    """Of the client's messages, as they are in their frames."""
    sent_bytes: int = 0
    samples: int = 0
    frames_sent: int = 0
    frames_held_back: int = 0
    video_bytes: int = 0
    workers: int = 0
    """Accepted, one after the other."""
    workers_lost: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    """ERROR messages by code."""
    lateness: DurationHistogram = field(default_factory=DurationHistogram)
    """How much later than the soonest of them frames came from workers."""
    audio_to_frame: DurationHistogram = field(default_factory=DurationHistogram)
    """From the first chunk of an utterance that waits for no other one to its first frame."""
    interrupts: DurationHistogram = field(default_factory=DurationHistogram)
    """From INTERRUPT to INTERRUPTED."""

    def received(self, size_bytes: int) -> None:
        """Count a message of the client."""
        self.messages += 1
        self.received_bytes += size_bytes
