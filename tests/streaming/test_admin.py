"""The history of sessions in the admin."""

import csv
import html
import io
import re
from datetime import UTC, date, datetime, timedelta

import pytest
from asgiref.sync import async_to_sync
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.utils import timezone

from streaming.admin import csv_export, sessions
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
    return datetime(year, month, day, hour, minute, tzinfo=timezone.get_current_timezone())


def begun(
    process: GatewayProcess, *starts: datetime, speech_ms: int = 0
) -> QuerySet[SessionRecord]:
    for start in starts:
        record(process, started_at=start, speech_ms=speech_ms)
    return SessionRecord.objects.all()


def test_bars_of_days(process):
    today = date(2024, 3, 1)
    nothing = use_by_day(SessionRecord.objects.all(), today=today).bars
    assert [bar.height for bar in nothing] == [0] * SHOWN_DAYS
    starts = at(2024, 3, 1), at(2024, 3, 1, 23, 59), at(2024, 2, 29), at(2023, 1, 1)
    chart = use_by_day(begun(process, *starts), today=today)
    bars = chart.bars
    assert chart.end == "today"
    assert len(bars) == SHOWN_DAYS
    assert [(bar.label, bar.sessions, bar.height, bar.y) for bar in bars[-3:]] == [
        ("28 Feb", 0, 0, 100),
        ("29 Feb", 1, 50, 50),
        ("1 Mar", 2, 100, 0),
    ]


def test_bars_of_days_end_with_the_newest_that_is_listed(process):
    listed = begun(process, at(2024, 2, 29, 23, 59), at(2024, 2, 1))
    chart = use_by_day(listed, today=date(2024, 5, 1))
    assert chart.end == "29 Feb"
    assert [bar.label for bar in chart.bars if bar.sessions] == ["1 Feb", "29 Feb"]


def test_a_bar_leads_to_its_sessions(admin_client, process):
    now = timezone.now()
    record(process, "ada", started_at=now)
    record(process, "bob", started_at=now - timedelta(days=2))
    ways = re.findall(r'<a href="([^"]*)">\s*<rect', page(admin_client, "?avatar=presenter&p=1"))
    listed = [page(admin_client, html.unescape(way)) for way in ways]
    assert len(ways) == 3, "an hour of today, the day of bob's, and today"
    for one, user_id in zip(listed, ("ada", "bob", "ada"), strict=True):
        assert re.findall(r"change/[^>]*>(\w+)</a>", one) == [user_id]
    assert all("avatar=presenter" in way and "p=1" not in way for way in ways)


def test_the_sessions_of_a_month(admin_client, process):
    for user_id, start in (
        *(("ada", at(2024, 2, 29, 23, 59)), ("bob", at(2024, 2, 1))),
        *(("carl", at(2024, 3, 1)), ("dora", at(2023, 12, 31, 23, 59))),
    ):
        record(process, user_id, started_at=start)
    everything = page(admin_client)
    for month in ("December 2023", "January 2024", "February 2024", "March 2024"):
        assert f">{month}</a>" in everything
    february = page(admin_client, "?month=2024-02")
    assert re.findall(r"change/[^>]*>(\w+)</a>", february) == ["ada", "bob"]
    assert len(re.findall(r"change/[^>]*>(\w+)</a>", page(admin_client, "?month=x"))) == 4


def test_bars_of_today(process):
    today = date(2024, 3, 1)
    nothing = use_by_hour(SessionRecord.objects.all(), today=today)
    assert nothing.title == "today by hour: 0 sessions, 0.0 minutes of speech"
    starts = at(2024, 3, 1, 9, 59), at(2024, 3, 1, 9), at(2024, 3, 1, 23, 59), at(2024, 2, 29, 9)
    chart = use_by_hour(begun(process, *starts, speech_ms=30_000), today=today)
    assert chart.title == "today by hour: 3 sessions, 1.5 minutes of speech"
    assert [(bar.label, bar.sessions) for bar in chart.bars if bar.sessions] == [
        ("9:00", 2),
        ("23:00", 1),
    ]
    assert (len(chart.bars), chart.width) == (24, 2_400)


