"""The pages beside the stream."""

import json

import pytest
from django.core.management import call_command


def test_the_first_page_names_what_is_here(client) -> None:
    page = client.get("/").content.decode()
    for address in ("/musetalk/v1/ws/", "/health", "/sessions", "/docs", "/redoc", "/admin/"):
        assert address in page


def test_the_first_page_gives_the_address_that_it_was_asked_at(client) -> None:
    page = client.get("/", headers={"Host": "avatars.example:8080"}).content.decode()
    assert "ws://avatars.example:8080" in page


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
