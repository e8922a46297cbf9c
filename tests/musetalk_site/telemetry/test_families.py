import pytest
from hypothesis import given
from hypothesis import strategies as st

from musetalk_site.telemetry.families import (
    Family,
    Histogram,
    Sample,
    counter,
    gauge,
    histogram,
    labels,
    merge,
)

ANN, BOB = labels(user="ann"), labels(user="bob")


def test_equal_labels_add_up_and_others_stand_beside_each_other():
    one = (counter("c", "", {ANN: 1}), gauge("g", "", 2))
    two = (counter("c", "", {ANN: 10, BOB: 5}), gauge("g", "", 3))
    merged = {family.name: family.samples for family in merge([one, two])}
    assert merged == {"c": (Sample(ANN, 11), Sample(BOB, 5)), "g": (Sample((), 5),)}


def test_histograms_add_up_by_bucket():
    one = histogram("h", "", Histogram((1.0,), (1, 2), 7.0))
    two = histogram("h", "", Histogram((1.0,), (3, 4), 1.0))
    (family,) = merge([(one,), (two,)])
    assert family.samples == (Sample((), Histogram((1.0,), (4, 6), 8.0)),)


def test_histograms_of_other_edges_are_not_mixed():
    with pytest.raises(ValueError, match="edges"):
        merge(
            [
                (histogram("h", "", Histogram((1.0,), (1, 2))),),
                (histogram("h", "", Histogram((2.0,), (1, 2))),),
            ]
        )


@given(st.lists(st.lists(st.integers(0, 100), min_size=3, max_size=3), min_size=1, max_size=5))
def test_merging_in_any_grouping_is_the_same(processes):
    snapshots = [
        (counter("c", "", {ANN: a, BOB: b}), histogram("h", "", Histogram((1.0,), (c, c))))
        for a, b, c in processes
    ]
    at_once = merge(snapshots)
    one_by_one: tuple[Family, ...] = snapshots[0]
    for snapshot in snapshots[1:]:
        one_by_one = merge([one_by_one, snapshot])
    assert merge([one_by_one]) == at_once
