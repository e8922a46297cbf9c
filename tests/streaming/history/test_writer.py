"""What is written down of sessions, and when."""

import time
from datetime import timedelta
from functools import partial
from typing import get_args

import pytest
from django.db import OperationalError
from django.utils import timezone

from avatars_app.models import WebhookEvent
from streaming.gateway.registry import Registry
from streaming.history import writer
from streaming.history.writer import HistoryWriter
from streaming.models import GatewayProcess, SessionRecord
from streaming.protocol.closing import CloseCauseName
from tests.streaming.fakes import SESSION_ID, FakeWorker, numbered
from tests.streaming.gateway.test_registry import FakeConnection

CloseCause = SessionRecord.CloseCause


class Process:
    """One that sweeps when a test says so."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.writer = self.registry.observer = HistoryWriter(self.registry)
        self.writer.start = lambda: None

    def connect(self, user_id: str = "ada") -> FakeConnection:
        connection = FakeConnection(user_id)
        self.registry.enter(connection)
        return connection

    def begin(self, user_id: str = "ada") -> tuple[FakeConnection, FakeWorker]:
        """A connection whose session a worker has."""
        connection = self.connect(user_id)
        connection.gateway.client_sends("INIT", user_id=user_id)
        return connection, connection.gateway.worker_claims()

    def sweep(self, *, writes_all: bool = True) -> None:
        self.writer.sweep(writes_all=writes_all)


@pytest.fixture
def process() -> Process:
    return Process()


def only() -> SessionRecord:
    return SessionRecord.objects.get()


pytestmark = pytest.mark.django_db


def test_a_session_is_written_at_its_start_and_at_its_end(process):
    process.sweep()
    connection = process.connect()
    process.sweep(writes_all=False)
    assert not SessionRecord.objects.exists()  # it has not said INIT

    worker = connection.gateway.start()
    process.sweep(writes_all=False)
    record = only()
    assert (record.session_id, record.user_id, record.avatar) == (SESSION_ID, "ada", "presenter")
    assert (record.worker, record.engine, record.is_live) == ("w1", "viseme", True)
    assert record.started_at == connection.opened_at

    worker.show(30)
    connection.gateway.client_speaks(numbered(0, 1_600))
    connection.gateway.client_sends("NONSENSE")
    process.sweep(writes_all=False)
    assert only().frames == 0  # not its turn yet
    process.sweep()
    record = only()
    assert (record.frames, record.speech_ms, record.queued_ms) == (30, 100, 100)
    assert record.errors == {"INVALID_MESSAGE": 1}

    connection.gateway.client_sends("CLOSE")
    process.registry.leave(connection)
    process.sweep(writes_all=False)
    record = only()
    assert (record.close_cause, record.is_live, record.queued_ms) == (
        CloseCause.CLIENT_REQUEST,
        False,
        0,
    )
    assert record.ended_at >= record.started_at
    process.sweep()
    assert only().ended_at == record.ended_at


def test_a_session_that_was_over_before_anybody_looked_is_written(process):
    process.sweep()
    connection = process.connect()
    connection.gateway.start()
    process.registry.leave(connection)
    process.sweep(writes_all=False)
    assert only().close_cause == CloseCause.DISCONNECTED


def test_connections_without_a_session_are_only_counted(process):
    process.registry.leave(process.connect())
    process.sweep()
    assert not SessionRecord.objects.exists()
    assert GatewayProcess.objects.get().connections_ever == 1


def test_one_session_id_on_two_connections_is_two_records(process):
    older, newer = process.connect(), process.connect()
    older.gateway.start()
    older.gateway.do(older.session.supersede())
    newer.gateway.start()
    process.registry.leave(older)
    process.sweep()
    endings = SessionRecord.objects.values_list("close_cause", flat=True)
    assert sorted(endings) == ["", CloseCause.SUPERSEDED]


def test_lateness_is_reported_as_the_client_would_see_it(process):
    connection = process.connect()
    worker = connection.gateway.start()
    worker.show(99)
    connection.gateway.wait(0.1)
    worker.show()
    process.sweep()
    record = only()
    assert (record.lateness_p50_ms, record.lateness_p95_ms) == (1, 1)
    assert record.lateness_p99_ms == 1
    for _ in range(5):
        worker.show()
    process.sweep()
    assert only().lateness_p99_ms == 160


def test_sessions_of_a_process_that_died_are_closed_as_lost(process):
    connection = process.connect()
    connection.gateway.start()
    process.sweep()
    recorded_at = only().recorded_at
    other = Process()
    other.sweep()
    assert only().is_live

    long_ago = timezone.now() - writer.LOST_AFTER - timedelta(seconds=1)
    GatewayProcess.objects.filter(name=process.writer._process.name).exclude(
        id=other.writer._process.id
    ).update(heartbeat_at=long_ago)
    other.sweep()
    record = only()
    assert (record.close_cause, record.ended_at) == (CloseCause.LOST, recorded_at)
    assert record.process.is_stopped
    assert not GatewayProcess.objects.get(id=other.writer._process.id).is_stopped

    process.sweep()  # it was only asleep
    assert only().is_live
    assert only().close_cause == ""
    assert not only().process.is_stopped


def test_a_machine_that_slept_loses_none_of_its_sessions(process, webhooks, monkeypatch):
    process.begin()
    process.sweep()
    other = Process()
    other.sweep()
    GatewayProcess.objects.update(heartbeat_at=timezone.now() - timedelta(hours=1))
    for _ in range(2):
        other.sweep()
    assert only().is_live, "its process will beat as soon as it has its turn"
    assert reported() == [("session.started", "ada")]
    now_s = time.monotonic() + writer.PAUSED_AFTER.total_seconds()
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    other.sweep()
    assert only().close_cause == CloseCause.LOST, "it had its turn"


def test_a_machine_whose_clock_is_ahead_ends_no_sessions_of_others(process, monkeypatch):
    process.begin()
    process.sweep()
    ahead = timezone.now() + timedelta(minutes=2)
    with monkeypatch.context() as patch:
        patch.setattr(writer.timezone, "now", lambda: ahead)
        Process().sweep()
    assert only().is_live
    process.sweep()
    assert only().is_live


def test_what_an_operator_wants_is_done_by_the_process_that_has_the_session(process):
    (connection, _), (bystander, _) = process.begin(), process.begin("bob")
    process.sweep()
    SessionRecord.objects.filter(user_id="ada").update(termination_requested=True)
    Process().sweep()
    assert connection.gateway.closed is None
    process.sweep()
    assert connection.gateway.closed == 4409
    *_, error, acknowledgement = connection.gateway.sent_to_client
    assert error["data"]["code"] == "INVALID_SESSION"
    assert error["data"]["details"] == {"reason": "ended_by_operator"}
    assert acknowledgement["data"]["reason"] == "error"
    assert bystander.gateway.closed is None
    process.registry.leave(connection)
    process.sweep(writes_all=False)
    assert SessionRecord.objects.get(user_id="ada").close_cause == CloseCause.OPERATOR


def test_what_could_not_be_written_is_written_the_next_time(process, monkeypatch, caplog):
    process.sweep()
    connection = process.connect()
    connection.gateway.start().show(5)
    process.registry.leave(connection)
    manager = type(SessionRecord.objects)

    def fail(*_: object, **__: object) -> None:
        raise OperationalError("the database cannot be reached")

    with monkeypatch.context() as patch:
        patch.setattr(manager, "bulk_create", fail)
        for _ in range(3):
            assert process.writer._try(process.sweep) is None
    assert not SessionRecord.objects.exists()
    assert not process.writer.has_database
    process.sweep()
    assert process.writer.has_database
    assert only().frames == 5
    lost, back = [record.getMessage() for record in caplog.records if record.levelname != "INFO"]
    assert "the database cannot be reached" in lost
    assert "is back after" in back


def test_an_outage_that_a_session_met_lasts_until_something_can_be_written(process, caplog):
    process.begin()
    for error in (OperationalError("disk I/O error"), TimeoutError()):
        process.registry.database_failed(error)
        assert not process.writer.has_database
    process.sweep(writes_all=False)
    assert not process.writer.has_database
    process.sweep()
    assert process.writer.has_database
    lost, back = [record.getMessage() for record in caplog.records if record.levelname != "INFO"]
    assert "disk I/O error" in lost
    assert "is back after" in back


def test_a_database_that_takes_no_further_connection_is_an_outage_though_ours_works(
    process, monkeypatch
):
    """Sessions begin on other connections; what has one still writes."""

    def refuse() -> None:
        raise OperationalError("remaining connection slots are reserved")

    process.begin()
    with monkeypatch.context() as patch:
        patch.setattr(writer, "_open_another_connection", refuse)
        process.writer._try(partial(process.sweep, writes_all=True))
    assert not process.writer.has_database
    assert only()
    process.sweep()
    assert process.writer.has_database


def test_many_sessions_cost_few_queries(process, django_assert_max_num_queries):
    for number in range(100):
        process.begin(f"user{number}")
    process.sweep()
    with django_assert_max_num_queries(11):  # with the savepoints of tests
        process.sweep()
    with django_assert_max_num_queries(0):
        process.sweep(writes_all=False)
    assert SessionRecord.objects.count() == 100


def test_a_process_that_ends_says_so(process):
    process.connect().gateway.start()
    process.writer.stop()
    process.sweep()
    assert GatewayProcess.objects.get().is_stopped


def test_every_ending_of_a_session_has_a_word():
    assert set(get_args(CloseCauseName)) < set(CloseCause.values)


@pytest.fixture
def webhooks(settings):
    settings.WEBHOOK_URL = "https://example.org/"


def reported() -> list[tuple[str, str]]:
    events = WebhookEvent.objects.order_by("happened_at", "-type")
    return [(event.type, event.data["user_id"]) for event in events]


def test_the_start_and_the_end_of_a_session_are_reported_with_it(process, webhooks):
    connection, worker = process.begin()
    process.sweep()
    process.sweep()
    assert reported() == [("session.started", "ada")]
    worker.show(5)
    connection.gateway.client_sends("CLOSE")
    process.registry.leave(connection)
    process.sweep(writes_all=False)
    assert reported() == [("session.started", "ada"), ("session.ended", "ada")]
    data = WebhookEvent.objects.get(type="session.ended").data
    assert (data["close_cause"], data["frames"]) == ("client_request", 5)
    assert data["session_id"] == SESSION_ID


def test_what_cannot_be_written_is_not_reported(process, webhooks, monkeypatch):
    process.begin()

    def fail(events):
        list(events)
        raise OperationalError("away")

    with monkeypatch.context() as patch:
        patch.setattr(writer, "record_events", fail)
        with pytest.raises(OperationalError):
            process.sweep()
    assert not SessionRecord.objects.exists()
    process.sweep()
    assert reported() == [("session.started", "ada")]


def test_sessions_of_a_process_that_died_are_reported_to_have_ended(process, webhooks):
    process.begin()
    process.sweep()
    GatewayProcess.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=1))
    for _ in range(2):
        Process().sweep()
    assert reported() == [("session.started", "ada"), ("session.ended", "ada")]
    assert WebhookEvent.objects.get(type="session.ended").data["close_cause"] == "lost"
