"""Cutting a number of jobs into the batches that take least time."""

from hypothesis import given
from hypothesis import strategies as st

from inference.engines.musetalk.execution import buckets

GPU = {1: 9.0, 2: 10.0, 4: 13.0, 8: 21.0, 16: 37.0, 32: 71.0}
"""Nearly proportional from 8 on, as a GPU that is full."""


def batches(count, times):
    found = []
    while count:
        found.append(buckets.next_batch(count, times))
        count -= found[-1]
    return found


def test_a_full_gpu_is_not_made_to_compute_padding():
    assert batches(18, GPU) == [16, 2]
    assert batches(24, GPU) == [16, 8]
    assert batches(31, GPU) == [31]
    assert batches(3, GPU) == [3]
    assert batches(40, GPU) == [32, 8]


def test_times_are_reckoned_once():
    """A capacity is reported at each change of any runtime, to all of them."""
    assert buckets.least_times(12, GPU) is buckets.least_times(12, dict(GPU))
    assert buckets.least_times(12, GPU) != buckets.least_times(12, {**GPU, 8: 20.0})


def test_how_many_are_carried():
    assert buckets.jobs_carried(40.0, GPU) == 17, "batches of 16 at 37 ms, one after the other"
    assert buckets.jobs_carried(28.0, GPU) == 10, "batches of 8 at 21 ms"
    assert buckets.jobs_carried(8.0, GPU) == 0
    assert buckets.jobs_carried(28.0, {8: 17.0, 12: 25.5, 16: 34.0}) == 13
    assert buckets.jobs_carried(28.0, {8: 19.0, 16: 34.0}) == 11, "not only the bucket below"


TIMES = st.dictionaries(
    st.sampled_from(buckets.SIZES), st.floats(1.0, 100.0), min_size=1, max_size=9
)


@given(TIMES, st.integers(1, 70))
def test_every_job_is_in_a_batch_and_no_way_is_faster(times, count):
    def took(sizes):
        return sum(min(t for size, t in times.items() if size >= n) for n in sizes)

    found = batches(count, times)
    assert sum(found) == count
    assert max(found) <= max(times)
    best = buckets.least_times(count, times)[count][0]
    assert took(found) <= best * (1 + 1e-9)
    for size in times:  # one size only
        whole, rest = divmod(count, size)
        assert best <= (whole + (rest > 0)) * times[size] * (1 + 1e-9)


@given(TIMES, st.floats(0.0, 100.0))
def test_calls_keep_up_with_as_many_as_are_carried_and_no_more(times, busy):
    def keep_up(jobs, busy):
        table = buckets.least_times(jobs, times)
        return any(table[n][0] * jobs <= busy * n for n in range(1, jobs + 1))

    jobs = buckets.jobs_carried(busy, times)
    assert jobs == 0 or keep_up(jobs, busy * (1 + 1e-9))
    assert not keep_up(jobs + 1, busy * (1 - 1e-9))


def test_a_call_takes_what_came_during_the_one_before():
    times = {1: 5.0, 2: 6.0, 4: 9.0, 8: 15.0, 16: 27.0}
    assert buckets.call_at_rest(1, 40.0, times) == (1, 5.0)
    assert buckets.call_at_rest(8, 40.0, times) == (1, 5.0)
    assert buckets.call_at_rest(16, 40.0, times) == (4, 9.0)
    assert buckets.call_at_rest(1, 40.0, {1: 349.0}) == (1, 349.0), "it never settles"
