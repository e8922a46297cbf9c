"""The lines of the log about an outage of the database, one for all who meet it."""

import pytest
from django.db import OperationalError

from avatars_app.database import Availability


@pytest.fixture
def availability() -> Availability:
    return Availability()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage().partition(" after ")[0] for record in caplog.records]


def test_one_line_when_the_first_loses_it_and_one_when_the_last_has_it_back(availability, caplog):
    availability.found("history")
    assert lines(caplog) == []
    for _ in range(3):
        availability.lost("history", OperationalError("refused:\n\tis it running?"))
        availability.lost("webhooks", OperationalError("refused"))
    [line] = lines(caplog)
    assert line.endswith("trying again until it is back: refused: is it running?")
    availability.found("history")
    availability.found("preparations")
    assert len(lines(caplog)) == 1
    availability.found("webhooks")
    assert lines(caplog)[1:] == ["the database is back"]
    availability.lost("history", TimeoutError())
    assert lines(caplog)[2].endswith("TimeoutError()")


def test_who_tries_no_more_does_not_keep_it_lost(availability, caplog):
    availability.lost("revocations", OperationalError("refused"))
    availability.forget("revocations")
    availability.lost("history", OperationalError("refused"))
    availability.found("history")
    assert len(lines(caplog)) == 3
