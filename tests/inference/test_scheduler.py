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
