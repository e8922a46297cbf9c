"""An utterance more than the engine can carry: refused, and everything else continues."""

from streaming.session.session import Session
from tests.streaming.fakes import USER, Door, numbered


def open_door(places: "list[bool | None]") -> Door:
    """A session that is answered this when it asks for a place, the last one again and again."""
    door = Door()
    door.session = Session(
        user_id=USER,
        reply_channel="door",
        now_s=door.now_s,
        reserve_place=lambda worker: places.pop(0) if len(places) > 1 else places[0],
    )
    return door


def test_an_utterance_without_a_place_is_refused():
    door = open_door([False])
    worker = door.start()
    door.speak(numbered(0, 640), utterance_id="a")
    error = door.last["data"]
    assert error["code"] == "RATE_LIMIT_EXCEEDED"
    assert error["details"]["reason"] == "speech_capacity"
    assert error["details"]["retry_after_ms"] == 1_000
    assert door.audio_to("w1") == []
    assert door.closed is None
    worker.show(3)
    assert len(door.of_type("VIDEO_FRAME")) == 3


def test_the_chunk_that_is_sent_again_begins_the_utterance():
    door = open_door([False, True])
    door.start()
    door.speak(numbered(0, 640), utterance_id="a")
    door.speak(numbered(0, 640), utterance_id="a")
    assert door.errors == ["RATE_LIMIT_EXCEEDED"]
    assert [m.position for m in door.audio_to("w1")] == [0]


def test_an_utterance_that_has_begun_is_not_asked_about_again():
    door = open_door([True, False])
    door.start()
    for position in (0, 640, 1_280):
        door.speak(numbered(position, 640), utterance_id="a")
    assert door.errors == []
    door.speak(numbered(1_920, 640), utterance_id="b")
    assert door.errors == ["RATE_LIMIT_EXCEEDED"]


def test_a_worker_elsewhere_says_it_with_its_frames():
    door = open_door([None])
    worker = door.start()
    worker.show(1, may_speak=False)
    door.speak(numbered(0, 640))
    assert door.errors == ["RATE_LIMIT_EXCEEDED"]
    worker.show(1, may_speak=True)
    door.speak(numbered(0, 640))
    assert [m.position for m in door.audio_to("w1")] == [0]


def test_without_a_worker_speech_waits_for_one():
    door = open_door([False])
    door.start().show(1)
    door.wait(1.5)  # no frame comes: the worker is lost
    door.speak(numbered(0, 640))
    assert door.errors == []
    door.take("w2")
    assert [m.position for m in door.audio_to("w2")] == [0]
