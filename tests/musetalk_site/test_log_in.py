"""Guessing passwords at the admin is slow work."""

import pytest
from axes.models import AccessAttempt
from django.conf import settings as project
from django.contrib.auth.models import User

ADMIN = "/admin/login/?next=/admin/"


@pytest.fixture(autouse=True)
def limited(settings, db):
    settings.AXES_ENABLED = True
    User.objects.create_superuser("ann", password="right")


def attempt(client, password: str, username: str = "ann", address: str = "203.0.113.9") -> int:
    form = {"username": username, "password": password}
    return client.post(ADMIN, form, REMOTE_ADDR=address).status_code


def test_after_ten_failures_even_the_right_password_waits(client):
    statuses = [attempt(client, "wrong") for _ in range(project.AXES_FAILURE_LIMIT)]
    assert statuses[:-1] == [200] * (project.AXES_FAILURE_LIMIT - 1)
    assert attempt(client, "right") == 429
    form = {"username": "ann", "password": "right"}
    page = client.post(ADMIN, form, REMOTE_ADDR="203.0.113.9").content.decode()
    minutes = int(project.AXES_COOLOFF_TIME.total_seconds() // 60)
    assert f"Try again {minutes} minutes after" in page
    assert "To the studio" in page, "a page like the others"
    assert attempt(client, "right", address="203.0.113.10") == 302, "from elsewhere it works"


def test_a_success_forgets_the_failures(client):
    for _ in range(project.AXES_FAILURE_LIMIT - 1):
        attempt(client, "wrong")
    assert attempt(client, "right") == 302
    assert not AccessAttempt.objects.exists()


def test_no_password_is_kept(client):
    attempt(client, "nearly right")
    assert "nearly right" not in str(AccessAttempt.objects.values().get())


def test_the_admin_shows_who_is_locked_out_and_lets_them_in_again(client, admin_client):
    for _ in range(project.AXES_FAILURE_LIMIT):
        attempt(client, "wrong")
    index = admin_client.get("/admin/").content.decode()
    assert "Log-in attempts" in index
    assert ">Axes<" not in index
    listed = "/admin/axes/accessattempt/"
    said = admin_client.get(listed).content.decode()
    for words in ("ann", "203.0.113.9", "delete it to unlock"):
        assert words in said
    chosen = {"_selected_action": [AccessAttempt.objects.get().pk], "action": "delete_selected"}
    admin_client.post(listed, {**chosen, "post": "yes"})
    assert attempt(client, "right") == 302
