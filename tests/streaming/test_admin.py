"""The history of sessions in the admin."""

import csv
import io
from datetime import UTC, date, datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.utils import timezone

from streaming.gateway.registry import Registry
from streaming.history import writer as history
from streaming.history.usage_chart import SHOWN_DAYS, use_by_day, use_by_hour
from streaming.history.writer import HistoryWriter
from streaming.models import GatewayProcess, SessionRecord
from tests.streaming.gateway.test_registry import FakeConnection

LIST = "/admin/streaming/sessionrecord/"


@pytest.fixture
def process(db) -> GatewayProcess:
    now = timezone.now()
    return GatewayProcess.objects.create(name="here:1", started_at=now, heartbeat_at=now)


def record(process: GatewayProcess, user_id: str = "ada", **fields: object) -> SessionRecord:
    now = timezone.now()
    values = {
        "session_id": f"of-{user_id}",
        "user_id": user_id,
        "avatar": "presenter",
        "worker": "w1",
        "started_at": now - timedelta(seconds=3_725),
        "recorded_at": now,
        "last_message_at": now,
        "ended_at": now,
        "close_cause": "client_request",
        "process": process,
        **fields,
    }
    return SessionRecord.objects.create(**values)


def page(client, query: str = "") -> str:
    response = client.get(f"{LIST}{query}")
    assert response.status_code == 200
    return response.content.decode()


def test_the_list_tells_who_when_and_how_well(admin_client, process):
    record(
        process,
        frames=100,
        speech_ms=12_340,
        lateness_p50_ms=1,
        lateness_p95_ms=5,
        lateness_p99_ms=20,
        errors={"INVALID_MESSAGE": 2},
    )
    said = page(admin_client)
    for words in (
        *("ada", "presenter", "1:02:05", "closed", "0:00:12", "1 / 20 ms"),
        "2 INVALID_MESSAGE",
    ):
        assert words in said


def test_every_session_of_the_list_can_be_opened(admin_client, process):
    for shown in (record(process), record(process, "bob", ended_at=None, close_cause="")):
        assert f'change/">{shown.user_id}</a>' in page(admin_client)


def test_filters_and_search(admin_client, process):
    record(process)
    record(process, "bob", ended_at=None, close_cause="")
    for query in ("?live=yes", "?q=of-bob", "?close_cause=", "?avatar=presenter&live=yes"):
        assert "bob" in page(admin_client, query)
    assert "of-ada" not in page(admin_client, "?live=yes")
    assert '<td class="field-avatar">' not in page(admin_client, "?live=yes&q=ada")
    assert '<td class="field-avatar">' in page(admin_client, "?live=no&q=ada")


def test_one_session_is_shown_and_cannot_be_changed(admin_client, process):
    shown = record(process)
    response = admin_client.get(f"{LIST}{shown.pk}/change/")
    assert response.status_code == 200
    assert 'name="_save"' not in response.content.decode()
    assert admin_client.get(f"{LIST}add/").status_code == 403


def test_the_chart_counts_what_is_listed(admin_client, process):
    for user_id in ("ada", "bob"):
        record(process, user_id, started_at=timezone.now(), speech_ms=30_000)
    everything, only_bob = page(admin_client), page(admin_client, "?q=bob")
    assert everything.count(": 2 sessions</title>") == 2, "of the day, and of the hour"
    assert "today by hour: 2 sessions, 1.0 minutes of speech" in everything
    assert only_bob.count(": 1 session</title>") == 2


