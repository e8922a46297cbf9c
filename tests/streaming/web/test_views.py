from typing import Any

import pytest
from django.test import Client

from musetalk_site.version import VERSION
from streaming.gateway import registry as live
from streaming.gateway.registry import Registry
from streaming.history import writer as history
from streaming.history.writer import HistoryWriter
from streaming.web import health
from streaming.web.health import WorkerHealth
from tests.streaming.fakes import SESSION_ID, numbered
from tests.streaming.gateway.test_registry import FakeConnection


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    fresh = Registry()
    for module in (health, live):
        monkeypatch.setattr(module, "registry", fresh)
    monkeypatch.setattr(health, "_embedded", None)
    return fresh


def get(path: str) -> dict[str, Any]:
    answer = Client().get(path)
    assert answer.status_code == 200
    return answer.json()


def test_health_before_a_worker_is_known():
    assert get("/health") == {
        "status": "loading",
        "message": "No inference worker is known yet.",
        "services": {"streaming": True, "inference": False, "database": True},
        "models_loaded": False,
        "engine": None,
        "version": VERSION,
        "workers": [],
    }


def test_health_of_the_worker_in_this_process():
    health.use(lambda: WorkerHealth("viseme", is_ready=True))
    said = get("/health")
    assert (said["status"], said["engine"], said["models_loaded"]) == ("ready", "viseme", True)
    health.use(lambda: WorkerHealth("musetalk", is_ready=True, message="Preparing idle_0."))
    assert get("/health")["message"] == "Avatars can speak. Preparing idle_0."
    health.use(lambda: WorkerHealth("musetalk", is_ready=True, is_full=True))
    assert get("/health")["message"] == "No more avatars can speak at once."
    health.use(lambda: WorkerHealth("musetalk", is_ready=False, message="CUDA was lost."))
    said = get("/health")
    assert (said["status"], said["message"]) == ("degraded", "CUDA was lost.")
    health.use(lambda: None)
    assert get("/health")["status"] == "loading"


def test_health_lists_what_workers_do():
    health.use(lambda: WorkerHealth("viseme", is_ready=True, sessions=3, speaking=1))
    assert get("/health")["workers"] == [
        {
            "engine": "viseme",
            "is_ready": True,
            "message": "",
            "is_late": False,
            "is_full": False,
            "sessions": 3,
            "speaking": 1,
        }
    ]


@pytest.mark.parametrize(("is_late", "hindrance"), [(True, "Frames are late."), (False, None)])
def test_readiness_follows_the_worker_s_lateness(is_late, hindrance):
    health.use(lambda: WorkerHealth("viseme", is_ready=True, is_full=True, is_late=is_late))
    assert health.readiness() == hindrance
    assert health.readiness(wants_capacity=True) is not None


def test_health_of_workers_apart_is_what_sessions_saw(registry):
    connection = FakeConnection()
    registry.enter(connection)
    connection.gateway.start().show()
    assert get("/health")["status"] == "ready"
    connection.gateway.wait(4)
    said = get("/health")
    assert (said["status"], said["message"]) == ("degraded", "Sessions that wait for a worker: 1.")


def test_health_reports_an_unreachable_database(monkeypatch):
    health.use(lambda: WorkerHealth("viseme", is_ready=True))
    monkeypatch.setattr(history.writer, "has_database", False)
    said = get("/health")
    assert said["status"] == "degraded"
    assert said["services"] == {"streaming": True, "inference": True, "database": False}


async def test_health_while_the_server_shuts_down(registry):
    await registry.close_all()
    said = health.health()
    assert (said.status, said.services["streaming"]) == ("degraded", False)


@pytest.fixture
def writer(registry, monkeypatch):
    """Writes when it is asked to, in the test's own thread."""
    writer = registry.observer = HistoryWriter(registry)
    monkeypatch.setattr(writer, "start", lambda: None)
    monkeypatch.setattr(writer, "refresh", lambda: writer.sweep(writes_all=True))
    monkeypatch.setattr(history, "writer", writer)
    return writer


