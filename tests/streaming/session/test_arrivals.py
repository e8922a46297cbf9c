import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.timing import FRAME_S
from streaming.session.arrivals import Arrivals

DELAYS_S = st.lists(st.floats(0, 0.5), min_size=1, max_size=50)


def test_before_the_first_frame_the_first_is_due():
    assert Arrivals().frame_due_at(1_000.0) == 0


def test_a_frame_that_comes_sooner_than_all_before_it_is_the_new_measure():
    arrivals = Arrivals()
    assert arrivals.came(0, 10.030) == 0
    assert arrivals.came(1, 10.075) == pytest.approx(0.005)
    assert arrivals.came(2, 10.080) == 0
    assert arrivals.came(3, 10.150) == pytest.approx(0.030)
    assert arrivals.frame_due_at(10.119) == 2
    assert arrivals.frame_due_at(10.121) == 3


@given(DELAYS_S)
def test_lateness_is_what_came_on_top_of_the_least_delay(delays_s):
    arrivals = Arrivals()
    least_s = float("inf")
    for frame, delay_s in enumerate(delays_s):
        late_s = arrivals.came(frame, 5.0 + frame * FRAME_S + delay_s)
        least_s = min(least_s, delay_s)
        assert late_s == pytest.approx(delay_s - least_s, abs=1e-9)


@given(DELAYS_S)
def test_the_frame_that_is_due_is_not_behind_the_one_that_just_came(delays_s):
    arrivals = Arrivals()
    for frame, delay_s in enumerate(delays_s):
        now_s = 5.0 + frame * FRAME_S + delay_s
        arrivals.came(frame, now_s)
        assert arrivals.frame_due_at(now_s) >= frame
