"""What the API answers when something of ours is wrong."""

import errno

import pytest
from django.db import InterfaceError, OperationalError

from streaming.models import GatewayProcess


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (OperationalError("connection refused: secret"), 503, "The database cannot be reached"),
        (InterfaceError("connection already closed: secret"), 503, "The database cannot be"),
        (OSError(errno.ENOSPC, "secret"), 507, "The server has no room left"),
        (OSError(errno.EDQUOT, "secret"), 507, "The server has no room left"),
        (OSError(errno.EROFS, "secret"), 507, "The server cannot store anything now"),
        (NotADirectoryError(errno.ENOTDIR, "secret"), 507, "The server cannot store anything"),
        (PermissionError(errno.EACCES, "secret"), 507, "The server cannot store anything now"),
        (RuntimeError("secret"), 500, "The server made a mistake"),
    ],
)
def test_a_fault_is_reported_without_its_details(
    client, monkeypatch, caplog, error: Exception, status: int, words: str
):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(type(GatewayProcess.objects), "filter", fail)
    answer = client.get("/sessions")
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"].startswith(words)
    assert b"secret" not in answer.content
    assert "secret" in caplog.text
    assert ("Traceback" in caplog.text) is (status == 500)
