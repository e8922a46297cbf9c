"""How long mouths wait, against what can be said without playing it through."""

import heapq
import math
import random
import statistics
from pathlib import Path

import pytest

from inference.engines.batcher import Batcher
from inference.engines.musetalk.engine import MuseTalkEngine, leads_s
from inference.engines.musetalk.execution import buckets
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


H100_MS = {1: 5.2, 2: 7.0, 4: 10.2, 8: 13.6, 12: 18.9, 16: 23.9, 20: 29.1, 24: 34.4, 32: 45.3}
"""Measured in part, in part by the rate of 687 pictures/s."""


def wait_of(sessions):
    return answered_within(sessions, 40.0, H100_MS, under_way=2, overhead=3.0)


def test_few_sessions_hear_sooner_than_many_and_none_sooner_than_more():
    leads = leads_s(wait_of, 21)
    assert leads == sorted(leads)
    assert leads[9] <= 0.033, "what up to eight sessions get"
    assert 0.05 <= leads[20] <= 0.07
    assert leads_s(lambda sessions: 2_000.0, 1) == [0.4]
    assert leads_s(lambda sessions: 30.0 / sessions, 3) == [0.04] * 3


def test_the_lead_is_that_of_some_more_sessions_than_speak():
    engine = MuseTalkEngine(Path("nowhere"))
    assert engine.lead_for(5) == 0.03
    engine._leads_s = leads_s(wait_of, 21)
    assert engine.lead_for(0) == engine.lead_for(1) == engine._leads_s[1]
    assert engine.lead_for(8) == engine._leads_s[9]
    assert engine.lead_for(17) == engine.lead_for(100) == engine._leads_s[20]


def late_share(leads, periods=100, encoding=10.0):
    """Of mouths by session, each begun ``lead`` before it is due, most urgent first."""
    spread = random.Random(3)
    phases = [spread.uniform(0.0, 40.0) for _ in leads]
    came = sorted(
        (100.0 + period * 40 + phase - 1_000 * lead, 100.0 + period * 40 + phase - encoding, number)
        for period in range(periods)
        for number, (lead, phase) in enumerate(zip(leads, phases, strict=True))
    )
    totals = [took for took, _ in buckets.least_times(4 * len(leads), H100_MS)]
    batcher = Batcher()
    calls, late, device_free_at, call = [], [0] * len(leads), 0.0, 0.0
    while came or calls:
        now = min(came[0][0] if came else math.inf, calls[0][0] if calls else math.inf)
        while calls and calls[0][0] <= now:
            ended, began, jobs = heapq.heappop(calls)
            call = min(ended - began, 1.1 * call) if call else ended - began
            for deadline, number, _ in jobs:
                late[number] += ended > deadline + 1e-6
        while came and came[0][0] <= now:
            begins, deadline, number = came.pop(0)
            batcher.submit((deadline, number, begins), deadline)
        while len(calls) < 2 and (jobs := batcher.next_batch(32, end_s=now + call)):
            device_free_at = max(now + 3.0, device_free_at) + totals[len(jobs)]
            heapq.heappush(calls, (device_free_at, now, jobs))
    return [count / periods for count in late]


def test_mouths_are_in_time_at_the_leads_of_their_load_and_a_few_more():
    leads = leads_s(wait_of, 21)
    for speaking in (1, 4, 8, 16, 20):
        lead = leads[min(speaking + max(1, speaking // 4), 21) - 1]
        assert max(late_share([lead] * speaking)) <= 0.05, speaking
    assert statistics.mean(late_share([leads[9]] * 10)) <= 0.05, "two that came since"


def test_leads_that_did_not_grow_with_the_load_would_be_too_short():
    """Why an utterance's lead grows as soon as that is not noticed."""
    leads = leads_s(wait_of, 21)
    assert statistics.mean(late_share([leads[9]] * 8 + [leads[20]] * 12)[:8]) > 0.5