def at(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


def test_bars_of_days():
    until = date(2024, 3, 1)
    starts = [at(2024, 3, 1), at(2024, 3, 1, 5), at(2024, 2, 29), at(2023, 1, 1)]
    bars = use_by_day(starts, until=until).bars
    assert len(bars) == SHOWN_DAYS
    assert [(bar.label, bar.sessions, bar.height, bar.y) for bar in bars[-3:]] == [
        ("28 Feb", 0, 0, 100),
        ("29 Feb", 1, 50, 50),
        ("1 Mar", 2, 100, 0),
    ]
    assert [bar.height for bar in use_by_day([], until=until).bars] == [0] * SHOWN_DAYS


def test_bars_of_today():
    today = date(2024, 3, 1)
    starts = [at(2024, 3, 1, 9, 59), at(2024, 3, 1, 9), at(2024, 3, 1, 23, 59), at(2024, 2, 29, 9)]
    chart = use_by_hour(starts, today=today, speech_ms=90_000)
    assert chart.title == "today by hour: 3 sessions, 1.5 minutes of speech"
    assert [(bar.label, bar.sessions) for bar in chart.bars if bar.sessions] == [
        ("9:00", 2),
        ("23:00", 1),
    ]
    assert (len(chart.bars), chart.width) == (24, 2_400)
    nothing = use_by_hour([], today=today, speech_ms=0)
    assert nothing.title == "today by hour: 0 sessions, 0.0 minutes of speech"


def test_export(admin_client, process):
    record(process, '=cmd("x")', errors={"INVALID_MESSAGE": 1})
    record(process, "bob")
    response = admin_client.get(f"{LIST}export.csv?q=of-")
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(response.content.decode())))
    assert {row["user_id"] for row in rows} == {'\'=cmd("x")', "bob"}
    only_bob = admin_client.get(f"{LIST}export.csv?q=bob").content.decode()
    assert len(only_bob.splitlines()) == 2
    chosen = {"action": "export_chosen", "_selected_action": [SessionRecord.objects.first().pk]}
    assert len(admin_client.post(LIST, chosen).content.decode().splitlines()) == 2


def test_a_live_session_is_ended_from_here(admin_client, monkeypatch):
    registry = Registry()
    writer = registry.observer = HistoryWriter(registry)
    monkeypatch.setattr(writer, "start", lambda: None)
    monkeypatch.setattr(writer, "refresh", lambda: writer.sweep(writes_all=True))
    monkeypatch.setattr(history, "writer", writer)
    connection = FakeConnection()
    registry.enter(connection)
    connection.gateway.start()
    assert "streaming</b>" in page(admin_client)
    request = {"action": "end_now", "_selected_action": [SessionRecord.objects.get().pk]}
    assert "Asked to end: 1" in admin_client.post(LIST, request, follow=True).content.decode()
    assert connection.gateway.closed == 4409
    registry.leave(connection)
    assert "by an operator" in page(admin_client)
    assert "None of them is live" in admin_client.post(LIST, request, follow=True).content.decode()


def test_groups_may_do_what_their_names_say(client, process):
    live = record(process, ended_at=None, close_cause="")
    request = {"action": "end_now", "_selected_action": [live.pk]}
    where = f"{LIST}{live.pk}/change/"
    for group, may_end, may_delete in (
        ("viewer", False, False),
        ("operator", True, False),
        ("administrator", True, True),
    ):
        user = User.objects.create_user(group, is_staff=True)
        user.groups.add(Group.objects.get(name=group))
        client.force_login(user)
        assert "ada" in page(client)
        assert client.get(f"{LIST}export.csv").status_code == 200
        SessionRecord.objects.update(termination_requested=False)
        assert ('value="end_now"' in client.get(where).content.decode()) is may_end
        client.post(LIST, request)
        live.refresh_from_db()
        assert live.termination_requested is may_end, group
        status = client.get(f"{LIST}{live.pk}/delete/").status_code
        assert status == (200 if may_delete else 403), group


def test_who_may_not_look_gets_no_export(client, process):
    client.force_login(User.objects.create_user("new", is_staff=True))
    assert client.get(f"{LIST}export.csv").status_code == 403


def test_a_session_is_shown_with_units_seconds_and_zone(admin_client, process):
    shown = record(
        process,
        frames=100,
        video_bytes=10_054_212,
        speech_ms=12_340,
        queued_ms=1_500,
        lateness_p50_ms=1,
        lateness_p95_ms=5,
        lateness_p99_ms=20,
    )
    said = admin_client.get(f"{LIST}{shown.pk}/change/").content.decode()
    for words in ("9.6\xa0MB", "0:00:12", "1.5 s", "95 % up to 5 ms", "99 % up to 20 ms"):
        assert words in said, words
    assert timezone.localtime(shown.started_at).strftime("%H:%M:%S UTC") in said


def test_a_session_that_an_operator_ends_is_ending(admin_client, process):
    record(process, ended_at=None, close_cause="", termination_requested=True)
    assert 'data-state="ending">ending</b>' in page(admin_client)


