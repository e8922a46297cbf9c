"""Writes down what sessions do, beside them: no stream ever waits for the database.

Theory of operation
-------------------
The registry knows the connections of this process. One thread looks at it every second, and writes
what is new: a session that began, or one that ended, of which the registry told it. Every ten
seconds it writes all that are alive, and the process's heartbeat. A write is one statement for many
rows, which inserts or replaces. What could not be written is written the next time: all numbers are
totals, so nothing needs to be added up.

A process whose heartbeat stopped died. It and its sessions, as lost, are closed by whichever
process looks next. Should it only have been asleep, its next write opens them again. Heartbeats are
written and judged by the database's clock: those of the machines need not agree.

At its start, and every day, the thread forgets what is older than HISTORY_DAYS.

What an operator wants travels the other way: a mark in the row, looked for every second, or at once
in the processes of the machine that serves the operator.
"""

import atexit
import logging
import os
import platform
import queue
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import TypeVar

from django.db import DatabaseError, connection, transaction
from django.db.models import F, Q
from django.db.models.expressions import Combinable
from django.db.models.functions import Now
from django.utils import timezone

from avatars_app.database import availability, use_kept_connection
from avatars_app.webhooks.events import record_events
from inference.timing import audio_timestamp_ms
from streaming.gateway.registry import Connection, Registry, registry
from streaming.history.retention import purge_expired
from streaming.history.session_events import events_of
from streaming.models import GatewayProcess, SessionRecord
from streaming.session.session import Session

log = logging.getLogger(__name__)

Result = TypeVar("Result")

LOOK_EVERY_S = 1.0
WRITE_EVERY_S = 10.0
PURGE_EVERY_S = 24 * 3_600.0
LOST_AFTER = timedelta(seconds=35)
PAUSED_AFTER = timedelta(seconds=2 * WRITE_EVERY_S)
"""A process whose own last beat is older than this was held up; others may have been with it."""
END_WITHIN_S = 2.5
"""How long the end of the process waits for what is left to be written."""
END_IN_OUTAGE_WITHIN_S = 0.5
"""The same while the database cannot be reached; others close those sessions as lost."""
_ROWS_AT_ONCE = 200

_LEFT_ALONE = {"id", "process", "session_id", "user_id", "started_at", "termination_requested"}
"""What a later write does not touch; `termination_requested` is others' to write."""
_WRITTEN = [f.name for f in SessionRecord._meta.fields if f.name not in _LEFT_ALONE]
_NOT_BEATEN = {"id", "started_at", "drain_requested"}
_BEATEN = [f.name for f in GatewayProcess._meta.fields if f.name not in _NOT_BEATEN]


