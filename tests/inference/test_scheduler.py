"""The scheduler: most urgent first, bounded, nobody forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from inference.scheduler import Scheduler


def test_most_urgent_first_and_at_most_a_batch() -> None:
    scheduler: Scheduler[str] = Scheduler(concurrency=1)
    for job, deadline_s in (("late", 3.0), ("soon", 1.0), ("next", 2.0)):
        scheduler.submit(job, deadline_s)
    assert scheduler.start_call(2) == ["soon", "next"]
    assert scheduler.start_call(2) == []
    scheduler.end_call()
    assert scheduler.start_call(2) == ["late"]


def test_a_withdrawn_job_is_never_started() -> None:
    scheduler: Scheduler[str] = Scheduler(concurrency=1)
    scheduler.submit("a", 1.0)
    scheduler.submit("b", 2.0)
    scheduler.withdraw("a")
    scheduler.withdraw("unknown")
    assert len(scheduler) == 1
    assert scheduler.start_call(2) == ["b"]
    assert len(scheduler) == 0


def test_a_call_of_withdrawn_jobs_alone_is_no_call() -> None:
    scheduler: Scheduler[str] = Scheduler(concurrency=1)
    scheduler.submit("a", 1.0)
    scheduler.withdraw("a")
    assert scheduler.start_call(2) == []
    scheduler.submit("b", 1.0)
    assert scheduler.start_call(2) == ["b"]


@given(
    deadlines=st.lists(st.floats(0, 100), max_size=60),
    max_batch=st.integers(1, 8),
    concurrency=st.integers(1, 3),
)
def test_everybody_is_served_once_in_order(
    deadlines: list[float], max_batch: int, concurrency: int
) -> None:
    scheduler: Scheduler[int] = Scheduler(concurrency=concurrency)
    for job, deadline_s in enumerate(deadlines):
        scheduler.submit(job, deadline_s)
    served: list[int] = []
    while len(scheduler):
        calls = 0
        while batch := scheduler.start_call(max_batch):
            assert len(batch) <= max_batch
            served += batch
            calls += 1
        assert 1 <= calls <= concurrency
        for _ in range(calls):
            scheduler.end_call()
    assert sorted(served) == list(range(len(deadlines)))
    assert [deadlines[job] for job in served] == sorted(deadlines)


def test_a_job_that_cannot_be_done_in_time_is_passed_over() -> None:
    scheduler: Scheduler[str] = Scheduler(concurrency=1)
    for job, deadline_s in (("lost", 1.0), ("next", 3.0), ("last", 4.0)):
        scheduler.submit(job, deadline_s)
    assert scheduler.start_call(8, end_s=2.0) == ["next", "last"]
    assert len(scheduler) == 1


def test_where_nothing_can_be_done_in_time_the_least_urgent_is_tried() -> None:
    scheduler: Scheduler[str] = Scheduler(concurrency=1)
    for job, deadline_s in (("a", 1.0), ("c", 3.0), ("b", 2.0)):
        scheduler.submit(job, deadline_s)
    assert scheduler.start_call(8, end_s=9.0) == ["c"]
    scheduler.end_call()
    assert scheduler.start_call(8) == ["a", "b"]


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
    scheduler: Scheduler[float] = Scheduler(concurrency=1)
    now_s, submitted, in_time, calls = 0.0, 0, 0, 0
    while calls < 40:
        while submitted * period_s <= now_s:
            scheduler.submit(submitted * period_s, submitted * period_s + lead_s)
            submitted += 1
        batch = scheduler.start_call(1, end_s=now_s + call_s)
        if not batch:
            now_s = submitted * period_s
            continue
        now_s += call_s
        calls += 1
        in_time += now_s <= batch[0] + lead_s + 1e-9
        scheduler.end_call()
    if period_s + call_s < lead_s:
        assert in_time == calls
    else:
        assert in_time > 0
