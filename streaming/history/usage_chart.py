"""How much the service was used, by day and today by hour: for people, as small drawings."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

SHOWN_DAYS = 30


@dataclass(frozen=True, slots=True)
class UsageBar:
    """One day or hour, in the coordinates of a drawing 100 wide for each and 100 high."""

    label: str
    sessions: int
    x: int
    height: float

    @property
    def y(self) -> float:
        return 100 - self.height


@dataclass(frozen=True, slots=True)
class UsageChart:
    """A drawing, and what is written below it."""

    title: str
    end: str
    """What its right end is."""
    bars: Sequence[UsageBar]

    @property
    def width(self) -> int:
        return 100 * len(self.bars)


def use_by_day(starts: Iterable[datetime], *, until: date) -> UsageChart:
    """Draw the `SHOWN_DAYS` days that end with ``until``.

    Args:
        starts: Of the sessions, in local time.
        until: Today.
    """
    counted = Counter(start.date() for start in starts)
    shown = [until - timedelta(days=n) for n in reversed(range(SHOWN_DAYS))]
    counts = [(f"{day.day} {day:%b}", counted[day]) for day in shown]
    return UsageChart("sessions by day", "today", _bars(counts))


def use_by_hour(starts: Iterable[datetime], *, today: date, speech_ms: int) -> UsageChart:
    """Draw the hours of today.

    Args:
        starts: Of the sessions, in local time.
        today: The day.
        speech_ms: What was said in its sessions.
    """
    counted = Counter(start.hour for start in starts if start.date() == today)
    sessions = f"{counted.total()} session{'' if counted.total() == 1 else 's'}"
    title = f"today by hour: {sessions}, {speech_ms / 60_000:.1f} minutes of speech"
    counts = [(f"{hour}:00", counted[hour]) for hour in range(24)]
    return UsageChart(title, "24:00", _bars(counts))


def _bars(counts: Sequence[tuple[str, int]]) -> list[UsageBar]:
    most = max(count for _, count in counts) or 1
    return [
        UsageBar(label, count, 100 * number, round(100 * count / most, 1))
        for number, (label, count) in enumerate(counts)
    ]
