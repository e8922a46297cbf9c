"""The directory of workers that run apart."""

import asyncio
from types import SimpleNamespace

import pytest
from channels.layers import InMemoryChannelLayer

from inference.errors import MessageInvalid
from inference.messages import WORKERS_GROUP, WorkerAnnouncement
from streaming.gateway.workers import MAX_WORKERS, SILENCE_S, WorkerDirectory, WorkerListener
from streaming.web import health


def announced(worker="w1", **more):
    return WorkerAnnouncement(**{"worker": worker, "engine": "viseme", "is_ready": True, **more})


def test_a_worker_is_present_until_it_falls_silent_or_leaves():
    workers = WorkerDirectory()
    workers.hear(announced("w1"), 10.0)
    workers.hear(announced("w2"), 12.0)
    assert [w.worker for w in workers.present(12.0)] == ["w1", "w2"]
    assert [w.worker for w in workers.present(10.0 + SILENCE_S)] == ["w2"]
    workers.hear(announced("w2", is_leaving=True), 13.0)
    assert workers.present(10.0 + SILENCE_S) == []


def test_new_sessions_are_placed_by_load():
    workers = WorkerDirectory()
    assert workers.place(0.0) is None
    workers.hear(announced("busy", channel="b", sessions=12, speaking=12), 0.0)
    workers.hear(announced("fresh", channel="f"), 0.0)
    assert [workers.place(0.0) for _ in range(8)] == ["f"] * 8
    workers.hear(announced("busy", channel="b", sessions=2), 1.0)
    assert [workers.place(1.0) for _ in range(8)] == ["b"] * 6 + ["b", "f"]
    workers.hear(announced("fresh", channel="f", sessions=8), 1.0)
    workers.hear(announced("busy", channel="b", sessions=9), 1.0)
    assert [workers.place(1.0) for _ in range(4)] == ["f", "b", "f", "b"]


@pytest.mark.parametrize(
    "state",
    [{"is_full": True}, {"is_late": True}, {"is_ready": False}, {"channel": ""}],
)
def test_no_session_is_sent_to_a_worker_without_room(state):
    workers = WorkerDirectory()
    workers.hear(announced("w1", **{"channel": "c", **state}), 0.0)
    assert workers.place(0.0) is None
    workers.hear(announced("w2", channel="d"), 0.0)
    assert workers.place(0.0) == "d"
    assert workers.place(SILENCE_S) is None


def test_the_directory_is_bounded_and_forgets_the_silent():
    workers = WorkerDirectory()
    for number in range(MAX_WORKERS + 5):
        workers.hear(announced(f"w{number}"), 0.0)
    assert len(workers.present(0.0)) == MAX_WORKERS
    workers.hear(announced("new"), SILENCE_S)
    assert [w.worker for w in workers.present(SILENCE_S)] == ["new"]


@pytest.mark.parametrize("change", [{"worker": 7}, {"engine": None}, {"is_ready": "yes"}])
def test_what_is_no_announcement_is_refused(change):
    with pytest.raises(MessageInvalid):
        WorkerAnnouncement.from_layer({**announced().to_layer(), **change})


async def test_announcements_reach_the_directory_and_nonsense_does_not_stop_them():
    layer, workers = InMemoryChannelLayer(), WorkerDirectory()
    listener = WorkerListener(layer, workers)
    listener.start()
    async with asyncio.timeout(5):
        while WORKERS_GROUP not in layer.groups:  # noqa: ASYNC110 - the layer has no event for it
            await asyncio.sleep(0.01)
        await layer.group_send(WORKERS_GROUP, {"type": "worker.announced", "worker": 7})
        await layer.group_send(WORKERS_GROUP, announced(sessions=3).to_layer())
        heard = None
        while not heard:
            await asyncio.sleep(0.01)
            heard = workers.present(asyncio.get_running_loop().time())
    assert heard == [announced(sessions=3)]
    await listener.stop()
    assert not workers.is_listening


def test_health_sees_several_workers_as_one(monkeypatch):
    workers = WorkerDirectory()
    workers.is_listening = True
    monkeypatch.setattr(health, "directory", workers)
    monkeypatch.setattr(health, "_embedded", None)
    monkeypatch.setattr(health, "time", SimpleNamespace(monotonic=lambda: 0.0))
    assert health.readiness() == "No inference worker is known."
    workers.hear(announced("sick", is_ready=False, message="CUDA was lost."), 0.0)
    assert health.health().message == "CUDA was lost. Workers: 1, sessions: 0."
    workers.hear(announced("late", is_late=True, is_full=True, sessions=2), 0.0)
    assert health.readiness() == "Frames are late."
    workers.hear(announced("full", is_full=True, sessions=3), 0.0)
    assert health.readiness() is None
    assert health.readiness(wants_capacity=True) == "All places to speak are taken."
    workers.hear(announced("free"), 0.0)
    assert health.readiness(wants_capacity=True) is None
    assert health.health().message == "Avatars can speak. Workers: 4, sessions: 5."
