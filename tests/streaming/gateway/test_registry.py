import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from avatars_app.access.principal import Principal
from streaming.gateway import registry as live
from streaming.gateway.registry import Registry
from streaming.protocol.errors import HolderFull, SessionIdTaken
from streaming.session.session import Session
from tests.streaming.fakes import SESSION_ID, FakeGateway


class FakeConnection:
    def __init__(self, user_id: str = "ada") -> None:
        self.gateway = FakeGateway()
        self.session = self.gateway.session
        self.session.user_id = self.owner = user_id
        self.principal: Principal | None = None
        self.session_limits: Mapping[str, int] = {}
        self.opened_at = self.last_message_at = datetime.now(UTC)
        self.was_shut_down = self.was_superseded = self.was_revoked = False

    async def supersede(self) -> None:
        self.was_superseded = True

    async def hand_over(self) -> Session:
        return self.session

    def revoke(self) -> None:
        self.was_revoked = True

    async def server_ends(self, in_s: float) -> None:
        self.gateway.do(self.session.time_limits.server_ends(in_s))

    async def shut_down(self) -> None:
        self.was_shut_down = True

    def terminate_soon(self) -> None:
        self.gateway.do(self.session.terminate())


class FakePeers:
    """The other processes of a machine, one of which may have a session."""

    def __init__(self, *, grants: bool = True) -> None:
        self.grants = grants
        self.owned: list[tuple[str, str]] = []
        self.released: list[str] = []

    async def own_session(self, session: str, owner: str, limits: Mapping[str, int]) -> None:
        self.owned.append((session, owner))
        if not self.grants:
            raise SessionIdTaken

    def release_session(self, session: str) -> None:
        self.released.append(session)

    def still(self, session: str) -> bytes | None:
        return None

    def refresh(self) -> None: ...


async def test_one_session_has_one_connection():
    registry = Registry()
    first, second, other = FakeConnection(), FakeConnection(), FakeConnection("bob")
    await registry.reserve(SESSION_ID, first)
    assert not first.was_superseded
    await registry.reserve(SESSION_ID.upper().replace("-", ""), second)
    assert first.was_superseded
    with pytest.raises(SessionIdTaken):
        await registry.reserve(SESSION_ID, other)
    assert not second.was_superseded


async def test_a_holder_has_no_more_sessions_than_it_may():
    registry = Registry()
    connections = [FakeConnection() for _ in range(3)]
    for connection in connections:
        connection.session_limits = {"subject:ann": 2}
        registry.enter(connection)
    for number, connection in enumerate(connections[:2]):
        await registry.reserve(f"{number:032}", connection)
    with pytest.raises(HolderFull) as full:
        await registry.reserve(f"{2:032}", connections[2])
    assert (full.value.holder, full.value.limit) == ("subject:ann", 2)
    await registry.reserve(f"{1:032}", connections[2])  # the newer connection of one of them
    registry.leave(connections[0])
    await registry.reserve(f"{3:032}", FakeConnection())


class FakeLeases:
    """What all machines know together."""

    def __init__(self) -> None:
        self.full: str | None = None
        self.taken: dict[str, dict[str, int]] = {}

    async def take(self, member: str, limits: Mapping[str, int]) -> str | None:
        if self.full is None:
            self.taken[member] = dict(limits)
        return self.full

    def give_back(self, member: str) -> None:
        self.taken.pop(member, None)


async def test_sessions_are_counted_with_those_of_other_machines():
    registry, first, second = Registry(), FakeConnection(), FakeConnection()
    registry.peers = peers = FakePeers()
    registry.leases = leases = FakeLeases()
    key = SESSION_ID.replace("-", "")
    for connection in (first, second):
        connection.session_limits = {"subject:ann": 2}
        registry.enter(connection)
    await registry.reserve(SESSION_ID, first)
    assert leases.taken == {f"session:{key}:ada": {"subject:ann": 2}}
    leases.full = "subject:ann"
    with pytest.raises(HolderFull) as full:
        await registry.reserve("1" * 32, second)
    assert (full.value.holder, full.value.limit) == ("subject:ann", 2)
    assert peers.released == ["1" * 32]
    assert registry.connection_of("1" * 32) is None
    with pytest.raises(HolderFull):
        await registry.reserve(SESSION_ID, second)
    assert registry.connection_of(SESSION_ID) is first
    assert not first.was_superseded
    registry.leave(first)
    assert leases.taken == {}


async def test_a_lease_is_given_up_to_the_process_that_opened_the_session():
    registry, connection = Registry(), FakeConnection()
    registry.leases = leases = FakeLeases()
    registry.enter(connection)
    await registry.reserve(SESSION_ID, connection)
    await registry.supersede(SESSION_ID.replace("-", ""))
    assert leases.taken == {}


async def test_a_session_that_is_another_users_elsewhere_is_given_up_at_once():
    registry, thief, owner = Registry(), FakeConnection("bob"), FakeConnection()
    registry.peers = peers = FakePeers()
    registry.leases = leases = FakeLeases()
    for connection in (thief, owner):
        registry.enter(connection)
    await registry.reserve(SESSION_ID, thief)
    registry.give_up(SESSION_ID.upper(), thief)
    assert (peers.released, leases.taken) == ([SESSION_ID.replace("-", "")], {})
    await registry.reserve(SESSION_ID, owner)
    registry.give_up(SESSION_ID, thief)  # an answer that comes twice
    registry.leave(thief)
    assert registry.connection_of(SESSION_ID) is owner
    assert len(leases.taken) == 1


