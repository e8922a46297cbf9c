"""Counters of frames, for the log, /health and the admin."""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Self

DURATION_EDGES_MS = (1, 2, 5, 10, 20, 40, 80, 160, 320, 640, 1_280)
SIZE_EDGES = (1, 2, 4, 8, 12, 16, 20, 24, 32)


@dataclass(slots=True)
class DurationHistogram:
    """How long something took, or how late it was: constant in size, and histograms add up."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(DURATION_EDGES_MS) + 1))
    """Up to each of `DURATION_EDGES_MS`, and beyond the last one."""
    total_s: float = 0.0

    def count(self, duration_s: float) -> None:
        self.counts[bisect_left(DURATION_EDGES_MS, duration_s * 1_000)] += 1
        self.total_s += duration_s

    def __add__(self, other: "DurationHistogram") -> "DurationHistogram":
        return DurationHistogram(
            [a + b for a, b in zip(self.counts, other.counts, strict=True)],
            self.total_s + other.total_s,
        )

    def __sub__(self, earlier: "DurationHistogram") -> "DurationHistogram":
        """Return what came after ``earlier``."""
        return DurationHistogram(
            [a - b for a, b in zip(self.counts, earlier.counts, strict=True)],
            self.total_s - earlier.total_s,
        )

    def percentile_ms(self, share: float) -> int:
        """Return the least edge below which ``share`` of the durations lie.

        It is 0 if there were none.

        Those beyond the last edge are reported as twice that.
        """
        wanted, seen = share * sum(self.counts), 0
        if not wanted:
            return 0
        for edge_ms, count in zip(
            (*DURATION_EDGES_MS, 2 * DURATION_EDGES_MS[-1]), self.counts, strict=True
        ):
            seen += count
            if seen >= wanted:
                return edge_ms
        raise AssertionError("the shares add up to one")


@dataclass(slots=True)
class SizeHistogram:
    """How many things came together, as a histogram."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(SIZE_EDGES) + 1))
    """Up to each of `SIZE_EDGES`, and beyond the last one."""
    total: int = 0

    def count(self, size: int) -> None:
        self.counts[bisect_left(SIZE_EDGES, size)] += 1
        self.total += size

    def __add__(self, other: "SizeHistogram") -> "SizeHistogram":
        return SizeHistogram(
            [a + b for a, b in zip(self.counts, other.counts, strict=True)],
            self.total + other.total,
        )

    def __sub__(self, earlier: "SizeHistogram") -> "SizeHistogram":
        """Return what came after ``earlier``."""
        return SizeHistogram(
            [a - b for a, b in zip(self.counts, earlier.counts, strict=True)],
            self.total - earlier.total,
        )


@dataclass(slots=True)
class MetricsSum:
    """Parent of metrics that only ever grow; those of many sessions add up."""

    def add(self, other: Self) -> None:
        """Add numbers that another thread may change, and give more keys, at the same time."""
        for each in fields(self):
            more = getattr(other, each.name)
            if isinstance(more, Counter):
                more = more.copy()  # at once, where a sum goes through it
            setattr(self, each.name, getattr(self, each.name) + more)


@dataclass(slots=True)
class CallMetrics(MetricsSum):
    """Calls of an engine."""

    sizes: SizeHistogram = field(default_factory=SizeHistogram)
    """Mouths in each."""
    durations: DurationHistogram = field(default_factory=DurationHistogram)

    def since(self, earlier: "CallMetrics") -> "CallMetrics":
        """Return what came after ``earlier``."""
        return CallMetrics(self.sizes - earlier.sizes, self.durations - earlier.durations)

    def copy(self) -> "CallMetrics":
        """Return the numbers as they are now."""
        return CallMetrics(self.sizes + SizeHistogram(), self.durations + DurationHistogram())


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
    lateness: DurationHistogram = field(default_factory=DurationHistogram)

    def __str__(self) -> str:
        return (
            f"sent {self.sent}, spoken {self.spoken}, held {self.held}, skipped {self.skipped},"
            f" delayed starts {self.delayed_starts}, given up {self.given_up},"
            f" lateness p50 < {self.lateness.percentile_ms(0.5)} ms,"
            f" p99 < {self.lateness.percentile_ms(0.99)} ms"
        )
