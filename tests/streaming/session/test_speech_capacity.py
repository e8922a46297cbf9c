"""An utterance more than the engine can carry: refused, and everything else continues."""

from streaming.session.session import Session
from tests.streaming.fakes import USER, FakeGateway, numbered


def open_gateway(places: "list[bool | None]") -> FakeGateway:
    """A session that is answered this when it asks for a place, the last one repeatedly."""
    gateway = FakeGateway()
    gateway.session = Session(
        user_id=USER,
        reply_channel="gateway",
        now_s=gateway.now_s,
        reserve_place=lambda worker: places.pop(0) if len(places) > 1 else places[0],
    )
    return gateway


def test_an_utterance_without_a_place_is_refused():
    gateway = open_gateway([False])
    worker = gateway.start()
    gateway.client_speaks(numbered(0, 640), utterance_id="a")
    error = gateway.last["data"]
    assert error["code"] == "RATE_LIMIT_EXCEEDED"
    assert error["details"]["reason"] == "speech_capacity"
    assert error["details"]["retry_after_ms"] == 1_000
    assert gateway.audio_to("w1") == []
    assert gateway.closed is None
    worker.show(3)
    assert len(gateway.of_type("VIDEO_FRAME")) == 3


def test_the_chunk_that_is_sent_again_begins_the_utterance():
    gateway = open_gateway([False, True])
    gateway.start()
    gateway.client_speaks(numbered(0, 640), utterance_id="a")
    gateway.client_speaks(numbered(0, 640), utterance_id="a")
    assert gateway.errors == ["RATE_LIMIT_EXCEEDED"]
    assert [m.position for m in gateway.audio_to("w1")] == [0]


def test_an_utterance_that_has_begun_is_not_asked_about_again():
    gateway = open_gateway([True, False])
    gateway.start()
    for position in (0, 640, 1_280):
        gateway.client_speaks(numbered(position, 640), utterance_id="a")
    assert gateway.errors == []
    gateway.client_speaks(numbered(1_920, 640), utterance_id="b")
    gateway.client_sends("END_OF_SPEECH", utterance_id="b")  # it was under way by then
    assert gateway.errors == ["RATE_LIMIT_EXCEEDED"]
    gateway.client_speaks(numbered(1_920, 640), utterance_id="a")
    assert [m.position for m in gateway.audio_to("w1")] == [0, 640, 1_280, 1_920]


def test_a_worker_elsewhere_says_it_with_its_frames():
    gateway = open_gateway([None])
    worker = gateway.start()
    worker.show(1, may_speak=False)
    gateway.client_speaks(numbered(0, 640))
    assert gateway.errors == ["RATE_LIMIT_EXCEEDED"]
    worker.show(1, may_speak=True)
    gateway.client_speaks(numbered(0, 640))
    assert [m.position for m in gateway.audio_to("w1")] == [0]


def test_without_a_worker_speech_waits_for_one():
    gateway = open_gateway([False])
    gateway.start().show(1)
    gateway.wait(1.5)  # no frame comes: the worker is lost
    gateway.client_speaks(numbered(0, 640))
    assert gateway.errors == []
    gateway.worker_claims("w2")
    assert [m.position for m in gateway.audio_to("w2")] == [0]
