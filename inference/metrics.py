"""Counters of frames, for the log, /health and the admin."""

from bisect import bisect_left
from dataclasses import dataclass, field, fields
from typing import Self

LATENESS_EDGES_MS = (1, 2, 5, 10, 20, 40, 80, 160, 320, 640, 1_280)


@dataclass(slots=True)
class LatenessHistogram:
    """How late frames went out, as a histogram: constant in size, and histograms add up."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(LATENESS_EDGES_MS) + 1))

    def count(self, lateness_s: float) -> None:
        self.counts[bisect_left(LATENESS_EDGES_MS, lateness_s * 1_000)] += 1

    def __add__(self, other: "LatenessHistogram") -> "LatenessHistogram":
        return LatenessHistogram([a + b for a, b in zip(self.counts, other.counts, strict=True)])

    def percentile_ms(self, share: float) -> int:
        """The least edge below which ``share`` of the frames lie; 0 if there were none.

        Frames beyond the last edge are reported as twice that.
        """
        wanted, seen = share * sum(self.counts), 0
        if not wanted:
            return 0
        for edge_ms, count in zip(
            (*LATENESS_EDGES_MS, 2 * LATENESS_EDGES_MS[-1]), self.counts, strict=True
        ):
            seen += count
            if seen >= wanted:
                return edge_ms
        raise AssertionError("the shares add up to one")


@dataclass(slots=True)
class MetricsSum:
    """Parent of metrics that only ever grow; those of many sessions add up."""

    def add(self, other: Self) -> None:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


@dataclass(slots=True)
class FrameMetrics(MetricsSum):
    """The frames of one session, or of many."""

    sent: int = 0
    spoken: int = 0
    """Of them, with received speech."""
    held: int = 0
    """Pictures that hold a mouth because the sound was late."""
    skipped: int = 0
    """Pictures that repeat a mouth because the engine was late."""
    delayed_starts: int = 0
    """Frames by which utterances began later because the engine was late."""
    given_up: int = 0
    """Frame numbers that were jumped over after a stall."""
    skipped_samples: int = 0
    """Late speech that was left out."""
    lateness: LatenessHistogram = field(default_factory=LatenessHistogram)

    def __str__(self) -> str:
        return (
            f"sent {self.sent}, spoken {self.spoken}, held {self.held}, skipped {self.skipped},"
            f" delayed starts {self.delayed_starts}, given up {self.given_up},"
            f" lateness p50 < {self.lateness.percentile_ms(0.5)} ms,"
            f" p99 < {self.lateness.percentile_ms(0.99)} ms"
        )
