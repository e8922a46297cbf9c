"""Webhooks as staff see them."""

import uuid

import pytest
from django.urls import reverse

from avatars_app.models import WebhookEvent
from avatars_app.webhooks.events import Event, record_events

LIST = reverse("admin:avatars_app_webhookevent_changelist")


@pytest.fixture
def event(settings, db) -> WebhookEvent:
    settings.WEBHOOK_URL = "https://example.org/"
    record_events([Event("avatar.ready", uuid.UUID(int=1), {"user_id": "<b>ann</b>"})])
    WebhookEvent.objects.update(state="given_up", attempts=10, error="the answer was <500>")
    return WebhookEvent.objects.get()


def test_staff_see_what_was_sent_and_why_not(admin_client, event):
    page = admin_client.get(LIST).content.decode()
    assert "&lt;b&gt;ann&lt;/b&gt;" in page
    assert "the answer was &lt;500&gt;" in page
    assert "<b>ann</b>" not in page


def test_staff_can_have_it_sent_again(admin_client, event):
    action = {"action": "send_again", "_selected_action": [str(event.pk)]}
    assert admin_client.post(LIST, action, follow=True).status_code == 200
    event.refresh_from_db()
    assert (event.state, event.attempts) == ("waiting", 0)
