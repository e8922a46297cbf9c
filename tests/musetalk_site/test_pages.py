"""The pages beside the stream."""

import json
import os
import subprocess
import sys

import pytest
import yaml
from django.conf import settings
from django.core.management import call_command
from django.test import Client


def test_the_schema_is_valid_and_without_a_warning(tmp_path) -> None:
    file = tmp_path / "openapi.yaml"
    call_command("spectacular", "--validate", "--fail-on-warn", file=str(file))
    assert "/health" in file.read_text()


@pytest.mark.parametrize("path", ["/openapi.json", "/openapi.yaml", "/docs", "/redoc"])
def test_the_schema_is_served(client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    if path == "/openapi.json":
        assert {"/health", "/sessions"} <= set(json.loads(answer.content)["paths"])


def test_redoc_asks_no_other_server_for_a_logo(client) -> None:
    assert 'src="/redoc.js"' in client.get("/redoc").content.decode()
    answer = client.get("/redoc.js")
    assert answer["Content-Type"].startswith("text/javascript")
    program = answer.content.decode()
    assert "cdn.redoc" not in program
    assert f'src:"{settings.ICON_URL}"' in program
    again = client.get("/redoc.js", headers={"If-None-Match": answer["ETag"]})
    assert again.status_code == 304


def test_a_crowd_that_asks_a_fresh_process_for_the_schema_gets_it() -> None:
    program = """
import django
django.setup()
from concurrent.futures import ThreadPoolExecutor
from django.test import Client
with ThreadPoolExecutor(8) as pool:
    answers = list(pool.map(lambda _: Client().get("/openapi.yaml").status_code, range(8)))
print(answers)
"""
    fresh = subprocess.run(
        [sys.executable, "-c", program],
        cwd=settings.BASE_DIR,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert fresh.stdout == f"{[200] * 8}\n", fresh.stderr


def test_what_needs_no_login_has_no_lock(client) -> None:
    paths = json.loads(client.get("/openapi.json").content)["paths"]
    assert "security" not in paths["/health"]["get"]
    assert "security" not in paths["/sessions"]["get"]
    upload = paths["/prepare_avatar/{user_id}"]["post"]
    assert upload["security"] == [{"bearer": []}, {"cookieAuth": []}, {}]


def test_every_page_has_the_project_s_icon(admin_client) -> None:
    link = f'href="{settings.ICON_URL}"'
    for path in ("/", "/protocol", "/docs", "/redoc", "/admin/", "/admin/avatars_app/avatar/"):
        assert link in admin_client.get(path).content.decode(), path
    assert link in Client().get("/admin/login/").content.decode()
    assert admin_client.get(settings.ICON_URL)["Content-Type"] == "image/svg+xml"


def test_the_icon_that_browsers_ask_for_unasked(client) -> None:
    answer = client.get("/favicon.ico")
    assert answer.status_code == 200
    assert answer.content.startswith(b"\x00\x00\x01\x00")
    assert "icon" in answer["Content-Type"]


@pytest.mark.parametrize(("is_secure", "scheme"), [(True, "wss"), (False, "ws")])
def test_the_stream_is_described_as_it_can_be_reached(client, is_secure: bool, scheme: str) -> None:
    said = yaml.safe_load(client.get("/asyncapi.yaml", secure=is_secure).content)
    assert said["servers"]["here"]["protocol"] == scheme


def test_links_to_the_test_page_lead_to_the_studio(client) -> None:
    assert client.get("/test").headers["Location"] == "/"
