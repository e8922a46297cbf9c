"""What is tried after a fault of the device, and when nothing is any more."""

import pytest

from inference.engines.musetalk.circuit_breaker import CALLS, TRY_AGAIN_AFTER_S, CircuitBreaker
from inference.engines.musetalk.recovery import MOST_TRIES, RETRY_AFTER_S, Recovery


def test_a_device_is_healthy_until_it_fails():
    recovery = Recovery()
    assert recovery.is_healthy
    recovery.failed(RuntimeError("the driver stumbled\nand more"), 100.0)
    assert not recovery.is_healthy
    assert recovery.state().message == "The device failed (the driver stumbled); it is coming back."


def test_it_is_tried_now_and_then_and_not_for_ever():
    recovery, now_s = Recovery(), 100.0
    recovery.failed(RuntimeError("the driver stumbled"), now_s)
    for _ in range(MOST_TRIES):
        assert not recovery.may_try(now_s + RETRY_AFTER_S - 0.1)
        now_s += RETRY_AFTER_S
        assert recovery.may_try(now_s)
        recovery.failed(RuntimeError("still away"), now_s)
    assert recovery.is_lost
    assert not recovery.may_try(now_s + 1_000)
    assert "restarted" in recovery.state().message


@pytest.mark.parametrize(
    "error",
    ["an illegal memory access was encountered", "device-side assert triggered"],
)
def test_a_broken_context_is_not_tried_at_all(error):
    recovery = Recovery()
    recovery.failed(RuntimeError(f"CUDA error: {error}"), 0.0)
    assert recovery.is_lost
    assert recovery.state().is_lost


def test_a_device_that_is_too_slow_is_tried_ever_more_seldom():
    breaker = CircuitBreaker(0.4)
    for _ in range(CALLS):
        assert breaker.may_begin(0.0)
        breaker.took(6.4)
    assert "takes 6.40 s" in breaker.reason
    now_s = 0.0
    for pause_s in (*TRY_AGAIN_AFTER_S, TRY_AGAIN_AFTER_S[-1]):
        assert not breaker.may_begin(now_s + 6.4 + pause_s - 0.01)
        now_s += 6.4 + pause_s + 0.01
        assert breaker.may_begin(now_s)
        breaker.took(6.4)


def test_a_device_that_was_slow_for_a_moment_is_used_again_at_once():
    breaker = CircuitBreaker(0.4)
    for _ in range(CALLS):
        assert breaker.may_begin(0.0)
        breaker.took(0.6)
    assert breaker.may_begin(0.6 + TRY_AGAIN_AFTER_S[0])
    breaker.took(0.3)
    assert breaker.may_begin(1.5)
    breaker.took(0.6)
    assert breaker.may_begin(2.2), "one alone"


def test_one_call_that_takes_long_is_borne():
    breaker = CircuitBreaker(0.4)
    breaker.learned(0.2)
    breaker.took(6.4)
    assert breaker.may_begin(6.4)


def test_what_was_learned_at_the_start_counts_at_once():
    breaker = CircuitBreaker(0.4)
    assert breaker.may_begin(0.0)
    breaker.learned(6.4)
    assert not breaker.may_begin(1.0)
