"""What webhooks say, and the rows that wait to be sent.

A row is written in the transaction of what it reports, so that neither is there without the other.
Its id is computed from what it reports: written twice it is one row, and its receiver can recognize
what it was sent before.
"""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from django.conf import settings
from django.utils import timezone

from avatars_app.models import WebhookEvent

EventType = Literal["session.started", "session.ended", "avatar.ready", "avatar.failed"]

_NAMESPACE: Final = uuid.UUID("6d8a8f0c-3a5e-4f0c-9a58-0c1f3f3d6f5b")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""

    type: EventType
    subject: uuid.UUID
    """The row that it is about: a session's record, the job of an avatar."""
    data: Mapping[str, Any]
    """For JSON."""
    happened_at: datetime = field(default_factory=timezone.now)

    @property
    def id(self) -> uuid.UUID:
        """The same whenever the same is reported."""
        return uuid.uuid5(_NAMESPACE, f"{self.type}:{self.subject}")


def record_events(events: Iterable[Event]) -> None:
    """Have events sent, if WEBHOOK_URL says where to; call it in the transaction that they report.

    Args:
        events: Those that were recorded before are left alone.
    """
    if not settings.WEBHOOK_URL:
        return
    WebhookEvent.objects.bulk_create(
        [
            WebhookEvent(
                id=event.id,
                type=event.type,
                happened_at=event.happened_at,
                data=dict(event.data),
                next_attempt_at=timezone.now(),
            )
            for event in events
        ],
        ignore_conflicts=True,
    )
