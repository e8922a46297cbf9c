"""What the OWASP Top Ten and the cheat sheets warn of, tried on this server, a test for each.

Others stand beside what they are about: tokens in `avatars_app/access`, origins of streams in
`streaming/gateway/test_origins`, pages of elsewhere in `test_cross_origin`, ranges in
`avatars_app/test_range_response`, targets of webhooks in `avatars_app/webhooks`.
"""

import asyncio
import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from avatars_app.access.authentication import withdrawn
from avatars_app.access.principal import Source
from avatars_app.models import Avatar, WebhookEvent
from streaming.models import GatewayProcess, SessionRecord
from tests.streaming.gateway.conftest import registry as registry
from tests.streaming.gateway.connections import FakeClient

ELSEWHERE: dict[str, Any] = {"REMOTE_ADDR": "203.0.113.9"}
SCRIPT = "<script>alert(1)</script>"
IMAGE = "\"><img src=x onerror='alert(1)'>"

pytestmark = pytest.mark.django_db


@pytest.fixture
def root() -> User:
    return User.objects.create_superuser("root", password="of the tests")


@pytest.fixture
def staff(root: User) -> Client:
    client = Client()
    client.force_login(root)
    return client


# Forged requests.


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("post", "/tokens"),
        ("post", "/prepare_avatar/ann"),
        ("post", "/upload_video"),
        ("delete", "/prepare_avatar/ann"),
        ("post", "/admin/streaming/sessionrecord/"),
        ("post", "/admin/streaming/gatewayprocess/"),
        ("post", "/admin/avatars_app/apikey/add/"),
        ("post", "/admin/avatars_app/avatar/"),
        ("post", "/admin/logout/"),
    ],
)
def test_a_cookie_alone_changes_nothing(root, method, path):
    client = Client(enforce_csrf_checks=True)
    client.force_login(root)
    assert getattr(client, method)(path, **ELSEWHERE).status_code == 403


def test_cookies_are_kept_from_scripts_and_other_sites(root):
    client = Client()
    client.post("/admin/login/", {"username": "root", "password": "of the tests"})
    session = client.cookies["sessionid"]
    assert session["httponly"]
    assert session["samesite"] == "Lax"
    assert client.cookies["csrftoken"]["samesite"] == "Lax"


# Scripts in what users send.


@pytest.mark.parametrize("evil", [SCRIPT, IMAGE])
def test_nothing_that_users_send_is_a_script_in_the_admin(staff, evil):
    now = timezone.now()
    process = GatewayProcess.objects.create(name=evil, started_at=now, heartbeat_at=now)
    record = SessionRecord.objects.create(
        session_id=evil[:64],
        user_id=evil,
        avatar=evil,
        worker=evil,
        engine=evil,
        process=process,
        started_at=now,
        recorded_at=now,
        last_message_at=now,
        ended_at=now,
        close_cause="client_request",
        errors={evil: 1},
    )
    avatar = Avatar.objects.create(user_id="ann", status="failed", error=evil, stage=evil)
    WebhookEvent.objects.create(
        id=record.id,
        type=evil[:32],
        happened_at=now,
        data={"user_id": evil},
        next_attempt_at=now,
        error=evil,
    )
    for path in (
        "/admin/streaming/sessionrecord/",
        f"/admin/streaming/sessionrecord/{record.pk}/change/",
        "/admin/streaming/sessionrecord/?q=" + evil,
        "/admin/streaming/gatewayprocess/",
        "/admin/avatars_app/avatar/",
        f"/admin/avatars_app/avatar/{avatar.pk}/change/",
        "/admin/avatars_app/webhookevent/",
    ):
        answer = staff.get(path)
        assert answer.status_code == 200, path
        page = answer.content.decode()
        assert SCRIPT not in page, path
        assert IMAGE not in page, path


@pytest.mark.parametrize(
    "path", ["/prepare_avatar/{}", "/processing_status/{}", "/avatars/{}", "/avatars/{}/clips/{}"]
)
@pytest.mark.parametrize("accept", ["text/html", "application/json", "*/*"])
def test_an_error_that_names_what_was_asked_is_no_page_with_it(path, accept):
    answer = Client().get(path.format(SCRIPT, SCRIPT), headers={"Accept": accept})
    assert answer.status_code in {400, 404}
    assert answer["X-Content-Type-Options"] == "nosniff"
    if answer["Content-Type"].startswith("text/html"):
        assert SCRIPT not in answer.content.decode()


