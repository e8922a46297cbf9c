"""A thread of our own keeps its connection to the database as long as it works."""

from collections.abc import Iterator
from unittest.mock import Mock

import pytest
from django.db import OperationalError, connection

from avatars_app.database import use_kept_connection


@pytest.fixture
def close(db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mock]:
    connection.ensure_connection()
    closing = Mock()
    monkeypatch.setattr(connection, "close", closing)
    yield closing
    connection.errors_occurred = False


def test_one_that_works_is_kept(close: Mock) -> None:
    use_kept_connection()
    assert not close.called


def test_one_that_its_server_closed_is_replaced(
    close: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "is_usable", lambda: False)
    use_kept_connection()
    close.assert_called_once_with()


def test_one_that_failed_is_replaced(close: Mock) -> None:
    with pytest.raises(OperationalError), connection.cursor() as cursor:
        cursor.execute("SELECT * FROM not_there")
    use_kept_connection()
    close.assert_called_once_with()
