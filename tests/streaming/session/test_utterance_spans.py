"""Spans of utterances, in the gateway's part."""

from collections.abc import Iterator

import pytest

from inference.messages import SpeechInterrupted
from streaming.session import utterance_spans
from tests.recorded_spans import RecordedSpans, recorded_spans
from tests.streaming.fakes import SESSION_ID, FakeGateway, numbered


@pytest.fixture
def spans() -> Iterator[RecordedSpans]:
    with recorded_spans() as recorded:
        yield recorded


def test_an_utterance_from_its_first_chunk_to_its_end(spans: RecordedSpans) -> None:
    gateway = FakeGateway()
    gateway.init(protocol_version="1.2")
    worker = gateway.worker_claims()
    gateway.client_speaks(numbered(0, 640), utterance_id="a")
    gateway.client_speaks(numbered(640, 640), utterance_id="a")
    gateway.client_sends("END_OF_SPEECH")
    contexts = {chunk.trace for chunk in gateway.audio_to("w1")}
    assert len(contexts) == 1, "all chunks belong to one"
    assert spans.names == []
    worker.speak(0)
    assert spans.names == ["utterance.first_frame"]
    worker.speak(640)
    whole, first = spans.of("utterance"), spans.of("utterance.first_frame")
    assert spans.path(first) == ["utterance.first_frame", "utterance"]
    assert contexts.pop().split("-")[2] == f"{first.context.span_id:016x}"
    assert dict(whole.attributes) == {
        "session": SESSION_ID,
        "utterance_id": "a",
        "played_ms": 80,
        "interrupted": False,
    }
    assert [event.name for event in whole.events] == ["first frame"]
    assert whole.start_time <= first.start_time <= first.end_time <= whole.end_time


def test_each_utterance_has_its_own_and_a_client_of_1_1_has_them_too(
    spans: RecordedSpans,
) -> None:
    gateway = FakeGateway()
    worker = gateway.start()
    for number in range(2):
        gateway.client_speaks(numbered(number * 640, 640))
        worker.speak(number * 640)
        worker.show(10)
    wholes = [span for span in spans.ended if span.name == "utterance"]
    assert [span.attributes["utterance_id"] for span in wholes] == ["#1", "#2"]
    assert len({span.context.trace_id for span in wholes}) == 2
    assert len({chunk.trace for chunk in gateway.audio_to("w1")}) == 2


def test_what_is_interrupted_ends_too(spans: RecordedSpans) -> None:
    gateway = FakeGateway()
    worker = gateway.start()
    gateway.client_speaks(numbered(0, 6_400), utterance_id="a")
    gateway.client_speaks(numbered(6_400, 6_400), utterance_id="b")
    worker.speak(0)
    gateway.client_sends("INTERRUPT")
    gateway.worker_sends(
        SpeechInterrupted(claim_id=worker.claim.claim_id, generation=1, position=640)
    )
    wholes = [span for span in spans.ended if span.name == "utterance"]
    ends = [(s.attributes["played_ms"], s.attributes["interrupted"]) for s in wholes]
    assert ends == [(40, True), (0, True)]
    assert spans.names.count("utterance.first_frame") == 2


def test_another_worker_is_sent_the_same_context(spans: RecordedSpans) -> None:
    gateway = FakeGateway()
    gateway.start()
    gateway.client_speaks(numbered(0, 6_400), utterance_id="a")
    gateway.wait(2.0)  # no frame comes: the worker is lost
    gateway.worker_claims("w2")
    [first], [second] = ({c.trace for c in gateway.audio_to(name)} for name in ("w1", "w2"))
    assert first == second != ""


def test_many_utterances_that_wait_cost_no_more_spans(
    spans: RecordedSpans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(utterance_spans, "MAX_OPEN", 2)
    gateway = FakeGateway()
    gateway.start()
    for number in range(4):
        gateway.client_speaks(numbered(number * 640, 640), utterance_id=f"u{number}")
    gateway.client_sends("CLOSE")
    assert spans.names.count("utterance") == 2


def test_without_anybody_who_wants_spans_none_are_made() -> None:
    gateway = FakeGateway()
    worker = gateway.start()
    gateway.client_speaks(numbered(0, 640))
    worker.speak(0)
    assert {chunk.trace for chunk in gateway.audio_to("w1")} == {""}
    assert gateway.session.speech._spans is None
