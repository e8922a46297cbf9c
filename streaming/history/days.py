"""Sessions by the days on which they began, in the time zone of the site.

A day is a range of starts, of which there is an index; to truncate each start to its day would have
SQLite call Python for every session there is.
"""

from datetime import date, datetime, time

from django.db.models import QuerySet
from django.utils import timezone

from streaming.models import SessionRecord


def midnight(day: date) -> datetime:
    """Return when a day begins."""
    return timezone.make_aware(datetime.combine(day, time()))


def begun(
    sessions: QuerySet[SessionRecord], since: datetime, before: datetime
) -> QuerySet[SessionRecord]:
    """Return those of the sessions that began in a time."""
    return sessions.filter(started_at__gte=since, started_at__lt=before)
