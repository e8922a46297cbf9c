"""The batcher: most urgent first, nobody forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from inference.engines.batcher import Batcher


def test_most_urgent_first_and_at_most_a_batch() -> None:
    batcher: Batcher[str] = Batcher()
    for job, deadline_s in (("late", 3.0), ("soon", 1.0), ("next", 2.0)):
        batcher.submit(job, deadline_s)
    assert batcher.next_batch(2) == ["soon", "next"]
    assert batcher.next_batch(2) == ["late"]
    assert batcher.next_batch(2) == []


def test_a_withdrawn_job_is_never_started() -> None:
    batcher: Batcher[str] = Batcher()
    batcher.submit("a", 1.0)
    batcher.submit("b", 2.0)
    batcher.withdraw("a")
    batcher.withdraw("unknown")
    assert len(batcher) == 1
    assert batcher.next_batch(2) == ["b"]
    assert len(batcher) == 0


def test_a_call_of_withdrawn_jobs_alone_is_no_call() -> None:
    batcher: Batcher[str] = Batcher()
    batcher.submit("a", 1.0)
    batcher.withdraw("a")
    assert batcher.next_batch(2) == []
    batcher.submit("b", 1.0)
    assert batcher.next_batch(2) == ["b"]


@given(deadlines=st.lists(st.floats(0, 100), max_size=60), max_batch=st.integers(1, 8))
def test_everybody_is_served_once_in_order(deadlines: list[float], max_batch: int) -> None:
    batcher: Batcher[int] = Batcher()
    for job, deadline_s in enumerate(deadlines):
        batcher.submit(job, deadline_s)
    served: list[int] = []
    while batch := batcher.next_batch(max_batch):
        assert len(batch) <= max_batch
        served += batch
    assert sorted(served) == list(range(len(deadlines)))
    assert [deadlines[job] for job in served] == sorted(deadlines)


def test_a_job_that_cannot_be_done_in_time_is_passed_over() -> None:
    batcher: Batcher[str] = Batcher()
    for job, deadline_s in (("lost", 1.0), ("next", 3.0), ("last", 4.0)):
        batcher.submit(job, deadline_s)
    assert batcher.next_batch(8, end_s=2.0) == ["next", "last"]
    assert len(batcher) == 1


def test_where_nothing_can_be_done_in_time_the_least_urgent_is_tried() -> None:
    batcher: Batcher[str] = Batcher()
    for job, deadline_s in (("a", 1.0), ("c", 3.0), ("b", 2.0)):
        batcher.submit(job, deadline_s)
    assert batcher.next_batch(8, end_s=9.0) == ["c"]
    assert batcher.next_batch(8) == ["a", "b"]


@given(
    period_s=st.floats(0.04, 1.0),
    lead_s=st.floats(0.05, 2.0),
    share=st.floats(0.1, 0.95),
)
def test_an_engine_that_is_too_slow_still_makes_what_it_can(
    period_s: float, lead_s: float, share: float
) -> None:
    """Jobs come every ``period_s`` and are wanted ``lead_s`` later; a call takes a share of that.

    Most urgent first, all of them would be late.
    """
    call_s = lead_s * share
    batcher: Batcher[float] = Batcher()
    now_s, submitted, in_time, calls = 0.0, 0, 0, 0
    while calls < 40:
        while submitted * period_s <= now_s:
            batcher.submit(submitted * period_s, submitted * period_s + lead_s)
            submitted += 1
        batch = batcher.next_batch(1, end_s=now_s + call_s)
        if not batch:
            now_s = submitted * period_s
            continue
        now_s += call_s
        calls += 1
        in_time += now_s <= batch[0] + lead_s + 1e-9
    if period_s + call_s < lead_s:
        assert in_time == calls
    else:
        assert in_time > 0
