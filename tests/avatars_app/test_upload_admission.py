"""Large bodies are refused by their headers alone."""

import pytest

from avatars_app.upload_admission import BodyRefused, check_large_body

STRANGER = "192.168.0.7"
UPLOAD = "/prepare_avatar/me"


def status(
    path: str = UPLOAD, *, method: str = "POST", peer: str = STRANGER, **headers: str
) -> int | None:
    """The status of the refusal; None if the body is read."""
    named = {"host": "localhost:8000"} | {k.replace("_", "-"): v for k, v in headers.items()}
    try:
        check_large_body(method, path, named, peer, "1.1")
    except BodyRefused as refused:
        return int(refused.status)
    return None


@pytest.mark.parametrize("path", ["/", "/nowhere", "/health", "/admin/login/", "/sessions"])
def test_no_other_path_takes_large_bodies(path):
    assert status(path, peer="127.0.0.1") == 413


def test_uploads_are_posted():
    assert status(method="PUT", peer="127.0.0.1") == 413


def test_this_machine_and_who_brings_a_login_may(settings):
    assert status(peer="127.0.0.1") is None
    assert status(cookie=f"a=b; {settings.SESSION_COOKIE_NAME}=abc") is None
    assert status() == 403
    assert status(cookie="a=b") == 403
    assert status(peer="127.0.0.1", x_forwarded_for="1.2.3.4") == 403
    assert status(peer="127.0.0.1", origin="https://evil.example") == 403


def test_open_uploads_are_open(settings):
    settings.OPEN_UPLOADS = True
    assert status() is None
    assert status("/upload_video") is None
    assert status("/nowhere") == 413
