"""POST /tokens, and the table of routes."""

import re
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import get_resolver
from django.utils import timezone

from avatars_app.access.api_keys import make_key, read_key
from avatars_app.access.authentication import principal_of
from avatars_app.access.principal import AccessDenied, CredentialUnchecked
from avatars_app.models import ApiKey

ROOT = Path(__file__).resolve().parents[3]
ELSEWHERE: dict[str, Any] = {"REMOTE_ADDR": "203.0.113.9"}


@pytest.fixture(autouse=True)
def auth(settings, db):
    settings.AUTH = True
    settings.AUTH_SECRET = "a secret of thirty-two bytes or more"


def new_key(role: str = "viewer", avatars: str = "") -> str:
    key, prefix, digest = make_key()
    ApiKey.objects.create(name="back end", prefix=prefix, digest=digest, role=role, avatars=avatars)
    return key


def bearer(credential: str) -> dict[str, Any]:
    return {"HTTP_AUTHORIZATION": f"Bearer {credential}"}


def test_only_a_digest_of_a_key_is_kept():
    key = new_key()
    row = ApiKey.objects.get()
    assert key not in (row.digest, row.prefix, str(row))
    assert read_key(key).subject == f"key:{row.prefix}"
    assert ApiKey.objects.get().uses == 1


def test_keys_that_are_not_good():
    key = new_key()
    for wrong in (key[:-1] + ("A" if key[-1] != "A" else "B"), "tak_", "tak_00000000_x"):
        with pytest.raises(AccessDenied):
            read_key(wrong)
    ApiKey.objects.update(revoked_at=timezone.now())
    with pytest.raises(AccessDenied, match="revoked"):
        read_key(key)


def test_a_back_end_gets_a_token_for_its_user():
    key = new_key(avatars="ann bob")
    answer = Client().post("/tokens", {"user_id": "ann"}, **bearer(key), **ELSEWHERE)
    assert answer.status_code == 201, answer.content
    principal = principal_of(answer.json()["token"])
    assert (principal.role, principal.avatars) == ("viewer", frozenset({"ann"}))
    assert answer.json()["expires_in_s"] == 300
    other = Client().post("/tokens", {"user_id": "eve"}, **bearer(key), **ELSEWHERE)
    assert other.status_code == 403


def test_a_token_ends_with_its_key():
    key = new_key()
    token = Client().post("/tokens", {"user_id": "ann"}, **bearer(key)).json()["token"]
    ApiKey.objects.update(revoked_at=timezone.now())
    with pytest.raises(AccessDenied, match="revoked"):
        principal_of(token)


def test_a_logged_in_user_needs_the_csrf_token():
    User.objects.create_user("ann", password="x")
    client = Client(enforce_csrf_checks=True)
    client.login(username="ann", password="x")
    assert client.post("/tokens", {"user_id": "ann"}, **ELSEWHERE).status_code == 403
    plain = Client()
    plain.login(username="ann", password="x")
    assert plain.post("/tokens", {"user_id": "ann"}, **ELSEWHERE).status_code == 201
    assert plain.post("/tokens", {"user_id": "bob"}, **ELSEWHERE).status_code == 403


def test_a_token_cannot_be_exchanged_for_another(settings):
    import time

    import jwt

    token = jwt.encode(
        {"sub": "ann", "exp": int(time.time()) + 60}, settings.AUTH_SECRET, algorithm="HS256"
    )
    answer = Client().post("/tokens", {"user_id": "ann"}, **bearer(token), **ELSEWHERE)
    assert answer.status_code == 403


def test_a_token_of_ours_cannot_be_exchanged_for_a_longer_one():
    token = Client().post("/tokens", {"user_id": "ann"}, **bearer(new_key())).json()["token"]
    longer = {"user_id": "ann", "lifetime_s": 3_600}
    answer = Client().post("/tokens", longer, **bearer(token), **ELSEWHERE)
    assert answer.status_code == 403
    assert "API key" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("data", "status"),
    [({}, 400), ({"user_id": "../x"}, 400), ({"user_id": "a", "lifetime_s": 10**9}, 400)],
)
def test_wrong_requests(data, status):
    assert Client().post("/tokens", data, **bearer(new_key())).status_code == status


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_json_that_is_nested_deeply_is_refused(opening):
    """By its depth or, where Python reads that deep, for its missing end."""
    body = opening * 100_000
    answer = Client().post("/tokens", body, content_type="application/json", **bearer(new_key()))
    assert answer.status_code == 400
    assert "JSON" in answer.json()["detail"]


def test_a_token_that_cannot_be_checked_now_is_no_wrong_one(monkeypatch):
    away = Mock(side_effect=CredentialUnchecked("no route"))
    monkeypatch.setattr("avatars_app.access.authentication.principal_of", away)
    answer = Client().get("/avatars", **bearer("some.token"), **ELSEWHERE)
    assert (answer.status_code, answer.json()["detail"]) == (503, "no route")


def test_nobody_gets_no_token():
    answer = Client().post("/tokens", {"user_id": "ann"}, **ELSEWHERE)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Bearer"


OPEN = [
    "/",
    "/protocol",
    "/asyncapi.yaml",
    "/docs",
    "/redoc",
    "/redoc.js",
    "/openapi.yaml",
    "/openapi.json",
]


@pytest.mark.parametrize("path", [*OPEN, "/health"])
def test_what_everybody_may_read(path):
    assert Client().get(path, **ELSEWHERE).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "viewer", "operator", "administrator"),
    [
        ("get", "/sessions", 200, 200, 200),
        ("get", "/avatars", 200, 200, 200),
        ("get", "/avatars/presenter", 200, 200, 200),
        ("get", "/prepare_avatar/nobody", 404, 404, 404),
        ("get", "/processing_status/nobody", 404, 404, 404),
        ("post", "/prepare_avatar/ann", 403, 400, 400),
        ("post", "/upload_video", 403, 400, 400),
        ("delete", "/prepare_avatar/ann", 403, 403, 404),
    ],
)
def test_each_role_and_nobody(method, path, viewer, operator, administrator):
    client = Client()
    nobody = getattr(client, method)(path, **ELSEWHERE)
    assert nobody.status_code in (401, 403), path
    for role, status in (
        ("viewer", viewer),
        ("operator", operator),
        ("administrator", administrator),
    ):
        answer = getattr(client, method)(path, **bearer(new_key(role)), **ELSEWHERE)
        assert answer.status_code == status, (path, role, answer.content)


def test_viewers_see_sums_and_operators_sessions():
    for role in ("viewer", "operator"):
        answer = Client().get("/sessions", **bearer(new_key(role)), **ELSEWHERE)
        assert set(answer.json()) == {"active_sessions", "stats"}


def test_every_route_is_in_the_table():
    table = (ROOT / "docs" / "access.md").read_text().split("## Routes")[1]
    for pattern in get_resolver().url_patterns:
        for route in _routes(pattern):
            first = "/" + route.split("/")[0].split("<")[0]
            first = "/prepare_avatar" if first == "/prepare_avatar" else first
            is_stream = route.startswith("musetalk/v1/ws")
            assert is_stream or first in table or f"{first}/" in table, route


def _routes(pattern, before: str = "") -> list[str]:
    route = before + re.sub(r"^\^|\$$", "", str(pattern.pattern))
    if route.startswith("admin"):
        return ["admin/"]
    if hasattr(pattern, "url_patterns"):
        return [each for inner in pattern.url_patterns for each in _routes(inner, route)]
    return [route]
