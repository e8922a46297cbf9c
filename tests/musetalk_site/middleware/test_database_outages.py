"""What a page says when the database does not answer."""

import pytest
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.db import InterfaceError, OperationalError


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OperationalError("refused: secret\n\tIs it running?"), 503),
        (InterfaceError("closed: secret"), 503),
        (RuntimeError("secret"), 500),
    ],
)
def test_a_page_that_needs_the_database(client, monkeypatch, caplog, error, status) -> None:
    def fail(_: SessionStore) -> None:
        raise error

    monkeypatch.setattr(SessionStore, "load", fail)
    client.raise_request_exception = False
    client.cookies[settings.SESSION_COOKIE_NAME] = "anything"
    answer = client.get("/admin/")
    assert answer.status_code == status
    assert (b"The database cannot be reached now" in answer.content) is (status == 503)
    assert b"secret" not in answer.content
    assert "secret" in caplog.text
    assert ("Traceback" in caplog.text) is (status == 500)
