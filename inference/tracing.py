"""Spans: what took how long on the way of an utterance, for OpenTelemetry.

A process that is asked for spans says so once (`use`); everywhere else nothing is done. Spans of
several processes belong together by their *context*, a W3C traceparent, which travels in the
messages between them. A part that others must find by the claim of a session is noted in `begun`.

No import of OpenTelemetry: `musetalk_site.telemetry.spans` has that.
"""

from typing import Protocol

Attribute = str | int | bool


class Span(Protocol):
    """Something that takes time, from `Tracer.begin` to `end`."""

    context: str
    """What its parts are begun with."""

    def event(self, name: str) -> None:
        """Something happened now."""

    def end(self, **attributes: Attribute) -> None:
        """It is over."""


class Tracer(Protocol):
    """Makes spans."""

    def begin(self, name: str, *, parent: str = "", **attributes: Attribute) -> Span:
        """Begin a span now.

        Args:
            name: What takes time.
            parent: The context of what it is a part of; empty: of nothing.
            **attributes: What is known of it.
        """


_tracer: Tracer | None = None

begun: dict[str, str] = {}
"""By claim id: the context of the worker's part of an utterance that is not shown yet."""


def use(tracer: Tracer | None) -> None:
    """Make spans with ``tracer`` from now on; None: make none."""
    global _tracer
    _tracer = tracer


def tracer() -> Tracer | None:
    """What makes spans; None: no spans are made."""
    return _tracer
