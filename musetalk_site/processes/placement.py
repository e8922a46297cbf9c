"""Which process takes a new stream, and which one owns a session. No I/O, no clock.

A session lives in one process, and its load stays there. So a stream is placed when its request is
read: where its session is, if it names one, else where the load is least. What a process has been
given counts at once: a stream that is on its way when the process reports is in no report yet, and
a burst would all go to the same one. So both sides count what was ever given and taken over, and
the difference is on its way.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

SPEAKING_WEIGHT = 8
"""How many idle streams a session that speaks counts for."""


@dataclass(slots=True)
class ProcessLoad:
    """What is known of one process."""

    streams: int = 0
    speaking: int = 0
    is_ready: bool = False
    given: int = 0
    """Streams that it was given, ever."""
    adopted: int = 0
    """Those of them that it had taken over when it reported."""

    @property
    def on_their_way(self) -> int:
        """Streams that it was given and that no report of it shows."""
        return self.given - self.adopted

    @property
    def weight(self) -> int:
        """By which processes are compared."""
        return self.streams + self.on_their_way + SPEAKING_WEIGHT * self.speaking


@dataclass(frozen=True, slots=True)
class Owner:
    """Where a session is, and whose."""

    process: int
    user_id: str
    holders: frozenset[str] = frozenset()
    """The subject and the address that it counts for."""


@dataclass(frozen=True, slots=True)
class Ownership:
    """The answer to a process that opens a session."""

    is_granted: bool
    """False: another user has it, or a holder has no more left."""
    older: int | None = None
    """The other process that has to give it up."""
    full: str | None = None
    """The holder that has as many sessions as it may have."""


@dataclass(slots=True)
class Placement:
    """The processes of a machine and the sessions that they own."""

    loads: dict[int, ProcessLoad] = field(default_factory=dict)
    """By the number of the process; only those that run."""
    owners: dict[str, Owner] = field(default_factory=dict)
    """By session key."""

    def process_started(self, process: int) -> None:
        """Count a process that runs; it is given streams once it reports that it is ready."""
        self.loads[process] = ProcessLoad()

    def process_ended(self, process: int) -> None:
        """Forget a process that is gone, and its sessions with it."""
        self.loads.pop(process, None)
        self.owners = {
            session: owner for session, owner in self.owners.items() if owner.process != process
        }

    def reported(
        self, process: int, *, streams: int, speaking: int, adopted: int, is_ready: bool
    ) -> None:
        """Take in a process's load, and how many streams it has taken over."""
        if load := self.loads.get(process):
            load.streams, load.speaking, load.is_ready = streams, speaking, is_ready
            load.adopted = adopted

    def given(self, process: int) -> None:
        """Count a stream that was sent to a process."""
        if load := self.loads.get(process):
            load.given += 1

    def place(self, session: str | None, *, asked: int) -> int:
        """Return the process for a new stream.

        Args:
            session: The key of the session that the stream names.
            asked: The process that read its request; it takes the stream if no other is ready.
        """
        owner = None if session is None else self.owners.get(session)
        if owner is not None:
            return owner.process
        ready = [number for number, load in self.loads.items() if load.is_ready]
        return min(ready, key=lambda number: (self.loads[number].weight, number), default=asked)

    def own(
        self, session: str, user_id: str, process: int, limits: Mapping[str, int] | None = None
    ) -> Ownership:
        """Take note that a connection of ``process`` opens a session.

        Args:
            session: Its key.
            user_id: Whose it is.
            process: The number of the process.
            limits: How many sessions each of its holders may have.
        """
        owner = self.owners.get(session)
        if owner is not None and owner.user_id != user_id:
            return Ownership(is_granted=False)
        limits = limits or {}
        full = next(
            (each for each, limit in limits.items() if self._held(each, session) >= limit), None
        )
        if full is not None:
            return Ownership(is_granted=False, full=full)
        self.owners[session] = Owner(process, user_id, frozenset(limits))
        is_moved = owner is not None and owner.process != process
        return Ownership(is_granted=True, older=owner.process if owner and is_moved else None)

    def _held(self, holder: str, session: str) -> int:
        """How many sessions a holder has, without this one."""
        return sum(holder in owner.holders for key, owner in self.owners.items() if key != session)

    def release(self, session: str, process: int) -> None:
        """Release a session that ended in ``process``.

        If it is another's by now, it stays there.
        """
        owner = self.owners.get(session)
        if owner is not None and owner.process == process:
            del self.owners[session]