def test_bars_of_a_day_on_which_the_clocks_are_set_back(process):
    with timezone.override("Europe/Berlin"):
        today = date(2024, 10, 27)
        first, again = (datetime(2024, 10, 27, hour, 30, tzinfo=UTC) for hour in (0, 1))
        assert [timezone.localtime(start).hour for start in (first, again)] == [2, 2]
        chart = use_by_hour(begun(process, first, again, at(2024, 10, 27, 23, 30)), today=today)
        assert [(bar.label, bar.sessions) for bar in chart.bars if bar.sessions] == [
            ("2:00", 2),
            ("23:00", 1),
        ]
        assert use_by_day(SessionRecord.objects.all(), today=today).bars[-1].sessions == 3


def test_the_charts_take_no_row_out_of_the_database(process, django_assert_num_queries):
    sessions = begun(process, at(2024, 3, 1), at(2024, 2, 29))
    with django_assert_num_queries(3) as asked:
        use_by_day(sessions, today=date(2024, 3, 1))
        use_by_hour(sessions, today=date(2024, 3, 1))
    for query in asked.captured_queries:
        assert query["sql"].startswith(("SELECT COUNT(", "SELECT MAX("))
        assert "django_date" not in query["sql"], "a function in Python for each row"


@async_to_sync
async def blocks_of(response) -> list[bytes]:
    """Take a file as a server does."""
    return [block async for block in response]


def file_of(response) -> list[dict[str, str]]:
    """Return the rows of a file."""
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    text = b"".join(blocks_of(response)).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_export(admin_client, process):
    record(process, '=cmd("x")', errors={"INVALID_MESSAGE": 1})
    bob = record(process, "bob")
    rows = file_of(admin_client.get(f"{LIST}export.csv?q=of-"))
    assert {row["user_id"] for row in rows} == {'\'=cmd("x")', "bob"}
    only_bob = file_of(admin_client.get(f"{LIST}export.csv?q=bob"))
    assert [row["user_id"] for row in only_bob] == ["bob"]
    chosen = {"action": "export_chosen", "_selected_action": [bob.pk]}
    assert len(file_of(admin_client.post(LIST, chosen))) == 1
    assert file_of(admin_client.get(f"{LIST}export.csv?q=nobody")) == []


def test_an_export_of_many_sessions_is_sent_in_blocks(admin_client, process, monkeypatch):
    monkeypatch.setattr(csv_export, "ROWS_AT_ONCE", 2)
    for number in range(5):
        record(process, f"user{number}")
    blocks = blocks_of(admin_client.get(f"{LIST}export.csv"))
    assert [block.count(b"\r\n") for block in blocks] == [1, 2, 2, 1]


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


def some_usage(process: GatewayProcess, now: datetime) -> None:
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


def test_usage_by_user_and_day(admin_client, process):
    some_usage(process, timezone.now())
    page = admin_client.get(f"{LIST}usage").content.decode()
    assert "&lt;b&gt;bob" in page
    assert "<b>bob" not in page
    assert "?q=ada" in page
    assert "?q=old" not in page
    assert "<th>4</th><th>4415.0</th><th>4.5</th><th>7.5</th>" in page
    assert admin_client.get(f"{LIST}usage?days=1'--").status_code == 200


def test_usage_as_a_file(admin_client, process):
    now = timezone.now()
    some_usage(process, now)
    assert file_of(admin_client.get(f"{LIST}usage?days=1&format=csv")) == [
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
    everything = file_of(admin_client.get(f"{LIST}usage?days=90&format=csv"))
    assert [row["user_id"] for row in everything] == ["<b>bob</b>", "ada", "carl", "old"]


def test_a_page_of_usage_has_no_more_rows_than_can_be_read(admin_client, process, monkeypatch):
    monkeypatch.setattr(sessions, "SHOWN_ROWS", 2)
    for number in range(2):
        record(process, f"user{number}", started_at=timezone.now())
    assert "There are more" not in admin_client.get(f"{LIST}usage").content.decode()
    record(process, "user2", started_at=timezone.now())
    page = admin_client.get(f"{LIST}usage").content.decode()
    assert "There are more" in page
    assert "user1" in page
    assert "user2" not in page
    assert "<th>3</th>" in page, "the sums are of all of them"


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