def test_a_file_s_name_is_no_path_and_no_script(staff, settings, tmp_path):
    settings.AVATARS_DIR = tmp_path / "avatars"
    for name in ("../../../evil.mp4", "<script>.mp4", "a" * 300 + ".mp4", "nul\0.mp4"):
        film = SimpleUploadedFile("x.mp4", b"\x00\x00\x00\x18ftypmp42" + b"\0" * 64, "video/mp4")
        film._name = name  # Django's own class would clean it; an attacker's client does not
        answer = staff.post("/prepare_avatar/ann", {"video": film})
        assert answer.status_code in {202, 400, 409}, answer.content
        assert SCRIPT not in answer.content.decode()
    written = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*")}
    assert written <= {"avatars"}
    assert not [path for path in tmp_path.rglob("*") if "evil" in path.name or "<" in path.name]


# Frames, types, hosts.


@pytest.mark.parametrize("path", ["/", "/protocol", "/docs", "/redoc", "/admin/login/", "/health"])
def test_no_page_is_framed_or_guessed(path):
    answer = Client().get(path)
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/", "/admin/login/", "/asyncapi.yaml", "/health", "/avatars"])
def test_a_host_that_is_not_ours_gets_nothing(settings, path):
    settings.ALLOWED_HOSTS = ["avatar.example.org"]
    assert Client().get(path, headers={"Host": "avatar.example.org"}).status_code == 200
    for host in ("evil.example.org", "avatar.example.org.evil.org", "avatar.example.org@evil", "["):
        assert Client().get(path, headers={"Host": host}).status_code == 400, host


# Ways out of folders, and elsewhere.


@pytest.mark.parametrize(
    "path",
    [
        "/static/../manage.py",
        "/static/..%2fmanage.py",
        "/static/%2e%2e/%2e%2e/etc/passwd",
        "/avatars/..%2f..%2fetc/preview",
        "/avatars/../preview",
        "/avatars/presenter/clips/..%2fmanifest",
        "/avatars/presenter/clips/idle_0.h264%00",
        "/avatars/.uploads/preview",
        "/prepare_avatar/..%2fann",
    ],
)
def test_no_path_leads_out_of_its_folder(path):
    answer = Client().get(path)
    assert answer.status_code in {400, 404}, answer.content
    assert b"DJANGO_SETTINGS_MODULE" not in answer.content
    assert b"root:" not in answer.content


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)"]
)
def test_a_log_in_leads_nowhere_else(root, target):
    answer = Client().post(
        f"/admin/login/?next={target}",
        {"username": "root", "password": "of the tests", "next": target},
    )
    assert answer.status_code == 302
    assert "evil" not in answer["Location"]
    assert "javascript" not in answer["Location"]


@pytest.mark.parametrize("path", ["//evil.example", "//evil.example/", "/\\evil.example/"])
def test_no_path_becomes_an_address_of_elsewhere(path):
    answer = Client().get("/", PATH_INFO=path)
    assert answer.status_code in {400, 404}
    assert "Location" not in answer


def test_many_ranges_are_no_amplifier():
    whole = Client().get("/avatars/presenter/clips/idle_0")
    length = len(b"".join(whole)) if whole.streaming else len(whole.content)
    ranges = "bytes=" + ",".join(["0-"] * 1_000)
    answer = Client().get("/avatars/presenter/clips/idle_0", headers={"Range": ranges})
    sent = len(b"".join(answer)) if answer.streaming else len(answer.content)
    assert sent <= length


# Streams.


@pytest.mark.django_db(transaction=True)
async def test_a_login_s_cookie_opens_no_stream(settings, registry):
    """A page of elsewhere sends the cookies of the user who looks at it."""
    settings.AUTH = True
    user = await User.objects.acreate(username="ann", is_active=True)
    client = Client()
    await asyncio.to_thread(client.force_login, user)
    cookie = f"sessionid={client.cookies['sessionid'].value}".encode()
    stream = FakeClient("ann", headers=[(b"cookie", cookie)])
    await stream.open()
    answer = json.loads(await stream.receive_from(5))
    assert answer["data"]["code"] == "UNAUTHORIZED"
    await stream.disconnect()


def test_what_a_disabled_account_opened_ends(root):
    source = Source("user", root.pk)
    assert withdrawn({source}) == set()
    User.objects.update(is_active=False)
    assert withdrawn({source}) == {source}
