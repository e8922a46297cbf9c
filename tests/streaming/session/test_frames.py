import pytest

from streaming.session.effects import EffectQueue
from streaming.session.frames import FrameRelay
from streaming.session.gate import DecodableFilter
from streaming.session.metrics import SessionMetrics
from tests.streaming.fakes import SESSION_ID, frame


class Relay:
    """A relay, and what came out of it."""

    def __init__(self) -> None:
        self.gate, self.outbox, self.metrics = DecodableFilter(), EffectQueue(), SessionMetrics()
        self.frames = FrameRelay(
            session_id=SESSION_ID, gate=self.gate, outbox=self.outbox, metrics=self.metrics
        )

    def receive(self, number: int, now_s: float, *, is_idr: bool = False) -> None:
        self.frames.pass_on(frame("c", number, is_idr=is_idr), now_s)

    def passed(self) -> list[int]:
        return [effect.message.data.frame_timestamp // 40 for effect in self.outbox.take()]


@pytest.fixture
def relay() -> Relay:
    return Relay()


def test_frames_are_passed_on_and_counted(relay):
    relay.receive(0, 1.0, is_idr=True)
    relay.receive(1, 1.065)
    assert relay.passed() == [0, 1]
    assert (relay.metrics.frames_sent, relay.metrics.frames_held_back) == (2, 0)
    assert relay.metrics.video_bytes == 2 * len(frame("c", 0).access_unit)
    assert relay.metrics.lateness.percentile_ms(1) == 40


def test_what_is_held_back_is_counted(relay):
    relay.receive(0, 1.0, is_idr=True)
    relay.gate.is_paused = True
    relay.receive(1, 1.04)
    relay.gate.is_paused = False
    relay.receive(2, 1.08)
    assert relay.passed() == [0]
    assert (relay.metrics.frames_sent, relay.metrics.frames_held_back) == (1, 2)


def test_another_worker_begins_with_an_idr(relay):
    relay.receive(0, 1.0, is_idr=True)
    relay.frames.begin()
    relay.receive(1, 1.04)
    relay.receive(2, 1.08, is_idr=True)
    assert relay.passed() == [0, 2]


def test_another_worker_begins_with_the_frame_that_is_due_and_never_with_one_that_was_seen(relay):
    assert relay.frames.next_frame(1.0) == 0
    for number in range(5):
        relay.receive(number, 1.0 + number * 0.04, is_idr=True)
    assert relay.frames.next_frame(1.16) == 5
    assert relay.frames.next_frame(2.41) == 35
