"""Behind an HTTPS proxy, a real one: who gets in, as whom, and what they can do."""

import json
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError

import pytest

from benchmarks.server import new_database
from tests.e2e import https_proxy
from tests.e2e.https_proxy import Browser, Certificate, HttpsProxy
from tests.e2e.talking import Server
from tests.videos import write_sound

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PASSWORD = "of the tests"
MAKE_ACCOUNT = (
    "from django.contrib.auth.models import User;"
    "User.objects.filter(username='root').exists()"
    f" or User.objects.create_superuser('root', password='{PASSWORD}')"
)

Before = Callable[[Server], HttpsProxy]


@pytest.fixture(scope="module")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Not the one that all tests share, in which nobody has an account."""
    return new_database(tmp_path_factory.mktemp("database"))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate.make(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(params=["nginx", "caddy"])
def before(request, tmp_path: Path, certificate: Certificate) -> Iterator[Before]:
    """Puts the proxy before a server."""
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    started: list[HttpsProxy] = []

    def start(server: Server) -> HttpsProxy:
        run = getattr(https_proxy, request.param)
        started.append(run(tmp_path / request.param, certificate, server.port))
        return started[-1]

    yield start
    for proxy in started:
        proxy.stop()


@pytest.fixture
def account(start) -> None:
    process = start("manage.py", "shell", "--no-imports", "-c", MAKE_ACCOUNT)
    assert process.wait(60) == 0, process.output


def new_user() -> str:
    """Nobody whom another test sent anything for."""
    return f"user_{uuid.uuid4().hex}"


def upload(browser: Browser, **headers: str) -> int:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="video"; filename="v"\r\n\r\nx\r\n--b--\r\n'
    )
    kind = "multipart/form-data; boundary=b"
    return browser.ask(f"/prepare_avatar/{new_user()}", body, Content_Type=kind, **headers)[0]


def test_staff_log_in_and_upload_and_strangers_do_not(serve, before, certificate, account) -> None:
    server = serve("--no-prepare", TRUSTED_PROXIES="127.0.0.1", MAX_UPLOAD_MB="1")
    proxy = before(server)
    assert Browser(proxy.origin, certificate).ask("/")[0] == 200

    stranger = Browser(proxy.origin, certificate)
    assert upload(stranger) == 403
    assert upload(stranger, X_Forwarded_For="127.0.0.1") == 403
    assert upload(stranger, X_Forwarded_For="127.0.0.1", Origin=proxy.origin) == 403
    # Headers of a client that connects past the proxy are ignored as well: it may be a proxy.
    assert upload(Browser(f"http://127.0.0.1:{server.port}", certificate)) == 403

    staff = Browser(proxy.origin, certificate)
    assert staff.log_in("root", "wrong") == 200
    assert staff.log_in("root", PASSWORD) == 302
    assert all(cookie.secure for cookie in staff.cookies), list(staff.cookies)
    assert "Log out" in staff.ask("/admin/")[2].decode()
    path = f"/prepare_avatar/{new_user()}"
    status, headers, body = staff.post(path, video=b"a video")
    assert status == 202, body
    assert headers["Location"] == proxy.origin + path
    status, body = 0, b""
    for _ in range(5):
        # Of what was refused Caddy reads 256 kB; with the rest the answer can be lost.
        with suppress(URLError):
            status, _, body = staff.post(f"/prepare_avatar/{new_user()}", video=bytes(1_200_000))
            break
    assert status == 413, body
    assert json.loads(body)["detail"] == "More than 1 MB cannot be taken."
    assert "TRUSTED_PROXIES" not in server.process.output


def test_what_is_described_can_be_reached(serve, before, certificate) -> None:
    proxy = before(serve(TRUSTED_PROXIES="127.0.0.1"))
    browser = Browser(proxy.origin, certificate)
    said = browser.ask("/asyncapi.yaml")[2].decode()
    assert f"host: localhost:{proxy.port}\n    protocol: wss\n" in said
    for path in ("/sessions", "/docs", "/redoc", "/openapi.json", "/avatars", "/favicon.ico"):
        status, _, body = browser.ask(path)
        assert status == 200, path
        assert b"http://localhost" not in body, path


def test_one_talks_to_the_avatar(serve, before, certificate, start, tmp_path: Path) -> None:
    server = serve(TRUSTED_PROXIES="127.0.0.1", CORS_ORIGINS="https://elsewhere.example")
    server.process.wait_for("takes sessions")
    proxy = before(server)
    speech = write_sound(tmp_path / "speech.wav")
    talk = start(
        *("manage.py", "talk", "--server", f"wss://localhost:{proxy.port}", "--user-id", "me"),
        *("--audio-file", str(speech), "--output", str(tmp_path / "video.mp4")),
        SSL_CERT_FILE=str(certificate.chain),
    )
    talk.wait(60)  # on a busy machine its verdict may be that lip-sync was late
    measured = dict(re.findall(r"^(\S[\w ]+?)  +(\d+)", talk.output, re.MULTILINE))
    assert (measured["missing frames"], measured["decode errors"]) == ("0", "0"), talk.output
    assert int(measured["of them with speech"]) >= 10, talk.output
    assert (tmp_path / "video.mp4").stat().st_size > 10_000


def test_a_proxy_that_nobody_named_is_not_believed(serve, before, certificate, account) -> None:
    server = serve("--no-prepare")
    proxy = before(server)
    browser = Browser(proxy.origin, certificate)
    assert upload(browser) == 403
    assert upload(browser, X_Forwarded_For="127.0.0.1") == 403
    assert browser.log_in("root", PASSWORD) == 403
    server.process.wait_for("127.0.0.1 forwards requests but TRUSTED_PROXIES does not name it")
    assert upload(Browser(f"http://localhost:{server.port}", certificate)) == 202


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_through_the_barest_proxy_nobody_is_at_this_machine(serve, certificate, tmp_path) -> None:
    server = serve("--no-prepare")
    proxy = https_proxy.bare_nginx(tmp_path / "nginx", server.port)
    try:
        browser = Browser(f"http://localhost:{proxy.port}", certificate)
        assert browser.ask("/health")[0] == 200
        assert upload(browser) == 403
    finally:
        proxy.stop()
