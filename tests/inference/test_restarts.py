import pytest

from inference.restarts import DEATHS, DEATHS_WITHIN_S, RestartLimit, describe_status


def test_a_process_that_ends_repeatedly_is_given_up() -> None:
    limit = RestartLimit()
    assert [limit.count_death(float(second)) for second in range(DEATHS)] == [False] * 4 + [True]


def test_one_that_is_never_ready_is_given_up_however_long_it_takes() -> None:
    limit, now_s = RestartLimit(), 0.0
    given_up = []
    for was_ready in (False,) * 4 + (True,) + (False,) * 5:
        now_s += 3 * DEATHS_WITHIN_S
        given_up.append(limit.count_death(now_s, was_ready=was_ready))
    assert given_up == [False] * 9 + [True]


def test_one_that_ends_now_and_then_is_not() -> None:
    limit = RestartLimit()
    apart_s = DEATHS_WITHIN_S / (DEATHS - 1) + 0.1
    assert not any(limit.count_death(number * apart_s) for number in range(100))


@pytest.mark.parametrize(("status", "text"), [(-9, "signal SIGKILL"), (3, "status 3")])
def test_an_end_in_words(status: int, text: str) -> None:
    assert describe_status(status) == text
