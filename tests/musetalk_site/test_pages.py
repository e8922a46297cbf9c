"""The pages beside the stream."""

import json

import pytest
from django.core.management import call_command


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