async def test_a_session_is_owned_among_all_processes():
    registry, connection = Registry(), FakeConnection()
    registry.peers = peers = FakePeers()
    registry.enter(connection)
    await registry.reserve(SESSION_ID, connection)
    key = SESSION_ID.replace("-", "")
    assert peers.owned == [(key, "ada")]
    registry.leave(connection)
    assert peers.released == [key]


async def test_another_process_has_the_session_of_another_user():
    registry = Registry()
    registry.peers = FakePeers(grants=False)
    with pytest.raises(SessionIdTaken):
        await registry.reserve(SESSION_ID, FakeConnection())


@pytest.mark.parametrize("is_refused", [True, False])
async def test_who_may_yet_be_refused_by_another_machine_is_waited_for(monkeypatch, is_refused):
    monkeypatch.setattr(live, "REFUSED_WITHIN_S", 0.05)
    registry, stranger, owner = Registry(), FakeConnection("mallory"), FakeConnection()
    registry.has_other_machines = True
    await registry.reserve(SESSION_ID, stranger)
    reserving = asyncio.create_task(registry.reserve(SESSION_ID, owner))
    await asyncio.sleep(0)
    assert not reserving.done()
    if is_refused:
        registry.give_up(SESSION_ID, stranger)
        await reserving
        assert registry.connection_of(SESSION_ID) is owner
    else:
        with pytest.raises(SessionIdTaken):
            await reserving
        assert registry.connection_of(SESSION_ID) is stranger


async def test_a_session_that_another_process_opened_is_superseded_here():
    registry, connection = Registry(), FakeConnection()
    registry.peers = peers = FakePeers()
    registry.enter(connection)
    await registry.reserve(SESSION_ID, connection)
    await registry.supersede(SESSION_ID.replace("-", ""))
    assert connection.was_superseded
    registry.leave(connection)
    assert peers.released == []
    await registry.supersede("0" * 32)


async def test_who_was_superseded_takes_nothing_with_it():
    registry = Registry()
    older, newer, other = FakeConnection(), FakeConnection(), FakeConnection("bob")
    for connection in (older, newer, other):
        registry.enter(connection)
    await registry.reserve(SESSION_ID, older)
    await registry.reserve(SESSION_ID, newer)
    registry.leave(older)
    with pytest.raises(SessionIdTaken):
        await registry.reserve(SESSION_ID, other)
    registry.leave(newer)
    await registry.reserve(SESSION_ID, other)
    assert list(registry) == [other]


def test_counters_outlive_their_sessions():
    registry = Registry()
    one, two = FakeConnection(), FakeConnection()
    for connection in (one, two):
        registry.enter(connection)
        connection.gateway.start().show(3)
        connection.gateway.client_sends("NONSENSE")
    registry.leave(one)
    registry.leave(one)
    assert registry.metrics().frames_sent == 6
    assert registry.metrics().errors == {"INVALID_MESSAGE": 2}
    assert (len(registry), registry.connections_ever) == (1, 2)


def test_starts_are_counted_by_their_outcome():
    registry = Registry()
    taken, waiting, refused, watching = (FakeConnection() for _ in range(4))
    for connection in (taken, waiting, refused, watching):
        registry.enter(connection)
    taken.gateway.start()
    waiting.gateway.init()
    refused.gateway.opens_at_once = False
    refused.gateway.init()
    refused.gateway.do(refused.session.avatar_missing("none", 0))
    assert registry.starts() == {"started": 1}, "of the others it is not known yet"
    for connection in (taken, waiting, refused, watching):
        connection.gateway.do(connection.session.disconnected())
        registry.leave(connection)
    assert registry.starts() == {"started": 1, "disconnected": 1, "no_avatar": 1}


def test_the_last_worker_is_remembered():
    registry = Registry()
    assert registry.last_worker() is None
    connection = FakeConnection()
    registry.enter(connection)
    connection.gateway.start()
    assert registry.last_worker().engine == "viseme"
    connection.gateway.client_sends("CLOSE")
    registry.leave(connection)
    assert registry.last_worker().engine == "viseme"


async def test_everybody_is_reported_of_the_end():
    registry = Registry()
    connections = [FakeConnection(), FakeConnection()]
    for connection in connections:
        registry.enter(connection)
    await registry.close_all()
    assert registry.is_closing
    assert all(connection.was_shut_down for connection in connections)


async def test_clients_of_1_2_are_warned_when_the_server_drains():
    registry, new, old, early = Registry(), FakeConnection(), FakeConnection(), FakeConnection()
    new.gateway.init(protocol_version="1.2")
    old.gateway.init()
    for connection in (new, old, early):
        registry.enter(connection)
    await registry.drain(20.0)
    assert registry.is_draining
    [warning] = new.gateway.of_type("WARNING")
    assert warning["data"] == {"reason": "draining", "in_ms": 20_000}
    for connection in (old, early):
        assert connection.gateway.of_type("WARNING") == []
