"""Which events are sent when, and what becomes of them."""

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from avatars_app.models import WebhookEvent
from avatars_app.webhooks import sender
from avatars_app.webhooks.delivery import NotDelivered, Target
from avatars_app.webhooks.events import Event, record_events
from avatars_app.webhooks.sender import BACK_OFF, configured_target, forget_done, send, take_due

pytestmark = pytest.mark.django_db

State = WebhookEvent.State
TARGET = Target("https://example.org/", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


@pytest.fixture(autouse=True)
def url(settings):
    settings.WEBHOOK_URL = TARGET.url
    settings.WEBHOOK_SECRET = TARGET.secret


def happened(number: int = 1) -> Event:
    return Event("avatar.ready", uuid.UUID(int=number), {"user_id": "ann"})


@pytest.fixture
def answers(monkeypatch):
    """What the receiver answers; the ids that it was sent are kept."""
    answers: list[Exception | None] = []
    sent = []

    def deliver(target, body, headers):
        sent.append(headers["webhook-id"])
        if answers and (failure := answers.pop(0)) is not None:
            raise failure
        return 200

    monkeypatch.setattr(sender, "deliver", deliver)
    return answers, sent


def test_the_same_event_is_recorded_once():
    record_events([happened(), happened(2)])
    record_events([happened()])
    assert WebhookEvent.objects.count() == 2


def test_without_an_address_nothing_is_recorded(settings):
    settings.WEBHOOK_URL = ""
    record_events([happened()])
    assert not WebhookEvent.objects.exists()
    assert configured_target() is None


def test_an_event_is_sent_once(answers):
    record_events([happened()])
    [event] = take_due(timezone.now())
    assert take_due(timezone.now()) == [], "it is being sent"
    send(event, TARGET)
    event.refresh_from_db()
    assert (event.state, event.attempts, event.error) == (State.DELIVERED, 1, "")
    assert take_due(timezone.now() + timedelta(days=1)) == []
    assert answers[1] == [f"msg_{event.id.hex}"]


def test_a_sender_that_died_is_replaced_by_another():
    record_events([happened()])
    now = timezone.now()
    assert len(take_due(now)) == 1
    assert take_due(now + timedelta(seconds=59)) == []
    [event] = take_due(now + timedelta(seconds=61))
    assert event.attempts == 2


def test_what_is_not_taken_is_sent_again_later_and_given_up_in_the_end(answers):
    failures, sent = answers
    record_events([happened()])
    for attempt, wait in enumerate(BACK_OFF, start=1):
        failures.append(NotDelivered("the answer was 500"))
        [event] = take_due(timezone.now() + timedelta(days=2))
        send(event, TARGET)
        event.refresh_from_db()
        assert (event.state, event.attempts) == (State.WAITING, attempt)
        assert event.error == "the answer was 500"
        left = event.next_attempt_at - timezone.now()
        assert 0.89 * wait < left < 1.11 * wait
    failures.append(NotDelivered("the answer was 500"))
    [event] = take_due(timezone.now() + timedelta(days=2))
    send(event, TARGET)
    event.refresh_from_db()
    assert event.state == State.GIVEN_UP
    assert len(set(sent)) == 1, "the receiver knows it again"


def test_rows_that_are_done_are_forgotten(answers):
    record_events([happened(1), happened(2)])
    [one, _] = take_due(timezone.now())
    send(one, TARGET)
    forget_done(timezone.now() + timedelta(days=29))
    assert WebhookEvent.objects.count() == 2
    forget_done(timezone.now() + timedelta(days=31))
    assert [event.state for event in WebhookEvent.objects.all()] == [State.WAITING]
