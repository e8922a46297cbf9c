"""Which sessions are forgotten, and when."""

import threading
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import connection
from django.utils import timezone

from streaming.gateway.registry import Registry
from streaming.history import retention
from streaming.history import writer as history
from streaming.history.retention import purge_expired
from streaming.history.writer import HistoryWriter
from streaming.models import GatewayProcess, SessionRecord


def gateway(*, heard_days_ago: float = 0, is_stopped: bool = False) -> GatewayProcess:
    when = timezone.now() - timedelta(days=heard_days_ago)
    return GatewayProcess.objects.create(
        name="gateway:1", started_at=when, heartbeat_at=when, is_stopped=is_stopped
    )


def session(
    process: GatewayProcess, *, ended_days_ago: float | None, lasted_days: float = 0
) -> None:
    now = timezone.now()
    ended_at = None if ended_days_ago is None else now - timedelta(days=ended_days_ago)
    SessionRecord.objects.create(
        session_id=f"ended {ended_days_ago}",
        user_id="ada",
        avatar="presenter",
        process=process,
        started_at=(ended_at or now) - timedelta(days=lasted_days),
        recorded_at=ended_at or now,
        last_message_at=ended_at or now,
        ended_at=ended_at,
    )


def kept() -> list[str]:
    return sorted(SessionRecord.objects.values_list("session_id", flat=True))


@pytest.mark.django_db
def test_what_ended_longer_ago_is_forgotten(settings):
    settings.HISTORY_DAYS = 30
    process = gateway()
    session(process, ended_days_ago=30.1)
    session(process, ended_days_ago=29.9)
    session(process, ended_days_ago=1, lasted_days=60)
    session(process, ended_days_ago=None, lasted_days=60)
    assert purge_expired() == 1
    assert kept() == ["ended 1", "ended 29.9", "ended None"]
    assert purge_expired() == 0


@pytest.mark.django_db
def test_zero_days_are_for_ever(settings):
    settings.HISTORY_DAYS = 0
    session(gateway(is_stopped=True, heard_days_ago=9_000), ended_days_ago=9_000)
    assert purge_expired() == 0
    assert kept() == ["ended 9000"]


@pytest.mark.django_db
def test_a_process_goes_after_its_last_session(settings):
    settings.HISTORY_DAYS = 30
    living, recent = gateway(), gateway(is_stopped=True, heard_days_ago=2)
    asleep, old = gateway(heard_days_ago=40), gateway(is_stopped=True, heard_days_ago=40)
    session(old, ended_days_ago=40)
    assert purge_expired() == 1
    assert GatewayProcess.objects.count() == 4
    assert purge_expired() == 0
    assert set(GatewayProcess.objects.all()) == {living, recent, asleep}


@pytest.mark.django_db
def test_many_go_in_small_steps(settings, monkeypatch, django_assert_num_queries):
    settings.HISTORY_DAYS = 30
    monkeypatch.setattr(retention, "ROWS_AT_ONCE", 2)
    process = gateway()
    for days in (50, 40, 45):
        session(process, ended_days_ago=days)
    assert purge_expired() == 2
    assert kept() == ["ended 40"]  # the oldest first
    assert purge_expired() == 1
    with django_assert_num_queries(2):
        assert purge_expired() == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="memory is not shared between threads")
def test_the_writer_forgets_by_itself(settings):
    session(gateway(), ended_days_ago=91)
    writer = HistoryWriter(Registry())
    writer.start()
    writer.refresh()
    writer.refresh()
    writer.stop()
    assert kept() == []


def test_the_writer_forgets_at_its_start_and_then_every_day(monkeypatch):
    left = iter([1_000, 7, 0])
    looks: list[float] = []
    now_s, all_forgotten = [100.0], threading.Event()

    def forget() -> int:
        looks.append(now_s[0])
        count = next(left, 0)
        if not count:
            all_forgotten.set()
        return count

    writer = HistoryWriter(Registry())
    monkeypatch.setattr(history, "purge_expired", forget)
    monkeypatch.setattr(writer, "sweep", lambda *, writes_all: None)
    monkeypatch.setattr(history, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    writer.start()
    for _ in range(5):
        writer.refresh()
    assert all_forgotten.wait(2)
    assert looks == [100.0] * 3  # until nothing was left

    all_forgotten.clear()
    now_s[0] += history.PURGE_EVERY_S - 1
    writer.refresh()
    assert len(looks) == 3
    now_s[0] += 1
    writer.refresh()
    assert all_forgotten.wait(2)
    writer.stop()
    assert len(looks) == 4