@pytest.mark.django_db
def test_sessions_of_an_idle_server(writer):
    assert get("/sessions") == {
        "active_sessions": {},
        "stats": {
            "avatar": {"streaming": 0, "waiting": 0, "workers_lost": 0},
            "audio": {"total_ms": 0},
            "video": {"frames_sent": 0, "frames_dropped": 0, "total_bytes": 0},
            "connections": {"open": 0, "total": 0},
            "errors": {},
        },
    }


@pytest.mark.django_db
def test_sessions_are_listed_from_init_to_their_end(registry, writer):
    connection = FakeConnection()
    registry.enter(connection)
    assert get("/sessions")["active_sessions"] == {}
    connection.gateway.init()
    assert get("/sessions")["active_sessions"][SESSION_ID]["status"] == "waiting"
    worker = connection.gateway.worker_claims()
    connection.gateway.client_speaks(numbered(0, 1_600))
    worker.speak(0)
    said = get("/sessions")
    session = said["active_sessions"][SESSION_ID]
    assert session.pop("created_at") == session.pop("updated_at")
    assert session == {
        "user_id": "ada",
        "status": "streaming",
        "frames_generated": 1,
        "frames_dropped": 0,
        "total_audio_ms": 100,
        "queued_audio_ms": 60,
        "worker": "w1",
    }
    assert said["stats"]["connections"] == {"open": 1, "total": 1}
    assert said["stats"]["video"] == {"frames_sent": 1, "frames_dropped": 0, "total_bytes": 4}
    connection.gateway.client_sends("CLOSE")
    registry.leave(connection)
    said = get("/sessions")
    assert said["active_sessions"] == {}
    assert said["stats"]["audio"] == {"total_ms": 100}


@pytest.mark.django_db
def test_sessions_of_other_processes_are_listed_while_those_live(registry, writer):
    others = Registry()
    elsewhere = others.watcher = HistoryWriter(others)
    elsewhere.start = lambda: None
    connection = FakeConnection("bob")
    others.enter(connection)
    connection.gateway.client_sends("INIT", user_id="bob")
    connection.gateway.worker_claims().show(2)
    connection.gateway.client_sends("NONSENSE")
    elsewhere.sweep(writes_all=True)
    said = get("/sessions")
    assert said["active_sessions"][SESSION_ID]["user_id"] == "bob"
    assert said["stats"]["connections"] == {"open": 1, "total": 1}
    assert said["stats"]["errors"] == {"INVALID_MESSAGE": 1}
    elsewhere.stop()
    elsewhere.sweep(writes_all=True)
    said = get("/sessions")
    assert said["active_sessions"] == {}
    assert said["stats"]["connections"] == {"open": 0, "total": 0}


@pytest.mark.django_db
def test_of_a_session_that_moved_from_a_dead_process_the_live_record_is_listed(registry, writer):
    others = Registry()
    elsewhere = others.watcher = HistoryWriter(others)
    elsewhere.start = lambda: None
    dead = FakeConnection()
    others.enter(dead)
    dead.gateway.start().show(2)
    elsewhere.sweep(writes_all=True)
    live = FakeConnection()
    registry.enter(live)
    live.gateway.start().show(7)
    assert get("/sessions")["active_sessions"][SESSION_ID]["frames_generated"] == 7
    elsewhere.stop()


@pytest.mark.django_db
def test_session_ids_are_for_this_machine_and_staff(registry, writer, django_user_model):
    connection = FakeConnection()
    registry.enter(connection)
    connection.gateway.start().show()

    def listed(client: Client, **headers: Any) -> tuple[int, int]:
        said = client.get("/sessions", **headers).json()
        return len(said["active_sessions"]), said["stats"]["connections"]["open"]

    known = listed(Client())[0]
    assert known == 1
    assert listed(Client(), REMOTE_ADDR="192.168.0.7")[0] == 0
    assert listed(Client(), HTTP_ORIGIN="https://evil.example")[0] == 0
    staff = Client()
    staff.force_login(django_user_model.objects.create_user("staff", is_staff=True))
    assert listed(staff, REMOTE_ADDR="192.168.0.7")[0] == known
