"""`/metrics`: the numbers of all processes of this machine, as Prometheus reads them."""

import hmac
import itertools
from collections.abc import Iterable, Iterator

from django.conf import settings
from django.db import DatabaseError
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from avatars_app.models import Avatar
from avatars_app.permissions import is_local
from musetalk_site.telemetry import collection
from musetalk_site.telemetry.families import Family, Histogram, Snapshot, gauge, labels, merge

PREFIX = "talking_avatar_"


class _Collector:
    """Shows a snapshot to the client library."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        return map(_metric, self._snapshot)


def expose(snapshot: Snapshot) -> bytes:
    """Return the text of a scrape."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(snapshot))
    text: bytes = generate_latest(registry)
    return text


def _metric(family: Family) -> Metric:
    name = PREFIX + family.name
    label_names = [key for key, _ in family.samples[0].labels] if family.samples else []
    if family.kind == "histogram":
        shown = HistogramMetricFamily(name, family.help, labels=label_names)
        for sample in family.samples:
            assert isinstance(sample.value, Histogram), "its kind"
            shown.add_metric(
                [value for _, value in sample.labels], _buckets(sample.value), sample.value.total
            )
        return shown
    made = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = made(name, family.help, labels=label_names)
    for sample in family.samples:
        assert not isinstance(sample.value, Histogram), "its kind"
        metric.add_metric([value for _, value in sample.labels], sample.value)
    return metric


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    edges: Iterable[str] = (*(f"{edge:g}" for edge in histogram.edges), "+Inf")
    return list(zip(edges, map(float, itertools.accumulate(histogram.counts)), strict=True))


def _preparations() -> Snapshot:
    """Count what the database knows; nothing while it cannot be reached."""
    found = Avatar.objects.order_by().values_list("status").annotate(Count("pk"))
    try:
        counts = dict.fromkeys(Avatar.Status.values, 0) | dict(found)
    except DatabaseError:
        return ()
    values = {labels(status=status): float(count) for status, count in counts.items()}
    return (gauge("avatars", "Avatars by the status of their preparation.", values),)


@require_GET
def metrics(request: HttpRequest) -> HttpResponse:
    """Return the scrape; for clients with METRICS_TOKEN, or without one for this machine."""
    if not settings.METRICS:
        return HttpResponse("METRICS is false.\n", status=404, content_type="text/plain")
    if not _may_scrape(request):
        answer = HttpResponse(
            "Metrics are for this machine, or for clients that send METRICS_TOKEN (Bearer).\n",
            status=401,
            content_type="text/plain",
        )
        answer["WWW-Authenticate"] = "Bearer"
        return answer
    snapshot = merge(collection.all_processes())
    return HttpResponse(
        expose((*snapshot, *_preparations())), content_type=CONTENT_TYPE_PLAIN_0_0_4
    )


def _may_scrape(request: HttpRequest) -> bool:
    if not settings.METRICS_TOKEN:
        return is_local(request)
    given = request.headers.get("Authorization", "")
    return hmac.compare_digest(given.encode(), f"Bearer {settings.METRICS_TOKEN}".encode())
