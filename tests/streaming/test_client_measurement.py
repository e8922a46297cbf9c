import pytest

from streaming.client.events import Frame
from streaming.client.measurement import Measurement, Spread, lateness_s
from streaming.client.sound import SentSpeech


def frame(number, received_s, audio_timestamp_ms=None, timestamp_ms=None):
    return Frame(
        access_unit=b"1234",
        timestamp_ms=number * 40 if timestamp_ms is None else timestamp_ms,
        received_s=received_s,
        is_idr=number == 0,
        state="idle",
        clip="idle_0",
        audio_timestamp_ms=audio_timestamp_ms,
    )


def report_of(frames, sent=None, init_sent_s=0.0, is_paced=True):
    measurement = Measurement(is_paced=is_paced)
    for one in frames:
        measurement.add_frame(one)
    return measurement.report(sent or SentSpeech(), init_sent_s)


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


def test_latency_counts_from_the_chunk_with_the_last_own_sample():
    sent = SentSpeech()
    for chunk in range(3):
        sent.add(640, chunk * 0.04)
    report = report_of([frame(0, 0.06, 0), frame(1, 0.10, 40), frame(2, 0.15, 80)], sent)
    assert report.latency.max_ms == pytest.approx(70)
    assert report.latency.p50_ms == pytest.approx(60)
    assert report.speech_frames == 3


def test_chunks_smaller_than_a_frame_count_by_their_last():
    sent = SentSpeech()
    sent.add(320, 1.00)
    sent.add(320, 1.02)
    sent.add(100, 1.04)
    report = report_of([frame(0, 1.1, 0), frame(1, 1.14, 40)], sent)
    assert report.latency.p50_ms == pytest.approx((80 + 100) / 2)


def test_speech_sent_ahead_has_no_latency():
    sent = SentSpeech()
    sent.add(640, 0)
    assert report_of([frame(0, 0.06, 0)], sent, is_paced=False).latency is None


def test_nothing_at_all_is_a_problem():
    report = report_of([])
    assert report.problems() == ["No picture came."]
    assert any("frames per second" in line for line in report.lines())
    assert Spread.of([]) is None


def test_errors_are_counted_by_code():
    measurement = Measurement()
    for code in ("INVALID_MESSAGE", "RATE_LIMIT_EXCEEDED", "INVALID_MESSAGE"):
        measurement.add_error(code)
    report = measurement.report(SentSpeech(), 0)
    assert report.errors == {"INVALID_MESSAGE": 2, "RATE_LIMIT_EXCEEDED": 1}
    assert any("INVALID_MESSAGE × 2" in line for line in report.lines())


def test_sent_speech_knows_each_sample():
    sent = SentSpeech()
    assert sent.sent_at_s(0) is None
    sent.add(640, 1.0)
    sent.add(100, 2.0)
    assert [sent.sent_at_s(p) for p in (0, 639, 640, 739, 740)] == [1.0, 1.0, 2.0, 2.0, None]
    assert sent.samples == 740
