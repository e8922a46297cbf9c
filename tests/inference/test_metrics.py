"""FrameMetrics add up, and the histogram never promises too much."""

from hypothesis import given
from hypothesis import strategies as st

from inference.metrics import CallMetrics, DurationHistogram, FrameMetrics


@given(st.lists(st.floats(0, 1.2), min_size=1), st.floats(0.01, 1))
def test_the_promised_share_really_is_below(lateness_s: list[float], share: float) -> None:
    histogram = DurationHistogram()
    for value in lateness_s:
        histogram.count(value)
    edge_s = histogram.percentile_ms(share) / 1_000
    assert sum(value <= edge_s + 1e-9 for value in lateness_s) >= share * len(lateness_s)


def test_nothing_counted_is_nothing_late() -> None:
    assert DurationHistogram().percentile_ms(0.99) == 0


def test_counters_add_up() -> None:
    one, two = FrameMetrics(sent=2, skipped=1), FrameMetrics(sent=3, held=4)
    two.lateness.count(0.015)
    one.add(two)
    assert (one.sent, one.skipped, one.held, one.lateness.percentile_ms(1)) == (5, 1, 4, 20)
    assert "sent 5" in str(one)
    assert (two.sent, two.skipped) == (3, 0), "what was added stays as it is"
    one.lateness.count(0.5)
    assert two.lateness.percentile_ms(1) == 20


def test_what_came_after_a_moment() -> None:
    calls = CallMetrics()
    calls.sizes.count(3)
    calls.durations.count(0.015)
    earlier = calls.copy()
    calls.sizes.count(40)
    calls.durations.count(0.5)
    later = calls.since(earlier)
    assert (sum(later.sizes.counts), later.sizes.counts[-1], later.sizes.total) == (1, 1, 40)
    assert later.durations.total_s == 0.5
    earlier.add(later)
    assert earlier == calls
