"""Large bodies are refused by their headers alone."""

from typing import Any
from unittest.mock import Mock

import pytest
from django.contrib.auth.models import User
from django.test import Client

from avatars_app.access.api_keys import make_key
from avatars_app.access.principal import CredentialUnchecked
from avatars_app.models import ApiKey
from avatars_app.uploads.admission import check_large_body
from avatars_app.uploads.body_limits import BodyRefused

STRANGER = "192.168.0.7"
UPLOAD = "/prepare_avatar/me"


def status(
    path: str = UPLOAD, *, method: str = "POST", peer: str = STRANGER, **headers: str
) -> int | None:
    """The status of the refusal; None if the body is read."""
    named = {"host": "localhost:8000"} | {k.replace("_", "-"): v for k, v in headers.items()}
    try:
        ask = check_large_body(method, path, named, peer, "1.1")
        if ask is not None:
            ask()
    except BodyRefused as refused:
        return int(refused.status)
    return None


def new_key(role: str) -> str:
    key, prefix, digest = make_key()
    ApiKey.objects.create(name=role, prefix=prefix, digest=digest, role=role)
    return key


def session_of(client: Client, settings: Any) -> str:
    """The cookie of who is logged in."""
    name = settings.SESSION_COOKIE_NAME
    return f"a=b; {name}={client.cookies[name].value}"


@pytest.mark.parametrize("path", ["/", "/nowhere", "/health", "/admin/login/", "/sessions"])
def test_no_other_path_takes_large_bodies(path):
    assert status(path, peer="127.0.0.1") == 413


def test_uploads_are_posted():
    assert status(method="PUT", peer="127.0.0.1") == 413


def test_a_token_that_cannot_be_checked_now(monkeypatch, settings):
    settings.AUTH = True
    away = Mock(side_effect=CredentialUnchecked("no route"))
    monkeypatch.setattr("avatars_app.uploads.admission.principal_of", away)
    assert status(authorization="Bearer some.token") == 503


def test_this_machine_may_and_strangers_may_not():
    assert status(peer="127.0.0.1") is None
    assert status() == 403
    assert status(cookie="a=b") == 403
    assert status(peer="127.0.0.1", x_forwarded_for="1.2.3.4") == 403
    assert status(peer="127.0.0.1", origin="https://evil.example") == 403


@pytest.mark.django_db
def test_staff_with_the_right_may_and_a_cookie_alone_says_nothing(settings, client, admin_client):
    assert status(cookie=session_of(admin_client, settings)) is None
    form = "/admin/avatars_app/avatar/add/"
    assert status(form, cookie=session_of(admin_client, settings)) is None
    assert status(cookie=f"{settings.SESSION_COOKIE_NAME}=made-up") == 403
    client.force_login(User.objects.create_user("ann"))
    assert status(cookie=session_of(client, settings)) == 403
    client.force_login(User.objects.create_user("joe", is_staff=True))
    assert status(cookie=session_of(client, settings)) == 403


@pytest.mark.django_db
def test_a_credential_is_looked_up():
    assert status(authorization=f"Bearer {new_key('operator')}") is None
    assert status(authorization=f"Bearer {new_key('viewer')}") == 403
    assert status(authorization="Bearer made-up") == 401


def test_open_uploads_are_open(settings):
    settings.OPEN_UPLOADS = True
    assert status() is None
    assert status("/upload_video") is None
    assert status("/nowhere") == 413
