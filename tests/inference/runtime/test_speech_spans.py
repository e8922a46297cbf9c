"""A worker's part of the spans, and its engine's."""

from collections.abc import Iterator

import numpy as np
import pytest

from inference import tracing
from inference.messages import LayerMessage, SessionStop, SpeechInterrupt
from inference.runtime.speech_spans import SpeechSpans
from tests.inference.conftest import FakeGateway, Harness
from tests.recorded_spans import RecordedSpans, recorded_spans

SPEECH = np.full(640 * 10, 9_000, "<i2").tobytes()


@pytest.fixture
def spans() -> Iterator[RecordedSpans]:
    with recorded_spans() as recorded:
        yield recorded
    assert tracing.begun == {}


@pytest.fixture
def looking(harness: Harness, spans: RecordedSpans) -> Harness:
    """The harness, its messages looked at as a worker does."""
    looking = SpeechSpans(spans.tracer, "a worker")
    harness.host.submit = looking.receiving(harness.host.submit)  # type: ignore[assignment]
    harness.host._hand_over = looking.handing_over(harness.host._hand_over)
    return harness


def begin(spans: RecordedSpans) -> str:
    return spans.tracer.begin("gateway's").context


async def spoken(harness: Harness, gateway: FakeGateway, trace: str, position: int = 0) -> None:
    gateway.send_audio(SPEECH, position, trace=trace)
    await harness.clock.advance(1.0)


async def test_from_the_first_chunk_to_the_first_frame_with_the_engine_s_part(
    looking: Harness, spans: RecordedSpans
) -> None:
    gateway = looking.gateway()
    await gateway.open()
    parent = begin(spans)
    await spoken(looking, gateway, parent)
    assert spans.names == ["engine.mouth", "worker.first_frame"]
    engine, worker = spans.ended
    assert engine.parent.span_id == worker.context.span_id
    assert f"{worker.parent.span_id:016x}" == parent.split("-")[2]
    assert worker.attributes == {"worker": "a worker", "outcome": "shown"}
    assert (engine.attributes["clip"], engine.attributes["outcome"]) == ("speaking_0", "made")


async def test_a_second_utterance_has_a_part_of_its_own(
    looking: Harness, spans: RecordedSpans
) -> None:
    gateway = looking.gateway()
    await gateway.open()
    first, second = begin(spans), begin(spans)
    await spoken(looking, gateway, first)
    await looking.clock.advance(1.0)
    await spoken(looking, gateway, second, position=6_400)
    parents = [f"{s.parent.span_id:016x}" for s in spans.ended if s.name == "worker.first_frame"]
    assert parents == [first.split("-")[2], second.split("-")[2]]
    assert spans.names.count("engine.mouth") == 2


async def test_an_engine_that_fails_is_seen(looking: Harness, spans: RecordedSpans) -> None:
    gateway = looking.gateway()
    await gateway.open()
    looking.engine.fails = True
    await spoken(looking, gateway, begin(spans))
    assert spans.of("engine.mouth").attributes["outcome"] == "engine_failed"


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        (SpeechInterrupt(claim_id="a", generation=1), "interrupted"),
        (SessionStop(claim_id="a"), "session over"),
    ],
)
async def test_speech_that_is_never_shown(
    looking: Harness, spans: RecordedSpans, message: LayerMessage, outcome: str
) -> None:
    gateway = looking.gateway()
    await gateway.open()
    gateway.send_audio(SPEECH, 0, trace=begin(spans))
    looking.host.submit(message)
    assert spans.of("worker.first_frame").attributes["outcome"] == outcome


async def test_speech_without_a_context_has_no_spans(
    looking: Harness, spans: RecordedSpans
) -> None:
    gateway = looking.gateway()
    await gateway.open()
    await spoken(looking, gateway, "")
    assert spans.names == []
