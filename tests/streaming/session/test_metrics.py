import pytest

from inference.messages import SpeechInterrupt, SpeechInterrupted
from streaming.session.metrics import SessionMetrics
from tests.streaming.fakes import FakeGateway, numbered


def test_all_that_is_counted_adds_up():
    one, two = (
        SessionMetrics(messages=2, samples=640, workers=1),
        SessionMetrics(messages=3, frames_sent=4),
    )
    one.errors["INVALID_MESSAGE"] += 1
    two.errors["INVALID_MESSAGE"] += 2
    two.errors["INVALID_SESSION"] += 1
    two.lateness.count(0.015)
    one.add(two)
    assert (one.messages, one.samples, one.workers, one.frames_sent) == (5, 640, 1, 4)
    assert one.errors == {"INVALID_MESSAGE": 3, "INVALID_SESSION": 1}
    assert one.lateness.percentile_ms(1) == 20
    assert two.errors == {"INVALID_MESSAGE": 2, "INVALID_SESSION": 1}


def test_the_time_from_speech_to_its_first_frame():
    gateway = FakeGateway()
    worker = gateway.start()
    found = gateway.session.metrics.audio_to_frame
    gateway.client_speaks(numbered(0, 1_280))
    gateway.wait(0.1)
    worker.show()  # without speech
    worker.speak(0)
    assert (sum(found.counts), found.total_s) == (1, pytest.approx(0.14))
    gateway.client_sends("END_OF_SPEECH")
    gateway.client_speaks(numbered(1_280, 640))  # waits for the one before
    worker.speak(640)
    worker.speak(1_280)
    assert sum(found.counts) == 1


def test_the_time_of_an_interrupt():
    gateway = FakeGateway()
    worker = gateway.start()
    found = gateway.session.metrics.interrupts
    gateway.client_speaks(numbered(0, 6_400))
    worker.speak(0)
    gateway.client_sends("INTERRUPT")
    gateway.wait(0.05)
    [asked] = [m for m in gateway.sent_to_worker("w1") if isinstance(m, SpeechInterrupt)]
    assert sum(found.counts) == 0
    gateway.worker_sends(
        SpeechInterrupted(claim_id=worker.claim.claim_id, generation=asked.generation, position=640)
    )
    assert (sum(found.counts), found.total_s) == (1, pytest.approx(0.05))
    gateway.client_sends("INTERRUPT")
    gateway.wait(1.5)  # no worker answers
    assert sum(found.counts) == 2
    assert found.total_s > 0.9


def test_another_thread_may_add_them_up_while_they_change():
    """The loop's thread counts the first error of a kind while a scrape goes through the others."""

    class Found(str):
        def __hash__(self):
            if is_read:
                counted.errors[f"another {len(counted.errors)}"] = 1
            return super().__hash__()

    is_read = False
    total, counted = SessionMetrics(), SessionMetrics()
    counted.errors.update([Found("one"), Found("two")])
    is_read = True
    total.add(counted)
    is_read = False
    assert (total.errors["one"], total.errors["two"]) == (1, 1)
