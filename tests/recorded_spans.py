"""Spans of OpenTelemetry's SDK, kept in memory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from inference import tracing
from musetalk_site.telemetry.spans import OpenTelemetryTracer


class RecordedSpans:
    """What was ended, in that order."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = OpenTelemetryTracer(provider.get_tracer("tests"))

    @property
    def ended(self) -> Sequence[ReadableSpan]:
        return self._exporter.get_finished_spans()

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.ended]

    def of(self, name: str) -> ReadableSpan:
        """The one of this name."""
        [found] = [span for span in self.ended if span.name == name]
        return found

    def path(self, span: ReadableSpan) -> list[str]:
        """The names of a span and of those that it is a part of; all are of one trace."""
        by_id = {each.context.span_id: each for each in self.ended}
        names, trace_id = [span.name], span.context.trace_id
        while span.parent is not None:
            span = by_id[span.parent.span_id]
            assert span.context.trace_id == trace_id
            names.append(span.name)
        return names


@contextmanager
def recorded_spans() -> Iterator[RecordedSpans]:
    """Make spans in this process, until it is left."""
    recorded = RecordedSpans()
    tracing.use(recorded.tracer)
    try:
        yield recorded
    finally:
        tracing.use(None)
