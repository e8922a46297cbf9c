import pytest

from talking_avatar.events import Frame
from talking_avatar.measurement import Measurement, Spread, lateness_s


def frame(number, received_s, audio_timestamp_ms=None, timestamp_ms=None, latency_s=None):
    return Frame(
        data=b"1234",
        timestamp_ms=number * 40 if timestamp_ms is None else timestamp_ms,
        is_keyframe=number == 0,
        audio_timestamp_ms=audio_timestamp_ms,
        received_s=received_s,
        latency_s=latency_s,
    )


def report_of(frames, init_sent_s=0.0, is_paced=True):
    measurement = Measurement(is_paced=is_paced)
    for one in frames:
        measurement.add_frame(one)
    return measurement.report(init_sent_s)


def test_lateness_counts_from_the_best_frame():
    assert lateness_s([0, 40, 80], [5.003, 5.040, 5.090]) == pytest.approx([0.003, 0, 0.010])
    assert lateness_s([], []) == []


def test_a_steady_stream():
    report = report_of([frame(n, 1.25 + n * 0.04) for n in range(251)], init_sent_s=1.2)
    assert report.frames_per_second == pytest.approx(25.0)
    assert report.first_frame_s == pytest.approx(0.05)
    assert report.lateness.p99_ms == pytest.approx(0, abs=1e-6)
    assert (report.missing_frames, report.broken_timestamps) == (0, 0)
    assert report.video_bytes == 251 * 4
    assert report.problems() == []


def test_gaps_are_counted_and_are_no_fault_but_a_step_back_is_one():
    report = report_of([frame(0, 0), frame(3, 0.12), frame(2, 0.16)])
    assert (report.missing_frames, report.broken_timestamps) == (2, 1)
    assert len(report.problems()) == 1
    assert report_of([frame(0, 0), frame(0, 0.05, timestamp_ms=50)]).broken_timestamps == 1


def test_latency_is_that_of_the_frames_that_show_speech():
    frames = [frame(0, 0.06, 0, latency_s=0.06), frame(1, 0.1), frame(2, 0.15, 40, latency_s=0.07)]
    report = report_of(frames)
    assert report.latency.max_ms == pytest.approx(70)
    assert report.latency.p50_ms == pytest.approx(65)
    assert (report.speech_frames, report.latency.count) == (2, 2)


def test_speech_sent_ahead_has_no_latency():
    assert report_of([frame(0, 0.06, 0, latency_s=0.06)], is_paced=False).latency is None


def test_a_spread_is_interpolated_between_its_values():
    spread = Spread.of([n / 1_000 for n in range(101)])
    assert (spread.p50_ms, spread.p95_ms, spread.p99_ms, spread.max_ms) == pytest.approx(
        (50, 95, 99, 100)
    )
    one = Spread.of([0.007])
    assert (one.count, one.p50_ms, one.p99_ms, one.max_ms) == pytest.approx((1, 7, 7, 7))


def test_nothing_at_all_is_a_problem():
    report = report_of([])
    assert report.problems() == ["No picture came."]
    assert any("frames per second" in line for line in report.lines())
    assert Spread.of([]) is None


def test_errors_are_counted_by_code():
    measurement = Measurement()
    for code in ("INVALID_MESSAGE", "RATE_LIMIT_EXCEEDED", "INVALID_MESSAGE"):
        measurement.add_error(code)
    report = measurement.report(0.0)
    assert report.errors == {"INVALID_MESSAGE": 2, "RATE_LIMIT_EXCEEDED": 1}
    assert any("INVALID_MESSAGE × 2" in line for line in report.lines())