def test_usage_by_user_and_day(admin_client, process):
    now = timezone.now()
    for user_id, minutes in (("ada", 30), ("ada", 60), ("<b>bob</b>", 5)):
        record(
            process,
            user_id,
            started_at=now,
            ended_at=now + timedelta(minutes=minutes),
            speech_ms=90_000,
            video_bytes=2_500_000,
        )
    record(process, "carl", started_at=now - timedelta(days=3), ended_at=None, recorded_at=now)
    record(process, "old", started_at=now - timedelta(days=40))
    page = admin_client.get(f"{LIST}usage").content.decode()
    assert "&lt;b&gt;bob" in page
    assert "<b>bob" not in page
    assert "?q=ada" in page
    assert "?q=old" not in page
    text = admin_client.get(f"{LIST}usage?days=1&format=csv").content.decode()
    assert list(csv.DictReader(io.StringIO(text))) == [
        {
            "day": timezone.localdate().isoformat(),
            "user_id": user_id,
            "sessions": sessions,
            "minutes": minutes,
            "speech_minutes": speech,
            "video_megabytes": video,
        }
        for user_id, sessions, minutes, speech, video in (
            ("<b>bob</b>", "1", "5.0", "1.5", "2.5"),
            ("ada", "2", "90.0", "3.0", "5.0"),
        )
    ]
    everything = admin_client.get(f"{LIST}usage?days=90&format=csv").content.decode()
    assert {row["user_id"] for row in csv.DictReader(io.StringIO(everything))} == {
        *("ada", "<b>bob</b>", "carl", "old")
    }
    assert admin_client.get(f"{LIST}usage?days=1'--").status_code == 200


PROCESSES = "/admin/streaming/gatewayprocess/"


def test_a_process_is_drained_and_takes_sessions_again(admin_client, monkeypatch):
    registry = Registry()
    writer = HistoryWriter(registry)
    monkeypatch.setattr(writer, "start", lambda: None)
    monkeypatch.setattr(writer, "refresh", lambda: writer.sweep(writes_all=True))
    monkeypatch.setattr(history, "writer", writer)
    writer.places = lambda: (12, 3)
    assert "3 of 12 used" in admin_client.get(PROCESSES).content.decode()
    request = {"action": "drain", "_selected_action": [GatewayProcess.objects.get().pk]}
    page = admin_client.post(PROCESSES, request, follow=True).content.decode()
    assert "Processes that drain: 1" in page
    assert 'data-state="draining"' in page
    assert registry.drain_requested
    assert not registry.takes_sessions
    again = {**request, "action": "take_sessions"}
    assert (
        'data-state="running"' in admin_client.post(PROCESSES, again, follow=True).content.decode()
    )
    assert registry.takes_sessions


AUDIT = "/admin/admin/logentry/"


def test_the_audit_says_who_did_what_and_cannot_be_changed(admin_client, client, process):
    live = record(process, ended_at=None, close_cause="")
    admin_client.post(LIST, {"action": "end_now", "_selected_action": [live.pk]})
    page = admin_client.get(AUDIT).content.decode()
    for words in ("admin", "of-ada", "Ended."):
        assert words in page
    entry = LogEntry.objects.get()
    assert admin_client.post(f"{AUDIT}{entry.pk}/delete/", {"post": "yes"}).status_code == 403
    assert admin_client.get(f"{AUDIT}add/").status_code == 403
    for group, status in (("viewer", 403), ("operator", 403), ("administrator", 200)):
        user = User.objects.create_user(group, is_staff=True)
        user.groups.add(Group.objects.get(name=group))
        client.force_login(user)
        assert client.get(AUDIT).status_code == status, group
        drain = {"action": "drain", "_selected_action": [process.pk]}
        client.post(PROCESSES, drain)
        process.refresh_from_db()
        assert process.drain_requested is (group != "viewer")
        GatewayProcess.objects.update(drain_requested=False)


def test_a_session_that_is_not_here_has_no_picture(admin_client, process):
    live = record(process, ended_at=None, close_cause="")
    assert f"{LIST}{live.pk}/still.jpg" in page(admin_client)
    assert admin_client.get(f"{LIST}{live.pk}/still.jpg").status_code == 404
