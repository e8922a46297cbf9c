"""Guessing passwords at the admin is slow work, and the guesser's alone."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from axes.models import AccessAttempt
from django.conf import settings as project
from django.contrib.auth.hashers import PBKDF2PasswordHasher, check_password, make_password
from django.contrib.auth.models import User
from django.http import HttpResponse

from musetalk_site import settings as real
from musetalk_site.middleware.log_ins import MAX_WAITING, few_log_ins_middleware

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


def test_hashes_are_djangos_and_made_one_at_a_time(monkeypatch, settings):
    settings.PASSWORD_HASHERS = real.PASSWORD_HASHERS
    stock = PBKDF2PasswordHasher.encode
    running = most = 0
    guard = threading.Lock()

    def observed(self, password, salt, iterations=None):
        nonlocal running, most
        with guard:
            running += 1
            most = max(most, running)
        try:
            return stock(self, password, salt, 1_000)
        finally:
            with guard:
                running -= 1

    monkeypatch.setattr(PBKDF2PasswordHasher, "encode", observed)
    with ThreadPoolExecutor(8) as people:
        hashes = list(people.map(make_password, ["right"] * 40))
    assert most == 1
    monkeypatch.undo()
    assert check_password("right", hashes[0])
    assert not check_password("wrong", hashes[0])


def test_few_log_ins_wait_and_others_receive_503(rf):
    inside, may_end = threading.Semaphore(0), threading.Event()

    def wait(request):
        if request.method == "POST":
            inside.release()
            may_end.wait(30)
        return HttpResponse()

    respond = few_log_ins_middleware(wait)
    with ThreadPoolExecutor(MAX_WAITING) as people:
        answers = [people.submit(respond, rf.post(ADMIN)) for _ in range(MAX_WAITING)]
        for _ in answers:
            assert inside.acquire(timeout=30)
        refused = respond(rf.post(ADMIN))
        assert refused.status_code == 503
        assert refused["Retry-After"] == "5"
        assert respond(rf.get(ADMIN)).status_code == 200
        may_end.set()
        assert [answer.result().status_code for answer in answers] == [200] * MAX_WAITING
    assert respond(rf.post(ADMIN)).status_code == 200
