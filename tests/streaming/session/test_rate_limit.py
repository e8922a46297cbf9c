from hypothesis import given
from hypothesis import strategies as st

from streaming.protocol.errors import ProtocolError
from streaming.session.rate_limit import (
    BYTE_BURST,
    BYTES_PER_S,
    ERROR_BURST,
    ERRORS_PER_S,
    MESSAGE_BURST,
    MESSAGES_PER_S,
    MessageLimit,
)


def test_a_burst_and_then_the_rate():
    limit = MessageLimit(0.0)
    assert sum(limit.admits(1, 0.0) for _ in range(10_000)) == MESSAGE_BURST
    assert sum(limit.admits(1, 1.0) for _ in range(10_000)) == MESSAGES_PER_S
    assert sum(limit.admits(1, 1_000.0) for _ in range(10_000)) == MESSAGE_BURST


def test_what_was_ignored_is_reported_once_a_second():
    limit = MessageLimit(0.0)
    assert limit.report_s is None
    for _ in range(MESSAGE_BURST + 3):
        limit.admits(1, 0.0)
    assert limit.report_s == 0.0
    assert limit.report(0.0).details == {"ignored": 3}
    assert limit.report_s is None
    limit.admits(1, 0.0)
    assert limit.report_s == 1.0
    assert limit.report(1.0).details == {"ignored": 1}


def test_bytes_are_counted_too():
    limit = MessageLimit(0.0)
    assert limit.admits(BYTE_BURST, 0.0)
    assert not limit.admits(2, 0.0)
    assert limit.admits(BYTES_PER_S, 1.0)
    assert not limit.admits(2, 1.0)


def test_many_mistakes_are_counted_and_not_answered_one_by_one():
    limit = MessageLimit(0.0)
    mistake = ProtocolError("INVALID_MESSAGE", "Not JSON.")
    assert sum(limit.answers(mistake, 0.0) for _ in range(1_000)) == ERROR_BURST
    assert limit.report(0.0).details == {"ignored": 1_000 - ERROR_BURST}
    assert sum(limit.answers(mistake, 1.0) for _ in range(1_000)) == ERRORS_PER_S
    refused_speech = ProtocolError("RATE_LIMIT_EXCEEDED", "60 s wait.")
    assert limit.answers(refused_speech, 1.0)


@given(st.lists(st.floats(0, 0.01), max_size=200))
def test_time_never_admits_more_than_the_rate(steps):
    limit, now_s = MessageLimit(0.0), 0.0
    while limit.admits(1, 0.0):
        pass
    admitted = 0
    for step_s in steps:
        now_s += step_s
        admitted += limit.admits(1, now_s)
    assert admitted <= now_s * MESSAGES_PER_S + 1
