"""Counters add up, and the histogram never promises too much."""

from hypothesis import given
from hypothesis import strategies as st

from inference.counters import Counters, Lateness


@given(st.lists(st.floats(0, 1.2), min_size=1), st.floats(0.01, 1))
def test_the_promised_share_really_lies_below(lateness_s: list[float], share: float) -> None:
    histogram = Lateness()
    for value in lateness_s:
        histogram.count(value)
    edge_s = histogram.below_ms(share) / 1_000
    assert sum(value <= edge_s + 1e-9 for value in lateness_s) >= share * len(lateness_s)


def test_nothing_counted_is_nothing_late() -> None:
    assert Lateness().below_ms(0.99) == 0


def test_counters_add_up() -> None:
    one, two = Counters(sent=2, skipped=1), Counters(sent=3, held=4)
    two.lateness.count(0.015)
    one.add(two)
    assert (one.sent, one.skipped, one.held, one.lateness.below_ms(1)) == (5, 1, 4, 20)
    assert "sent 5" in str(one)
    assert (two.sent, two.skipped) == (3, 0), "what was added stays as it is"
    one.lateness.count(0.5)
    assert two.lateness.below_ms(1) == 20
