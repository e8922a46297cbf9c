"""What a page from elsewhere can do in a browser, and that it can do nothing as another user."""

import pytest
from corsheaders.middleware import CorsMiddleware
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.test.utils import override_settings

APP, EVIL = "https://app.example", "https://evil.example"
ALLOW = "Access-Control-Allow-Origin"

named = override_settings(CORS_ALLOW_ALL_ORIGINS=False, CORS_ALLOWED_ORIGINS=[APP])


def ask(path: str, origin: str, method: str = "get", **headers: str) -> HttpResponse:
    return getattr(Client(), method)(path, headers={"Origin": origin, **headers})


def preflight(path: str, origin: str, method: str) -> HttpResponse:
    return ask(path, origin, "options", **{"Access-Control-Request-Method": method})


@pytest.mark.django_db
def test_by_default_every_page_may_read_what_everybody_may():
    for path in ("/health", "/avatars", "/openapi.json", "/asyncapi.yaml"):
        answer = ask(path, EVIL)
        assert (answer.status_code, answer[ALLOW]) == (200, "*")
        assert "Access-Control-Allow-Credentials" not in answer


@named
@pytest.mark.django_db
def test_where_origins_are_named_only_they_may():
    assert ask("/health", APP)[ALLOW] == APP
    assert "origin" in ask("/health", APP)["Vary"].lower()
    refused = ask("/health", EVIL)
    assert ALLOW not in refused
    assert "origin" in refused["Vary"].lower()


@named
def test_what_a_browser_asks_in_advance():
    for method in ("POST", "DELETE"):
        allowed = preflight("/prepare_avatar/ann", APP, method)
        assert allowed[ALLOW] == APP
        assert method in allowed["Access-Control-Allow-Methods"]
        assert "content-type" in allowed["Access-Control-Allow-Headers"]
        assert "Access-Control-Allow-Credentials" not in allowed
        assert ALLOW not in preflight("/prepare_avatar/ann", EVIL, method)


@pytest.mark.django_db
def test_the_admin_is_nobody_s_api():
    for path in ("/admin/", "/admin/login/"):
        assert ALLOW not in ask(path, EVIL)
        assert ALLOW not in preflight(path, EVIL, "POST")


@pytest.mark.django_db
def test_the_operator_s_browser_uploads_for_no_foreign_page(settings):
    """A form that posts to this machine needs nobody's leave, so the server must refuse it."""
    assert settings.CORS_ORIGINS == ["*"]
    for headers in ({"Origin": EVIL}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = Client().post("/prepare_avatar/ann", {"video": "x"}, headers=headers)
        assert answer.status_code == 403, headers
        answer = Client().post("/upload_video", {"file": "x"}, headers=headers)
        assert answer.status_code == 403, headers


@pytest.mark.django_db
def test_a_logged_in_user_does_nothing_for_a_foreign_page(settings):
    settings.OPEN_UPLOADS = True
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root"))
    answer = client.post("/prepare_avatar/ann", {"video": "x"}, headers={"Origin": EVIL})
    assert answer.status_code == 403
    assert "CSRF" in answer.json()["detail"]


def test_the_origins_of_streams_are_those_of_the_api(settings):
    assert settings.CORS_ORIGINS == ["*"]
    assert settings.CORS_ALLOW_ALL_ORIGINS
    assert settings.CORS_ALLOWED_ORIGINS == []
    names = [path.rpartition(".")[2] for path in settings.MIDDLEWARE]
    # Only what gives each request its id is before it, or refusals would go without the headers.
    assert names[:2] == ["request_ids_middleware", CorsMiddleware.__name__]
