"""What the log says of a connection, written by the real formatter from the real consumer."""

import io
import json
import logging
import logging.config
from typing import Any

import pytest

from musetalk_site.logs import logging_settings
from streaming.gateway import avatar_look_up
from streaming.gateway.connection_log import SAME_ERROR_EVERY_S, ConnectionLog
from streaming.protocol.errors import ProtocolError
from streaming.protocol.server_messages import Error
from tests.streaming.fakes import SESSION_ID, USER
from tests.streaming.gateway.connections import connected

pytestmark = pytest.mark.usefixtures("registry")


@pytest.fixture
def written():
    """What a handler with the formatter of LOG_FORMAT=json writes."""
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(_formatter("json"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in handler.stream.getvalue().splitlines()]
    root.removeHandler(handler)
    root.setLevel(level)


def _formatter(form):
    settings = logging_settings("INFO", form)["formatters"]["line"]
    return settings.pop("()")(**settings)


class Owner:
    """A connection, as far as its log is concerned."""

    session: Any

    def __init__(self):
        self.scope = {"client": ["192.0.2.7", 4711]}
        self.session = Opened()


class Opened:
    session_id = SESSION_ID
    user_id = USER
    link = None
    close_cause = None


async def test_the_lines_of_a_connection_name_its_session_user_and_address(written):
    async with connected() as client:
        client.scope["client"] = ["192.0.2.7", 4711]
        await client.open()
    lines = [line for line in written() if line["logger"].startswith("streaming")]
    closed = lines[-1]
    assert closed["session"] == SESSION_ID
    assert closed["user"] == USER
    assert closed["avatar"] == "presenter"
    assert "connection closed" in closed["event"]
    assert "close_code" in closed
    assert all(line["user"] == USER for line in lines)
    assert all({"timestamp", "level", "process"} <= line.keys() for line in lines)


async def test_an_error_that_the_client_is_sent_is_in_the_log(monkeypatch, written):
    def fail(user_id):
        raise TimeoutError

    monkeypatch.setattr(avatar_look_up, "avatar_for", fail)
    async with connected() as client:
        await client.open()
        await client.receive_types("ERROR", "CLOSE_ACK")
        assert await client.closing() == 4500
    [sent] = [line for line in written() if line.get("code") == "PROCESSING_ERROR"]
    assert sent["level"] == "warning"
    assert sent["session"] == SESSION_ID
    closed = written()[-1]
    assert closed["close_code"] == 4500


def test_a_client_that_repeats_its_mistake_does_not_fill_the_log(written):
    owner = Owner()
    lines = ConnectionLog(owner)
    error = Error.of(ProtocolError("INVALID_MESSAGE", "Not JSON."), SESSION_ID)
    for number in range(1_000):
        lines.error_sent(error, number / 1_000)
    lines.error_sent(error, SAME_ERROR_EVERY_S)
    first, second = [line["event"] for line in written()]
    assert first.endswith("ERROR INVALID_MESSAGE sent: Not JSON.")
    assert second.endswith("(999 more since the line before)")


def test_what_another_connection_does_to_this_one_is_said_of_this_one(written):
    older, newer = Owner(), Owner()
    newer.session.user_id = "somebody_else"
    lines = ConnectionLog(older)
    ConnectionLog(newer).bind()
    with lines.bound():
        logging.getLogger("streaming.test").info("superseded")
    logging.getLogger("streaming.test").info("opened")
    assert [line["user"] for line in written()] == [USER, "somebody_else"]


def test_lines_for_people_have_a_date_the_fields_and_the_traceback():
    record = logging.getLogger("streaming.test").makeRecord(
        "streaming.test", logging.INFO, "", 0, "opened %d", (7,), None, extra={"session": "a b"}
    )
    line = _formatter("text").format(record)
    assert line.startswith("20")
    assert "opened 7" in line
    assert "session='a b'" in line
    try:
        raise ValueError("boom")
    except ValueError as error:
        fault = (type(error), error, error.__traceback__)
    record = logging.getLogger("x").makeRecord("x", logging.ERROR, "", 0, "failed", (), fault)
    assert "ValueError: boom" in _formatter("text").format(record)
    assert "ValueError: boom" in json.loads(_formatter("json").format(record))["exception"]
