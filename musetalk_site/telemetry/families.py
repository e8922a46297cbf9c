"""Numbers with names and labels, as values that add up.

Each process makes such values of what it counts anyway. Those of several processes are merged here:
counters, gauges and the buckets of histograms add up where their labels are the same. So the sum is
right across processes without files that they share.

Pure.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

Labels = tuple[tuple[str, str], ...]
"""Name and value, in the order of the names."""


class Histogram(msgspec.Struct, frozen=True):
    """Counts of observations up to each edge, not cumulative, and beyond the last one."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    """One more than the edges."""
    total: float | None = None
    """The sum of all observations; None where it is not kept."""

    def __add__(self, other: "Histogram") -> "Histogram":
        if self.edges != other.edges:
            raise ValueError(f"cannot add histograms with edges {self.edges} and {other.edges}")
        totals = (self.total, other.total)
        return Histogram(
            self.edges,
            tuple(a + b for a, b in zip(self.counts, other.counts, strict=True)),
            None if None in totals else sum(t for t in totals if t is not None),
        )


class Sample(msgspec.Struct, frozen=True):
    """A number, or a histogram, and its labels."""

    labels: Labels
    value: float | Histogram


class Family(msgspec.Struct, frozen=True):
    """The samples of one name."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    samples: tuple[Sample, ...]


Snapshot = tuple[Family, ...]
"""The numbers of one process at one moment."""


def labels(**values: str) -> Labels:
    """Labels by name."""
    return tuple(sorted(values.items()))


def counter(name: str, help_: str, values: Mapping[Labels, float] | float) -> Family:
    """Return a number that only grows while a process lives."""
    return Family(name, "counter", help_, _samples(values))


def gauge(name: str, help_: str, values: Mapping[Labels, float] | float) -> Family:
    """Return a number that goes up and down."""
    return Family(name, "gauge", help_, _samples(values))


def histogram(name: str, help_: str, values: Mapping[Labels, Histogram] | Histogram) -> Family:
    """How often observations had which size."""
    if isinstance(values, Histogram):
        values = {(): values}
    samples = tuple(Sample(each, value) for each, value in values.items())
    return Family(name, "histogram", help_, samples)


def restarts(count: int) -> Family:
    """Make the number of processes that were started again."""
    return counter(
        "process_restarts_total", "Serving processes that ended and were replaced.", count
    )


def _samples(values: Mapping[Labels, float] | float) -> tuple[Sample, ...]:
    if isinstance(values, Mapping):
        return tuple(Sample(each, float(value)) for each, value in values.items())
    return (Sample((), float(values)),)


def merge(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Return the sums over all processes, in the order in which names first appear."""
    merged: dict[str, tuple[Family, dict[Labels, float | Histogram]]] = {}
    for family in (family for snapshot in snapshots for family in snapshot):
        _, sums = merged.setdefault(family.name, (family, {}))
        for sample in family.samples:
            before = sums.get(sample.labels)
            sums[sample.labels] = sample.value if before is None else _added(before, sample.value)
    return tuple(
        msgspec.structs.replace(
            family, samples=tuple(Sample(each, value) for each, value in sums.items())
        )
        for family, sums in merged.values()
    )


def _added(one: float | Histogram, other: float | Histogram) -> float | Histogram:
    if isinstance(one, Histogram) and isinstance(other, Histogram):
        return one + other
    if isinstance(one, Histogram) or isinstance(other, Histogram):
        raise ValueError("a histogram and a number cannot be added")
    return one + other
