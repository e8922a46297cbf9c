"""The connections of this process, and what they have done so far."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Protocol

from avatars_app.access.principal import Principal
from inference.messages import SessionClaimed
from streaming.gateway.leases import Leases, NoLeases
from streaming.gateway.mirrors import mirrors
from streaming.gateway.subject_speech import SubjectSpeech
from streaming.gateway.takeover import key_of
from streaming.protocol.errors import HolderFull, SessionIdTaken
from streaming.session.metrics import SessionMetrics
from streaming.session.session import Session

REFUSED_WITHIN_S = 0.5
"""A gateway of another machine refuses within a round trip who opens a session of its users."""
STARTED = "started"
"""The outcome of a start where a worker took the session."""


class Connection(Protocol):
    """What the registry knows of a consumer."""

    session: Session
    owner: str
    """Whose session it is: the user's, and with AUTH one subject's."""
    opened_at: datetime
    last_message_at: datetime
    """When the client last sent something."""

    principal: Principal | None
    """Who it is, with AUTH."""

    session_limits: Mapping[str, int]
    """How many sessions each of its holders may have, its subject and its address."""

    def revoke(self) -> None:
        """End it: what its credential stands for was withdrawn."""

    async def supersede(self) -> None: ...
    async def hand_over(self) -> Session:
        """Give the session up to a newer connection; this one ends."""

    async def server_ends(self, in_s: float) -> None:
        """Warn the client: the server ends in ``in_s``."""

    async def shut_down(self) -> None: ...

    def terminate_soon(self) -> None:
        """End it because an operator wants that. Can be called from any thread."""


class RegistryObserver(Protocol):
    """Observes connections; called in the event loop, so it must not wait."""

    def connection_opened(self) -> None: ...
    def connection_closed(self, connection: Connection) -> None:
        """All that it did is in its metrics."""

    def database_failed(self, error: Exception) -> None:
        """It did not answer what a session needs to begin."""


class Peers(Protocol):
    """The other app processes of this machine."""

    async def own_session(self, session: str, owner: str, limits: Mapping[str, int]) -> None:
        """Let this process have the session.

        Where another process of the same user's has it, that one gives it up.

        Args:
            session: Its key.
            owner: Whose it is.
            limits: How many sessions each of its holders may have, over all processes.

        Raises:
            SessionIdTaken: Another user has it.
            HolderFull: A holder has as many others as it may have.
        """

    def release_session(self, session: str) -> None:
        """Release a session that is no longer in this process."""

    def still(self, session: str) -> bytes | None:
        """Return the next IDR of a session of another process; waits for that, in any thread."""

    def refresh(self) -> None:
        """Have the others write down their sessions; waits for that, in any thread."""


class Registry:
    """Changed in the event loop only; read from anywhere."""

    def __init__(self) -> None:
        self.is_closing = False
        self.is_draining = False
        """No streams should be sent here: the server ends soon."""
        self.drain_requested = False
        """An operator wants no new sessions here."""
        self.connections_ever = 0
        self.resumes = 0
        """Sessions that continued on another connection."""
        self._starts: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()
        self.observer: RegistryObserver | None = None
        self.peers: Peers | None = None
        """None: this process is alone on its machine."""
        self.has_other_machines = False
        """Whether gateways of others share a layer with this one."""
        self.leases: Leases = NoLeases()
        """What holders have on all machines together."""
        self._connections: set[Connection] = set()
        self.subject_speech = SubjectSpeech()
        self._by_session_id: dict[str, Connection] = {}
        self._past = SessionMetrics()
        self._last_worker: SessionClaimed | None = None

    @property
    def takes_sessions(self) -> bool:
        """Whether new sessions may begin here."""
        return not (self.is_closing or self.is_draining or self.drain_requested)

    def enter(self, connection: Connection) -> None:
        self._connections.add(connection)
        self.connections_ever += 1
        if self.observer is not None:
            self.observer.connection_opened()

    def leave(self, connection: Connection) -> None:
        if connection not in self._connections:
            return
        self._connections.remove(connection)
        self._past.add(connection.session.metrics)
        self.subject_speech.left(connection.session)
        if outcome := _start_of(connection):
            self._starts[outcome] += 1
        if connection.session.link is not None:
            self._ended[connection.session.close_cause or "disconnected"] += 1
        self._last_worker = _worker_of(connection) or self._last_worker
        for key in [key for key, c in self._by_session_id.items() if c is connection]:
            self._release(key, connection)
        if self.observer is not None:
            self.observer.connection_closed(connection)

    def database_failed(self, error: Exception) -> None:
        """Note that the database did not answer what a session needs to begin."""
        if self.observer is not None:
            self.observer.database_failed(error)

    async def reserve(self, session_id: str, connection: Connection) -> None:
        """Make ``connection`` the session's own; an older one of the same user gives it up.

        Raises:
            SessionIdTaken: Another user has it.
            HolderFull: Its subject or its address has as many others as it may have.
        """
        key, limits = key_of(session_id), connection.session_limits
        try:
            older = await self._own(key, connection)
        except SessionIdTaken:
            if not self.has_other_machines:
                raise
            await asyncio.sleep(REFUSED_WITHIN_S)  # who has it here may be refused elsewhere
            older = await self._own(key, connection)
        full = await self.leases.take(_member(key, connection.owner), limits)
        if full is not None:
            self._take_back(key, older)
            raise HolderFull(full, limits[full])
        if older is not None and older is not connection:
            await older.supersede()

    async def _own(self, key: str, connection: Connection) -> Connection | None:
        """Let ``connection`` have the session on this machine; return who had it here before."""
        if self.peers is not None:
            await self.peers.own_session(key, connection.owner, connection.session_limits)
        else:
            self._check_limits(key, connection.session_limits)
        older = self._by_session_id.get(key)
        if older is not None and older.owner != connection.owner:
            raise SessionIdTaken
        self._by_session_id[key] = connection  # from here on nobody else gets it
        return older

    def _take_back(self, key: str, older: Connection | None) -> None:
        """A reservation was refused: the session is whose it was."""
        if older in self._connections:
            assert older is not None, "it is a connection"
            self._by_session_id[key] = older
            return
        del self._by_session_id[key]
        if self.peers is not None:
            self.peers.release_session(key)

    def give_up(self, session_id: str, connection: Connection) -> None:
        """Free a session that the connection has and that turned out to be another user's."""
        if self._by_session_id.get(key := key_of(session_id)) is connection:
            self._release(key, connection)

    def _release(self, key: str, connection: Connection) -> None:
        del self._by_session_id[key]
        self.leases.give_back(_member(key, connection.owner))
        if self.peers is not None:
            self.peers.release_session(key)

    def _check_limits(self, key: str, limits: Mapping[str, int]) -> None:
        others = [each for other, each in self._by_session_id.items() if other != key]
        for holder, limit in limits.items():
            if sum(holder in other.session_limits for other in others) >= limit:
                raise HolderFull(holder, limit)

    def connection_of(self, session_id: str) -> Connection | None:
        """Return the connection that has the session, or had it last and waits for another."""
        return self._by_session_id.get(key_of(session_id))

    def move(self, older: Connection, newer: Connection) -> None:
        """Move the session of ``older`` to ``newer``, where it continues."""
        self.resumes += 1
        self._connections.discard(older)
        for key, connection in self._by_session_id.items():
            if connection is older:
                self._by_session_id[key] = newer

    async def supersede(self, session: str) -> None:
        """Close the session with this key, which was opened in another process."""
        older = self._by_session_id.pop(session, None)
        if older is not None:
            self.leases.give_back(_member(session, older.owner))
            await older.supersede()

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._connections))

    def __len__(self) -> int:
        return len(self._connections)

    def metrics(self) -> SessionMetrics:
        """Return the sum over all sessions, those that are over included."""
        total = SessionMetrics()
        total.add(self._past)
        for connection in self:
            total.add(connection.session.metrics)
        return total

    def starts(self) -> Counter[str]:
        """Count sessions that a worker took, and those that none did, by the reason."""
        running = Counter(outcome for c in self if (outcome := _start_of(c)) == STARTED)
        return self._starts.copy() + running

    def ends(self) -> Counter[str]:
        """Count sessions that ended, by cause."""
        return self._ended.copy()

    def last_worker(self) -> SessionClaimed | None:
        """One that took a session of this process; None if none ever did."""
        return next(filter(None, map(_worker_of, self)), self._last_worker)

    async def drain(self, in_s: float) -> None:
        """Warn all clients: the server ends in ``in_s``."""
        self.is_draining = True
        await asyncio.gather(*(connection.server_ends(in_s) for connection in self))

    async def close_all(self) -> None:
        """Refuse new connections, and close those that are open with 4012."""
        self.is_closing = True
        await asyncio.gather(*(connection.shut_down() for connection in self))


def _start_of(connection: Connection) -> str | None:
    """What became of a session's start; None: it had none, as of a connection that watches."""
    session = connection.session
    if session.link is None:
        return session.close_cause
    return STARTED if session.link.last_worker else session.close_cause or "disconnected"


def _member(key: str, owner: str) -> str:
    """How a session's lease names it: to try the id of another user takes none of theirs."""
    return f"session:{key}:{owner}"


def _worker_of(connection: Connection) -> SessionClaimed | None:
    link = connection.session.link
    return None if link is None else link.last_worker


registry = Registry()


async def close_all() -> None:
    """Close the connections of this process: the server shuts down."""
    await registry.close_all()
    mirrors.close()
