"""Who may change avatars."""

import pytest
from django.contrib.auth.models import Permission, User
from django.core.checks import run_checks
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import AsyncRequestFactory, Client, RequestFactory

from avatars_app.models import Avatar
from avatars_app.permissions import is_local


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_this_machine(address: str):
    assert is_local(RequestFactory().post("/", REMOTE_ADDR=address))


@pytest.mark.parametrize("address", ["192.168.0.7", "10.0.0.1", "2001:db8::1", "", "unknown"])
def test_another_machine(address: str):
    assert not is_local(RequestFactory().post("/", REMOTE_ADDR=address))


@pytest.mark.parametrize(
    "name", ["X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "X-Real-IP", "Via"]
)
@pytest.mark.parametrize("value", ["127.0.0.1", "1.2.3.4", ""])
def test_a_client_behind_a_proxy_is_not_this_machine(name: str, value: str):
    assert not is_local(RequestFactory().post("/", headers={name: value}))


@pytest.mark.parametrize(
    ("host", "headers", "is_from_here"),
    [
        ("localhost:8000", {}, True),
        ("127.0.0.1:8000", {}, True),
        ("[::1]:8000", {}, True),
        ("localhost:8000", {"Sec-Fetch-Site": "same-origin"}, True),
        ("localhost:8000", {"Sec-Fetch-Site": "same-site"}, False),
        ("localhost:8000", {"Origin": "http://localhost:3000"}, False),
        ("avatar.example", {}, False),
        ("[::1", {}, False),
        ("localhost:8000", {"Origin": "http://[::1"}, False),
        ("localhost:8000", {"Origin": "http://localhost:8000"}, True),
        ("127.0.0.1:8000", {"Origin": "http://127.0.0.1:8000"}, True),
        ("localhost:8000", {"Origin": "http://evil.example"}, False),
        ("localhost:8000", {"Origin": "null"}, False),
        ("localhost:8000", {"Sec-Fetch-Site": "cross-site"}, False),
        ("evil.example:8000", {"Origin": "http://evil.example:8000"}, False),
    ],
)
def test_a_page_from_elsewhere_in_a_browser_here_is_not_from_here(host, headers, is_from_here):
    request = RequestFactory().post("/", HTTP_HOST=host, headers=headers)
    assert is_local(request) is is_from_here


def test_what_is_asked_in_http_1_0_comes_from_a_proxy():
    request = AsyncRequestFactory().post("/")
    request.META["HTTP_HOST"] = "localhost:8000"
    assert is_local(request)
    request.scope = {**request.scope, "http_version": "1.0"}
    assert not is_local(request)


def test_a_page_of_an_origin_that_is_named_is_as_good_as_ours(settings):
    headers = {"Origin": "http://localhost:3000"}
    request = RequestFactory().post("/", HTTP_HOST="localhost:8000", headers=headers)
    settings.CORS_ORIGINS = ["http://localhost:3000"]
    assert is_local(request)
    settings.CORS_ORIGINS = ["*"]
    assert not is_local(request)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("allowed", "origin", "status"),
    [
        (["https://app.example"], None, 400),
        (["https://app.example"], "https://app.example", 400),
        (["https://app.example"], "http://testserver", 400),
        (["https://app.example"], "https://evil.example", 403),
        (["*"], "https://evil.example", 400),
    ],
)
def test_open_uploads_are_open_to_the_pages_that_may_use_the_api(
    client, settings, allowed: list[str], origin: str | None, status: int
):
    settings.OPEN_UPLOADS, settings.CORS_ORIGINS = True, allowed
    headers = {"Host": "testserver"} | ({"Origin": origin} if origin else {})
    answer = client.post("/prepare_avatar/nobody", REMOTE_ADDR="192.168.0.7", headers=headers)
    assert answer.status_code == status  # 400: no file


def remove(client: Client) -> int:
    return client.delete("/prepare_avatar/nobody", REMOTE_ADDR="192.168.0.7").status_code


@pytest.mark.django_db
def test_strangers_may_not_and_staff_with_the_right_may(client, settings):
    refused = client.delete("/prepare_avatar/nobody", REMOTE_ADDR="192.168.0.7")
    assert refused.status_code == 403
    assert refused.json()["title"] == "Forbidden"
    assert "OPEN_UPLOADS" in refused.json()["detail"]

    client.force_login(User.objects.create_user("guest"))
    assert remove(client) == 403
    staff = User.objects.create_user("staff", is_staff=True)
    client.force_login(staff)
    assert remove(client) == 403
    staff.user_permissions.add(Permission.objects.get(codename="delete_avatar"))
    assert remove(client) == 404

    client.logout()
    settings.OPEN_UPLOADS = True
    assert remove(client) == 403


@pytest.mark.django_db
def test_open_uploads_make_new_avatars_only(client, settings, tmp_path):
    settings.OPEN_UPLOADS, settings.AVATARS_DIR = True, tmp_path / "avatars"
    settings.UPLOADS_DIR = tmp_path / "uploads"

    def upload(user_id: str) -> int:
        video = SimpleUploadedFile("me.mp4", b"no video, but nobody looks yet")
        return client.post(
            f"/prepare_avatar/{user_id}", {"video": video}, REMOTE_ADDR="192.168.0.7"
        ).status_code

    assert upload("stranger") == 202
    assert upload("stranger") in {403, 409}
    assert upload("presenter") == 403
    Avatar.objects.create(user_id="owner", status=Avatar.Status.READY)
    assert upload("owner") == 403
    assert Avatar.objects.get(user_id="owner").status == Avatar.Status.READY
    accepted = [upload(f"stranger{n}") for n in range(8)]
    assert accepted == [202] * 4 + [409] * 4


def test_open_uploads_are_complained_of(settings):
    def said() -> list[str]:
        return [m.id for m in run_checks(include_deployment_checks=True) if m.id == "avatars.W001"]

    assert said() == []
    settings.OPEN_UPLOADS = True
    assert said() == ["avatars.W001"]
