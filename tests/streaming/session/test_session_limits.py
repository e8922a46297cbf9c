"""What a session bounds: speech that waits, messages, unread frames and silence."""

from streaming.session.limits import SessionLimits
from streaming.session.rate_limit import ERROR_BURST, MESSAGE_BURST
from tests.streaming.fakes import (
    FakeGateway,
    numbered,
)


def test_at_most_so_much_speech_may_wait():
    gateway = FakeGateway(rules=SessionLimits(max_queued_speech_s=1))
    worker = gateway.start()
    gateway.client_speaks(numbered(0, 10_000))
    gateway.client_speaks(numbered(10_000, 6_001))
    assert gateway.last["data"]["code"] == "RATE_LIMIT_EXCEEDED"
    assert gateway.last["data"]["details"] == {"queued_ms": 625, "limit_ms": 1_000}
    gateway.client_speaks(numbered(10_000, 6_000))
    assert gateway.errors == ["RATE_LIMIT_EXCEEDED"]
    pieces = gateway.audio_to("w1")
    assert b"".join(p.pcm for p in pieces) == numbered(0, 16_000)
    worker.speak(0)
    gateway.client_speaks(numbered(16_000, 640))
    assert gateway.audio_to("w1")[-1].position == 16_000


def test_too_many_messages_are_ignored_and_said_so_once_a_second():
    gateway = FakeGateway()
    gateway.start()
    gateway.sent_to_client.clear()
    for _ in range(MESSAGE_BURST + 1_000):
        gateway.client_sends("PONG")
    gateway.wait(0)
    gateway.wait(1.5)
    reports = [m["data"]["details"]["ignored"] for m in gateway.of_type("ERROR")]
    assert sum(reports) == 1_001
    assert len(reports) <= 2
    gateway.client_sends("STATE_CHANGE", target_state="idle")
    assert gateway.last["type"] == "STATE_CHANGED"


def test_a_flood_of_nonsense_is_counted_and_what_makes_sense_still_answered():
    gateway = FakeGateway()
    gateway.start()
    gateway.sent_to_client.clear()
    for _ in range(1_000):
        gateway.do(gateway.session.text("{}", gateway.now_s))
    assert gateway.errors == ["INVALID_MESSAGE"] * ERROR_BURST
    gateway.wait(0)
    assert gateway.last["data"]["details"] == {"ignored": 1_000 - ERROR_BURST}
    gateway.client_sends("STATE_CHANGE", target_state="idle")
    assert gateway.last["type"] == "STATE_CHANGED"


def test_a_client_that_reads_nothing_costs_no_memory():
    gateway = FakeGateway()
    worker = gateway.start()
    worker.show(30)
    gateway.session.set_paused(True)
    gateway.sent_to_client.clear()
    for _ in range(3_000):
        gateway.client_sends("STATE_CHANGE", target_state="idle")
    worker.show(100)
    run = [m["data"]["frame_timestamp"] // 40 for m in gateway.of_type("VIDEO_FRAME")]
    assert run == list(range(30, 50))  # up to the next IDR
    assert len(gateway.sent_to_client) == 1_000 + len(run)
    gateway.sent_to_client.clear()
    gateway.session.set_paused(False)
    worker.show(30)
    numbers = [m["data"]["frame_timestamp"] // 40 for m in gateway.of_type("VIDEO_FRAME")]
    assert numbers == list(range(150, 160))
    assert gateway.of_type("VIDEO_FRAME")[0]["data"]["keyframe"]
    gateway.do(gateway.session.text("nonsense", gateway.now_s))
    assert gateway.last["type"] == "ERROR"


def test_a_silent_client_is_left_alone_unless_told_otherwise():
    gateway = FakeGateway()
    worker = gateway.start()
    for _ in range(10):
        worker.show(25 * 60)
    assert gateway.closed is None


def test_a_silent_client_may_be_sent_away():
    gateway = FakeGateway(rules=SessionLimits(idle_s=30))
    worker = gateway.start()
    worker.show(25 * 20)
    gateway.client_sends("PONG")
    worker.show(25 * 29)
    assert gateway.closed is None
    worker.show(25 * 2)
    assert (gateway.last["data"], gateway.closed) == ({"reason": "timeout"}, 4408)
