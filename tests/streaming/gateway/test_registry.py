from datetime import UTC, datetime

import pytest

from streaming.gateway.registry import Registry
from streaming.protocol.errors import SessionIdTaken
from tests.streaming.fakes import SESSION_ID, Door


class FakeConnection:
    def __init__(self, user_id: str = "ada") -> None:
        self.door = Door()
        self.session = self.door.session
        self.session.user_id = user_id
        self.opened_at = self.last_message_at = datetime.now(UTC)
        self.was_shut_down = False

    async def supersede(self) -> None: ...

    async def shut_down(self) -> None:
        self.was_shut_down = True

    def terminate_soon(self) -> None:
        self.door.do(self.session.terminate())


def test_one_session_has_one_connection():
    registry = Registry()
    first, second, other = FakeConnection(), FakeConnection(), FakeConnection("bob")
    assert registry.reserve(SESSION_ID, first) is None
    assert registry.reserve(SESSION_ID.upper().replace("-", ""), second) is first
    with pytest.raises(SessionIdTaken):
        registry.reserve(SESSION_ID, other)


def test_who_was_superseded_takes_nothing_with_it():
    registry = Registry()
    older, newer, other = FakeConnection(), FakeConnection(), FakeConnection("bob")
    for connection in (older, newer, other):
        registry.enter(connection)
    registry.reserve(SESSION_ID, older)
    registry.reserve(SESSION_ID, newer)
    registry.leave(older)
    with pytest.raises(SessionIdTaken):
        registry.reserve(SESSION_ID, other)
    registry.leave(newer)
    assert registry.reserve(SESSION_ID, other) is None
    assert list(registry) == [other]


def test_counters_outlive_their_sessions():
    registry = Registry()
    one, two = FakeConnection(), FakeConnection()
    for connection in (one, two):
        registry.enter(connection)
        connection.door.start().show(3)
        connection.door.say("NONSENSE")
    registry.leave(one)
    registry.leave(one)
    assert registry.metrics().frames_sent == 6
    assert registry.metrics().errors == {"INVALID_MESSAGE": 2}
    assert (len(registry), registry.connections_ever) == (1, 2)


def test_the_last_worker_is_remembered():
    registry = Registry()
    assert registry.last_worker() is None
    connection = FakeConnection()
    registry.enter(connection)
    connection.door.start()
    assert registry.last_worker().engine == "viseme"
    connection.door.say("CLOSE")
    registry.leave(connection)
    assert registry.last_worker().engine == "viseme"


async def test_everybody_is_told_of_the_end():
    registry = Registry()
    connections = [FakeConnection(), FakeConnection()]
    for connection in connections:
        registry.enter(connection)
    await registry.close_all()
    assert registry.is_closing
    assert all(connection.was_shut_down for connection in connections)
