"""How long the service was used, by user and day.

Day by day: each is a range of starts, of which there is an index, and its users fit into memory.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Self

from django.db.models import Count, DurationField, ExpressionWrapper, F, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from streaming.history.days import begun, midnight
from streaming.models import SessionRecord

PERIODS_DAYS = (1, 7, 30, 90, 365)
DEFAULT_DAYS = 30
SHOWN_ROWS = 1_000
"""On a page; a file has all."""
HEADER = ("day", "user_id", "sessions", "minutes", "speech_minutes", "video_megabytes")

_LASTED = ExpressionWrapper(
    Coalesce("ended_at", "recorded_at") - F("started_at"), output_field=DurationField()
)
_SUMS = {
    "sessions": Count("id"),
    "time": Sum(_LASTED, default=timedelta()),
    "speech_ms": Sum("speech_ms", default=0),
    "bytes": Sum("video_bytes", default=0),
}


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used."""

    sessions: int
    minutes: float
    speech_minutes: float
    video_megabytes: float

    @classmethod
    def of(cls, sums: Mapping[str, Any]) -> Self:
        """Return what the database summed up."""
        return cls(
            sums["sessions"],
            round(sums["time"].total_seconds() / 60, 1),
            round(sums["speech_ms"] / 60_000, 1),
            round(sums["bytes"] / 1e6, 1),
        )


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What one user used on one day, by the start of the sessions."""

    day: date
    user_id: str
    usage: Usage

    def values(self) -> tuple[object, ...]:
        """For a file, as `HEADER` names them."""
        used = self.usage
        return (
            self.day.isoformat(),
            self.user_id,
            used.sessions,
            used.minutes,
            used.speech_minutes,
            used.video_megabytes,
        )


def usage_by_user_and_day(days: int) -> Iterator[UsageRow]:
    """Yield the last ``days`` days with today, newest first."""
    today = timezone.localdate()
    for day in (today - timedelta(days=n) for n in range(days)):
        used = _begun(day, day).order_by().values("user_id").annotate(**_SUMS).order_by("user_id")
        for sums in used:
            yield UsageRow(day, sums["user_id"], Usage.of(sums))


def total_usage(days: int) -> Usage:
    """Return what all users used on these days."""
    today = timezone.localdate()
    return Usage.of(_begun(today - timedelta(days=days - 1), today).aggregate(**_SUMS))


def _begun(first: date, last: date) -> QuerySet[SessionRecord]:
    """Return the sessions that began on these days, in the time zone of the site."""
    return begun(SessionRecord.objects.all(), midnight(first), midnight(last + timedelta(days=1)))
