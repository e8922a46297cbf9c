"""What webhooks say of sessions."""

from collections.abc import Iterable, Iterator, Set
from typing import Any
from uuid import UUID

from avatars_app.webhooks.events import Event
from streaming.models import SessionRecord


def events_of(records: Iterable[SessionRecord], *, started: Set[UUID]) -> Iterator[Event]:
    """Yield the starts and ends that records report.

    Args:
        records: As they are written.
        started: Ids of those whose start was reported before.
    """
    for record in records:
        if record.id not in started:
            yield Event("session.started", record.id, _start_of(record), record.started_at)
        if record.ended_at is not None:
            yield Event("session.ended", record.id, _end_of(record), record.ended_at)


def _start_of(record: SessionRecord) -> dict[str, Any]:
    return {
        "session_id": record.session_id,
        "user_id": record.user_id,
        "avatar": record.avatar,
        "started_at": record.started_at.isoformat(),
    }


def _end_of(record: SessionRecord) -> dict[str, Any]:
    assert record.ended_at is not None, "it ended"
    lasted = record.ended_at - record.started_at
    return {
        **_start_of(record),
        "ended_at": record.ended_at.isoformat(),
        "close_cause": record.close_cause,
        "duration_ms": round(lasted.total_seconds() * 1_000),
        "speech_ms": record.speech_ms,
        "frames": record.frames,
        "errors": record.errors,
    }
