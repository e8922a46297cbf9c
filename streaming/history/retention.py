"""Forgetting sessions that ended long ago.

It goes in small steps, one for each call, because their caller has a heartbeat to write in
between: a million rows at once would look like a process that died.
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from streaming.models import GatewayProcess, SessionRecord

ROWS_AT_ONCE = 1_000


def purge_expired() -> int:
    """Delete a few sessions that ended more than HISTORY_DAYS ago; how many there were.

    When there are none left, the processes go that had nothing but them.
    """
    if not settings.HISTORY_DAYS:
        return 0
    before = timezone.now() - timedelta(days=settings.HISTORY_DAYS)
    deleted = _delete_sessions(before)
    if not deleted:
        GatewayProcess.objects.filter(
            is_stopped=True, heartbeat_at__lt=before, sessionrecord=None
        ).delete()
    return deleted


def _delete_sessions(before: datetime) -> int:
    # By their start, of which there is an index; whatever ended before also began before.
    old = SessionRecord.objects.filter(started_at__lt=before, ended_at__lt=before)
    ids = list(old.order_by("started_at").values_list("id", flat=True)[:ROWS_AT_ONCE])
    deleted, _ = SessionRecord.objects.filter(id__in=ids).delete() if ids else (0, {})
    return deleted
