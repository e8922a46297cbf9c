"""How much the service was used, by day and today by hour: for people, as small drawings.

The database counts: there may be a million sessions, and the process that draws them streams, too.
Each bar is a condition of one query, so that no row leaves the database, and none is given to
Python to find out its day, as SQLite would do to truncate a date.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import pairwise

from django.db.models import Count, Max, Q, QuerySet, Sum
from django.utils import timezone

from streaming.history.days import begun, midnight
from streaming.models import SessionRecord

SHOWN_DAYS = 30


@dataclass(frozen=True, slots=True)
class UsageBar:
    """One day or hour, in the coordinates of a drawing 100 wide for each and 100 high."""

    label: str
    begin: datetime
    end: datetime
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


def use_by_day(sessions: QuerySet[SessionRecord], *, today: date) -> UsageChart:
    """Draw the `SHOWN_DAYS` days that end with the newest of the sessions, by their starts."""
    newest = sessions.order_by().aggregate(newest=Max("started_at"))["newest"]
    last = today if newest is None else timezone.localdate(newest)
    shown = [last - timedelta(days=n) for n in reversed(range(SHOWN_DAYS))]
    edges = [*map(midnight, shown), midnight(last + timedelta(days=1))]
    counts, _ = _counted(sessions, edges)
    labels = list(map(_label, shown))
    end = "today" if last == today else labels[-1]
    return UsageChart("sessions by day", end, _bars(labels, edges, counts))


def use_by_hour(sessions: QuerySet[SessionRecord], *, today: date) -> UsageChart:
    """Draw the hours of today, by the starts of sessions, with what was said in them."""
    hours = [timezone.make_aware(datetime.combine(today, time(hour))) for hour in range(24)]
    edges = [*hours, midnight(today + timedelta(days=1))]
    counts, speech_ms = _counted(sessions, edges)
    said = f"{sum(counts)} session{'' if sum(counts) == 1 else 's'}"
    title = f"today by hour: {said}, {speech_ms / 60_000:.1f} minutes of speech"
    labels = [f"{hour}:00" for hour in range(24)]
    return UsageChart(title, "24:00", _bars(labels, edges, counts))


def _label(day: date) -> str:
    return f"{day.day} {day:%b}"


def _counted(sessions: QuerySet[SessionRecord], edges: Sequence[datetime]) -> tuple[list[int], int]:
    """Return how many sessions began between each two edges, and the milliseconds of speech."""
    found = begun(sessions.order_by(), edges[0], edges[-1])
    counts = {
        f"from_{number}": Count("pk", filter=Q(started_at__gte=begin, started_at__lt=end))
        for number, (begin, end) in enumerate(pairwise(edges))
    }
    counted = found.aggregate(**counts, speech_ms=Sum("speech_ms", default=0))
    return [counted[name] for name in counts], counted["speech_ms"]


def _bars(
    labels: Sequence[str], edges: Sequence[datetime], counts: Sequence[int]
) -> list[UsageBar]:
    most = max(counts) or 1
    return [
        UsageBar(label, begin, end, count, 100 * number, round(100 * count / most, 1))
        for number, (label, (begin, end), count) in enumerate(
            zip(labels, pairwise(edges), counts, strict=True)
        )
    ]
