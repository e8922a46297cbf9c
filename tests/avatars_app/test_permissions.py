"""Who may change avatars."""

import pytest
from django.contrib.auth.models import Permission, User
from django.core.checks import run_checks
from django.test import Client, RequestFactory

from avatars_app.permissions import is_local


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_this_machine(address: str):
    assert is_local(RequestFactory().post("/", REMOTE_ADDR=address))


@pytest.mark.parametrize("address", ["192.168.0.7", "10.0.0.1", "2001:db8::1", "", "unknown"])
def test_another_machine(address: str):
    assert not is_local(RequestFactory().post("/", REMOTE_ADDR=address))


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
@pytest.mark.parametrize("value", ["127.0.0.1", "1.2.3.4", ""])
def test_whoever_comes_through_a_proxy_is_not_from_here(name: str, value: str):
    assert not is_local(RequestFactory().post("/", headers={name: value}))


@pytest.mark.parametrize(
    ("host", "headers", "is_from_here"),
    [
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
    assert remove(client) == 404


def test_open_uploads_are_complained_of(settings):
    def said() -> list[str]:
        return [m.id for m in run_checks(include_deployment_checks=True) if m.id == "avatars.W001"]

    assert said() == []
    settings.OPEN_UPLOADS = True
    assert said() == ["avatars.W001"]
