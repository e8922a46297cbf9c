"""How long the service was used, by user and day."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from django.db.models import Count, DurationField, ExpressionWrapper, F, Sum
from django.db.models.functions import Coalesce, TruncDate
from django.utils import timezone

from streaming.models import SessionRecord

PERIODS_DAYS = (1, 7, 30, 90, 365)
DEFAULT_DAYS = 30
HEADER = ("day", "user_id", "sessions", "minutes", "speech_minutes", "video_megabytes")


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What one user used on one day, by the start of the sessions."""

    day: date
    user_id: str
    sessions: int
    minutes: float
    speech_minutes: float
    video_megabytes: float

    def values(self) -> tuple[object, ...]:
        """For a file, as `HEADER` names them."""
        return (
            self.day.isoformat(),
            self.user_id,
            self.sessions,
            self.minutes,
            self.speech_minutes,
            self.video_megabytes,
        )


def usage_by_user_and_day(days: int) -> Iterator[UsageRow]:
    """Yield the last ``days`` days with today, newest first."""
    first = timezone.localdate() - timedelta(days=days - 1)
    lasted = ExpressionWrapper(
        Coalesce("ended_at", "recorded_at") - F("started_at"), output_field=DurationField()
    )
    rows = (
        SessionRecord.objects.annotate(day=TruncDate("started_at"))
        .filter(day__gte=first)
        .order_by()
        .values("day", "user_id")
        .annotate(
            count=Count("id"),
            time=Sum(lasted),
            speech=Sum("speech_ms"),
            bytes=Sum("video_bytes"),
        )
        .order_by("-day", "user_id")
    )
    for row in rows.iterator():
        yield UsageRow(
            row["day"],
            row["user_id"],
            row["count"],
            round(row["time"].total_seconds() / 60, 1),
            round(row["speech"] / 60_000, 1),
            round(row["bytes"] / 1e6, 1),
        )
