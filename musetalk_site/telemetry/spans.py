"""Spans by OpenTelemetry, sent to a collector (`TRACES_URL`).

The packages are optional (requirements-tracing.txt): they are imported where spans are wanted.
Sending happens in a thread of the SDK, in batches; while the collector cannot be reached spans are
lost, which is one line of the log when it begins and one when it ends.
"""

import importlib.util
import logging
import os
import platform
from collections.abc import Sequence
from typing import TYPE_CHECKING

from inference import tracing
from inference.tracing import Attribute, Span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.trace import Span as SdkSpan
    from opentelemetry.trace import Tracer as SdkTracer

log = logging.getLogger(__name__)

SEND_WITHIN_S = 5.0
FLUSH_WITHIN_S = 2.0
_PACKAGES = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")


def missing_packages() -> list[str]:
    """Those that spans need and that are not installed."""
    return [name for name in _PACKAGES if not _is_installed(name)]


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # not even the package around it
        return False


class _Span:
    """Implements `inference.tracing.Span`."""

    __slots__ = ("_span", "context")

    def __init__(self, span: "SdkSpan", context: str) -> None:
        self._span = span
        self.context = context

    def event(self, name: str) -> None:
        self._span.add_event(name)

    def end(self, **attributes: Attribute) -> None:
        if self._span.is_recording():
            self._span.set_attributes(attributes)
            self._span.end()


class OpenTelemetryTracer:
    """Implements `inference.tracing.Tracer`."""

    def __init__(self, tracer: "SdkTracer") -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._tracer = tracer
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, name: str, *, parent: str = "", **attributes: Attribute) -> Span:
        from opentelemetry.context import Context
        from opentelemetry.trace import set_span_in_context

        carried = {"traceparent": parent} if parent else {}
        context = self._propagator.extract(carried, Context())
        span = self._tracer.start_span(name, context, attributes=attributes)
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, set_span_in_context(span, Context()))
        return _Span(span, carrier.get("traceparent", ""))


class Spans:
    """The spans of this process, from `start` to `stop`."""

    def __init__(self, url: str, version: str) -> None:
        """Prepare to send to a collector; with an empty ``url`` nothing is ever done.

        Args:
            url: Where the collector takes OTLP over HTTP.
            version: Of this software.
        """
        self._url = url
        self._version = version
        self._provider: TracerProvider | None = None

    def start(self) -> None:
        """Make spans from now on."""
        if not self._url:
            return
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        # Its own lines would come with each batch, with tracebacks.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        exporter = OTLPSpanExporter(self._url, timeout=SEND_WITHIN_S)
        resource = Resource.create(
            {
                "service.name": "talking-avatar",
                "service.version": self._version,
                "service.instance.id": f"{platform.node()}:{os.getpid()}",
            }
        )
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_reporting(exporter, self._url)))
        tracing.use(OpenTelemetryTracer(self._provider.get_tracer("talking_avatar")))
        log.info("spans of utterances are sent to %s", self._url)

    def stop(self) -> None:
        """Send what is left, within `FLUSH_WITHIN_S`, and make no more."""
        if self._provider is not None:
            tracing.use(None)
            self._provider.force_flush(int(FLUSH_WITHIN_S * 1_000))
            self._provider = None


def _reporting(exporter: "SpanExporter", url: str) -> "SpanExporter":
    """``exporter``, whose outages are a line when they begin and one when they end."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Reporting(SpanExporter):
        is_out = False

        def export(self, spans: "Sequence[ReadableSpan]") -> "SpanExportResult":
            result = exporter.export(spans)
            is_out = result is not SpanExportResult.SUCCESS
            if is_out and not self.is_out:
                log.warning("spans cannot be sent to %s: they are lost until it answers", url)
            elif self.is_out and not is_out:
                log.warning("spans can be sent to %s again", url)
            self.is_out = is_out
            return result

        def shutdown(self) -> None:
            exporter.shutdown()

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return exporter.force_flush(timeout_millis)

    return Reporting()
