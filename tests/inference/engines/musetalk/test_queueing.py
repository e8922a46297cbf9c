"""How long mouths wait, against what can be said without playing it through."""

import pytest

from inference.engines.musetalk.execution.queueing import answered_within

TIMES = {1: 4.0, 2: 6.0, 4: 9.0, 8: 15.0, 16: 27.0}


def test_one_session_alone_waits_for_nobody():
    assert answered_within(1, 40.0, TIMES) == pytest.approx(4.0)
    assert answered_within(1, 40.0, TIMES, overhead=3.0) == pytest.approx(7.0)
    assert answered_within(1, 40.0, TIMES, under_way=2, overhead=3.0) == pytest.approx(7.0)


def test_jobs_wait_for_the_call_before_theirs_and_for_their_own():
    """Batches of a single size: no job waits longer than two calls."""
    found = answered_within(6, 40.0, {16: 10.0})
    assert 10.0 < found <= 20.0


def test_more_sessions_wait_longer():
    waits = [answered_within(sessions, 40.0, TIMES) for sessions in (1, 4, 8, 16, 20)]
    assert waits == sorted(waits)


def test_what_the_host_does_is_hidden_beside_another_call():
    busy = {"overhead": 6.0}
    one_by_one = answered_within(16, 40.0, TIMES, under_way=1, **busy)
    two = answered_within(16, 40.0, TIMES, under_way=2, **busy)
    assert two < one_by_one


def test_it_is_the_same_each_time():
    assert answered_within(9, 40.0, TIMES) == answered_within(9, 40.0, TIMES)
