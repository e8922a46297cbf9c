from streaming.session.metrics import SessionMetrics


def test_all_that_is_counted_adds_up():
    one, two = (
        SessionMetrics(messages=2, samples=640, workers=1),
        SessionMetrics(messages=3, frames_sent=4),
    )
    one.errors["INVALID_MESSAGE"] += 1
    two.errors["INVALID_MESSAGE"] += 2
    two.errors["INVALID_SESSION"] += 1
    two.lateness.count(0.015)
    one.add(two)
    assert (one.messages, one.samples, one.workers, one.frames_sent) == (5, 640, 1, 4)
    assert one.errors == {"INVALID_MESSAGE": 3, "INVALID_SESSION": 1}
    assert one.lateness.percentile_ms(1) == 20
    assert two.errors == {"INVALID_MESSAGE": 2, "INVALID_SESSION": 1}