class HistoryWriter:
    """One for each process, the `RegistryObserver` of its registry."""

    has_database = True
    """Whether it could be used the last time, by this writer or by a session that began."""

    def __init__(self, watched: Registry) -> None:
        self.places: Callable[[], tuple[int | None, int]] = lambda: (None, 0)
        """How many sessions can speak here at once, and how many do."""
        self._registry = watched
        self._ids: dict[Session, uuid.UUID] = {}
        """Of the sessions that are known and alive."""
        self._gone: queue.SimpleQueue[tuple[Connection, datetime]] = queue.SimpleQueue()
        self._dead: queue.SimpleQueue[str] = queue.SimpleQueue()
        """Names of processes of this machine that ended without closing their history."""
        self._unwritten: dict[uuid.UUID, SessionRecord] = {}
        """Ended, and not yet in the database."""
        self._started: set[uuid.UUID] = set()
        """Those whose start is written."""
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._news = threading.Condition()
        """Guards what follows."""
        self._is_over = False
        self._asked = self._answered = 0
        self._judges_from_s = 0.0
        """When old beats of other processes say again that those died."""

    @cached_property
    def _process(self) -> GatewayProcess:
        """This process, found out late: the one that imports this may only be forked from."""
        return GatewayProcess(name=_name_of(os.getpid()), started_at=timezone.now())

    def connection_opened(self) -> None:
        """Count a connection that was opened."""
        if self._thread is None:
            self.start()

    def connection_closed(self, connection: Connection) -> None:
        """Count a connection that was closed."""
        self._gone.put((connection, timezone.now()))
        self._wake.set()

    def database_failed(self, error: Exception) -> None:
        """Count an outage that a session met; what is written next shows whether it lasts."""
        self.has_database = False
        availability.lost(self, error)

    def process_ended(self, pid: int) -> None:
        """Another process of this machine died: its sessions are lost."""
        self._dead.put(_name_of(pid))
        self._wake.set()

    def start(self) -> None:
        """Begin to write."""
        with self._news:
            if self._thread is not None or self._is_over:
                return
            self._thread = threading.Thread(target=self._run, name="history", daemon=True)
            self._thread.start()
        atexit.register(self.stop)

    def stop(self, within_s: float = END_WITHIN_S) -> None:
        """Write what is left, and that this process is over. Waits for that, but not for ever."""
        atexit.unregister(self.stop)
        with self._news:
            self._is_over = True
            thread = self._thread
        if thread is not None:
            self._wake.set()
            thread.join(within_s if self.has_database else END_IN_OUTAGE_WITHIN_S)

    def refresh(self, within_s: float = 2.0) -> None:
        """Look at everything now; returns when that is done, or when it takes too long."""
        with self._news:
            if self._thread is None or self._is_over or not self.has_database:
                return
            self._asked += 1
            asked = self._asked
            self._wake.set()
            self._news.wait_for(lambda: self._answered >= asked, within_s)

    def refresh_all(self) -> None:
        """As `refresh`, in all processes of this machine."""
        self.refresh()
        if self._registry.peers is not None:
            self._registry.peers.refresh()

    def _run(self) -> None:
        next_write_s = next_purge_s = time.monotonic()
        is_stopped = False
        while not is_stopped:
            self._wake.clear()
            with self._news:
                is_stopped, asked = self._is_over, self._asked
            is_due = is_stopped or asked > self._answered or time.monotonic() >= next_write_s
            is_due |= not self.has_database  # only then it shows that it is back
            if is_due:
                next_write_s = time.monotonic() + WRITE_EVERY_S
            self._try(partial(self.sweep, writes_all=is_due))
            if not is_due:
                self._try(self._carry_out_requests)
            with self._news:
                self._answered = asked
                self._news.notify_all()
            may_purge = is_due and self.has_database and not is_stopped
            is_purging = may_purge and time.monotonic() >= next_purge_s
            if is_purging and self._try(purge_expired) == 0:
                next_purge_s = time.monotonic() + PURGE_EVERY_S
            if not is_stopped:
                self._wake.wait(LOOK_EVERY_S)
        connection.close()

    def _try(self, step: Callable[[], Result]) -> Result | None:
        """Return what ``step`` returns; nothing if it cannot be done now: another time it can."""
        try:
            use_kept_connection()
            return step()
        except DatabaseError as error:
            self.database_failed(error)
        except Exception:
            log.exception("the history of sessions cannot be written now")
        return None

    def sweep(self, *, writes_all: bool) -> None:
        """Write what is new, or all that is alive. The first one must write all."""
        self._take_in_those_gone()
        connections = [c for c in self._registry if c.session.link is not None]
        if not writes_all:
            connections = [c for c in connections if c.session not in self._ids]
        if writes_all:
            self._beat()
        records = [*self._unwritten.values(), *map(self._record, connections)]
        if records:
            with transaction.atomic():
                SessionRecord.objects.bulk_create(
                    records,
                    batch_size=_ROWS_AT_ONCE,
                    update_conflicts=True,
                    unique_fields=["id"],
                    update_fields=_WRITTEN,
                )
                record_events(events_of(records, started=self._started))
            self._started |= {record.id for record in records}
            self._started -= self._unwritten.keys()
            self._unwritten.clear()
        if writes_all or not self._dead.empty():
            self._close_lost()
        if writes_all:
            self._carry_out_requests()
            _open_another_connection()
            self.has_database = True
            availability.found(self)

    def _take_in_those_gone(self) -> None:
        while not self._gone.empty():
            connection, ended_at = self._gone.get()
            if connection.session.link is not None:
                record = self._record(connection, ended_at)
                self._unwritten[record.id] = record
            self._ids.pop(connection.session, None)

    def _beat(self) -> None:
        process, metrics = self._process, self._registry.metrics()
        # The machine slept, its clock was set, or the database could not be reached.
        if GatewayProcess.objects.filter(
            id=process.id, heartbeat_at__lt=Now() - PAUSED_AFTER
        ).exists():
            self._judges_from_s = time.monotonic() + PAUSED_AFTER.total_seconds()
        process.heartbeat_at = Now()
        process.is_stopped = self._is_over
        process.places, process.places_used = self.places()
        process.sessions = sum(each.session.link is not None for each in self._registry)
        process.connections_open = len(self._registry)
        process.connections_ever = self._registry.connections_ever
        process.samples = metrics.samples
        process.frames_sent = metrics.frames_sent
        process.frames_dropped = metrics.frames_held_back
        process.video_bytes = metrics.video_bytes
        process.workers_lost = metrics.workers_lost
        process.errors = dict(metrics.errors)
        GatewayProcess.objects.bulk_create(
            [process], update_conflicts=True, unique_fields=["id"], update_fields=_BEATEN
        )

    def _record(self, connection: Connection, ended_at: datetime | None = None) -> SessionRecord:
        """Return what is known of a session; it has one."""
        session, link = connection.session, connection.session.link
        assert link is not None
        metrics, worker = session.metrics, link.last_worker
        late = metrics.lateness
        is_live = ended_at is None
        since = session.audience.watchable_since
        return SessionRecord(
            id=self._ids.setdefault(session, uuid.uuid4()),
            session_id=session.session_id or "",
            user_id=session.user_id,
            subject="" if connection.principal is None else connection.principal.subject,
            watchable_since=None if since is None else datetime.fromtimestamp(since, UTC),
            avatar=link.avatar.folder,
            worker="" if worker is None else worker.worker,
            engine="" if worker is None else worker.engine,
            process=self._process,
            started_at=connection.opened_at,
            connections=session.number + 1,
            recorded_at=timezone.now(),
            last_message_at=connection.last_message_at,
            ended_at=ended_at,
            close_cause=""
            if is_live
            else session.close_cause or SessionRecord.CloseCause.DISCONNECTED,
            is_waiting=is_live and link.worker is None,
            frames=metrics.frames_sent,
            frames_dropped=metrics.frames_held_back,
            video_bytes=metrics.video_bytes,
            speech_ms=audio_timestamp_ms(metrics.samples),
            queued_ms=link.queued_ms if is_live else 0,
            workers_lost=metrics.workers_lost,
            lateness_p50_ms=late.percentile_ms(0.5),
            lateness_p95_ms=late.percentile_ms(0.95),
            lateness_p99_ms=late.percentile_ms(0.99),
            errors=dict(metrics.errors),
        )

    def _close_lost(self) -> None:
        """Close processes that died, and their sessions, which ended when they were last seen."""
        is_dead = Q(pk=None)
        if time.monotonic() >= self._judges_from_s:
            is_dead = Q(heartbeat_at__lt=lost_before())
        while not self._dead.empty():
            is_dead |= Q(name=self._dead.get(), is_stopped=False)
        dead = GatewayProcess.objects.exclude(id=self._process.id).filter(is_dead)
        lost = SessionRecord.objects.filter(ended_at=None, process__in=dead)
        ids = set(lost.values_list("id", flat=True))
        if ids:
            self._end_lost(ids)
        dead.filter(is_stopped=False).update(is_stopped=True)

    def _end_lost(self, ids: set[uuid.UUID]) -> None:
        rows = SessionRecord.objects.filter(id__in=ids)
        with transaction.atomic():
            ended = rows.filter(ended_at=None).update(
                ended_at=F("recorded_at"),
                close_cause=SessionRecord.CloseCause.LOST,
                is_waiting=False,
                queued_ms=0,
            )
            record_events(events_of(rows.filter(ended_at__isnull=False), started=ids))
        log.warning("sessions of processes that died: %d", ended)

    def _carry_out_requests(self) -> None:
        """Carry out what operators want of this process and its sessions."""
        drains = GatewayProcess.objects.filter(id=self._process.id, drain_requested=True).exists()
        if drains != self._registry.drain_requested:
            log.warning("an operator wants %s sessions here", "no new" if drains else "new")
            self._registry.drain_requested = drains
        if not self._ids:
            return
        wished = set(
            SessionRecord.objects.filter(
                process=self._process, ended_at=None, termination_requested=True
            ).values_list("id", flat=True)
        )
        for live in self._registry:
            if self._ids.get(live.session) in wished:
                live.terminate_soon()


def lost_before() -> Combinable:
    """A process whose heartbeat is older than this died; for a query."""
    return Now() - LOST_AFTER


def _open_another_connection() -> None:
    """Raise DatabaseError where the server takes no further connection: a session may need one."""
    other = connection.copy()
    try:
        other.ensure_connection()
    finally:
        other.close()


def _name_of(pid: int) -> str:
    return f"{platform.node()}:{pid}"


writer = HistoryWriter(registry)


def install() -> None:
    """Write the history of this process from its first connection on."""
    registry.observer = writer
