"""The speech queue: nothing lost, nothing invented, in whatever pieces it comes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.assets.clip_index import ClipRequest
from inference.media.types import AudioContext
from inference.messages import LateAudio
from inference.runtime.speech_queue import START_MARGIN_S, Speech, SpeechQueue

FRAME = 640


def pcm(samples: int, first: int = 1) -> bytes:
    """A ramp, so that each sample tells its position."""
    return (np.arange(first, first + samples) % 30_000).astype("<i2").tobytes()


def ramp(frame_window: np.ndarray) -> list[int]:
    return [round(float(value) * 32768) for value in frame_window]


def queue(*, before: int = 0, after: int = 0) -> SpeechQueue:
    return SpeechQueue(AudioContext(before, after))


def test_silent_until_something_comes() -> None:
    assert queue().poll(0.0) is Speech.SILENT


def test_first_frame_waits_for_its_margin() -> None:
    speech = queue()
    speech.push(0, pcm(FRAME), 10.0)
    assert speech.poll(10.0) is Speech.SILENT
    assert speech.poll(10.001 + START_MARGIN_S) is Speech.READY


def test_runs_dry_then_ends_once() -> None:
    speech = queue()
    speech.push(0, pcm(FRAME), 10.0)
    assert speech.poll(10.02) is Speech.READY
    frame = speech.take()
    assert (frame.position, frame.received) == (0, FRAME)
    assert speech.poll(10.06) is Speech.STARVED
    assert speech.poll(10.20) is Speech.STARVED
    assert speech.poll(10.25) is Speech.ENDED
    assert speech.poll(10.29) is Speech.SILENT


def test_the_rest_is_padded_and_the_next_utterance_begins_at_its_true_end() -> None:
    speech = queue()
    speech.push(0, pcm(FRAME + 100), 10.0)
    speech.poll(10.02)
    speech.take()
    assert speech.poll(10.1) is Speech.STARVED
    assert speech.poll(10.24) is Speech.READY
    rest = speech.take()
    assert (rest.position, rest.received, rest.end) == (FRAME, 100, FRAME + 100)
    assert ramp(rest.window.samples)[99:101] == [FRAME + 100, 0]
    assert speech.poll(10.28) is Speech.ENDED
    speech.push(FRAME + 100, pcm(FRAME), 11.0)
    assert speech.poll(11.02) is Speech.READY
    assert speech.take().position == FRAME + 100


def test_look_ahead_is_waited_for_until_it_is_a_frame_time_overdue() -> None:
    speech = queue(after=320)
    speech.push(0, pcm(FRAME), 10.0)
    assert speech.poll(10.059) is Speech.SILENT
    assert speech.poll(10.061) is Speech.READY
    assert ramp(speech.take().window.samples)[FRAME:] == [0] * 320


def test_context_is_the_utterances_own() -> None:
    speech = queue(before=100, after=100)
    speech.push(0, pcm(3 * FRAME), 10.0)
    speech.poll(10.02)
    first, second = speech.take(), speech.take()
    assert ramp(first.window.samples)[:101] == [0] * 100 + [1]
    assert ramp(second.window.samples) == list(range(FRAME - 99, 2 * FRAME + 101))


def test_unread_gives_the_same_frame_again() -> None:
    speech = queue()
    speech.push(0, pcm(2 * FRAME), 10.0)
    speech.poll(10.02)
    frame = speech.take()
    speech.unread(frame, is_first=True)
    assert speech.poll(10.06) is Speech.READY
    assert speech.take().position == frame.position


def test_interrupt_forgets_and_the_next_chunk_is_a_new_utterance() -> None:
    speech = queue()
    speech.push(0, pcm(5 * FRAME), 10.0)
    speech.poll(10.02)
    speech.take()
    speech.interrupt()
    assert speech.poll(10.04) is Speech.SILENT
    speech.push(5 * FRAME, pcm(FRAME), 10.05)
    assert speech.poll(10.1) is Speech.READY
    assert speech.take().position == 5 * FRAME


def test_samples_sent_twice_count_once() -> None:
    speech = queue()
    speech.push(0, pcm(FRAME), 10.0)
    speech.push(0, pcm(FRAME), 10.0)
    speech.push(FRAME - 10, pcm(20, FRAME - 9), 10.0)
    speech.end_utterance(FRAME + 10)
    assert speech.take().received + speech.take().received == FRAME + 10


def test_a_gap_ends_the_utterance() -> None:
    speech = queue()
    speech.push(0, pcm(100), 10.0)
    speech.push(500, pcm(FRAME), 10.0)
    assert speech.poll(10.02) is Speech.READY
    assert speech.take().received == 100
    assert speech.poll(10.06) is Speech.ENDED
    assert speech.poll(10.1) is Speech.READY
    assert speech.take().position == 500


def test_a_clip_is_requested_once_where_it_begins() -> None:
    speech = queue()
    clips: list[Any] = ["idle_1", "idle_1", "speaking_0"]
    for number, clip in enumerate(clips):
        speech.push(number * FRAME, pcm(FRAME), 10.0, clip)
    speech.poll(10.02)
    assert [speech.take().clip for _ in range(3)] == ["idle_1", None, "speaking_0"]


@given(
    sizes=st.lists(st.integers(1, 3_000), min_size=1, max_size=40),
    before=st.integers(0, 2_000),
    after=st.integers(0, 640),
)
def test_every_sample_is_shown_exactly_once(sizes: list[int], before: int, after: int) -> None:
    speech = queue(before=before, after=after)
    now_s, pushed, shown = 0.0, 0, 0
    for size in sizes:
        speech.push(pushed, pcm(size, pushed + 1), now_s)
        pushed += size
        now_s += 0.04
        if speech.poll(now_s) is Speech.READY:
            frame = speech.take()
            assert frame.position == shown
            own = ramp(frame.window.samples)[before : before + frame.received]
            assert own == [(p + 1) % 30_000 for p in range(shown, frame.end)]
            shown = frame.end
    for _ in range(sum(sizes) // FRAME + 20):
        now_s += 0.04
        if speech.poll(now_s) is Speech.READY:
            frame = speech.take()
            assert frame.position == shown
            shown = frame.end
    assert shown == pushed


def test_memory_does_not_grow_with_the_utterance() -> None:
    speech = queue(before=3_200)
    for number in range(5_000):
        speech.push(number * FRAME, pcm(FRAME), number * 0.04)
        if speech.poll(number * 0.04) is Speech.READY:
            speech.take()
    held = sum(len(u.pcm) for u in speech._utterances)
    assert held < 2 * 90 * FRAME


def test_an_utterance_that_the_client_ends_waits_for_nothing() -> None:
    speech = queue(after=320)
    speech.push(0, pcm(FRAME + 100), 10.0)
    assert speech.poll(10.0) is Speech.SILENT
    speech.end_utterance(FRAME + 100)
    assert speech.poll(10.0) is Speech.READY
    assert (speech.take().received, speech.take().received) == (FRAME, 100)
    assert speech.poll(10.0) is Speech.ENDED


def test_speech_after_an_explicit_end_is_another_utterance() -> None:
    speech = queue()
    speech.push(0, pcm(FRAME), 10.0)
    speech.end_utterance(FRAME)
    speech.push(FRAME, pcm(FRAME), 10.0)
    speech.take()
    assert speech.poll(10.04) is Speech.ENDED
    assert speech.poll(10.08) is Speech.READY


def test_frames_of_an_utterance_that_ended_can_be_undone() -> None:
    """As when a process was held up: what it had planned is too late, and is planned again."""
    speech = queue()
    speech.push(0, pcm(3 * FRAME), 10.0)
    speech.end_utterance(3 * FRAME)
    frames = [speech.take() for _ in range(3)]
    assert speech.poll(10.2) is Speech.ENDED
    assert not speech.has_speech
    speech.unread(frames[1], is_first=False)
    assert speech.has_speech
    again = []
    while speech.poll(11.3) is Speech.READY:
        again.append(speech.take())
    assert [frame.position for frame in again] == [FRAME, 2 * FRAME]
    for one, other in zip(frames[1:], again, strict=True):
        np.testing.assert_array_equal(one.window.pcm, other.window.pcm)
    assert not speech.has_speech


def test_several_utterances_that_ended_are_undone_in_order() -> None:
    speech = queue()
    for number in range(3):
        speech.push(number * FRAME, pcm(FRAME), 10.0)
        speech.end_utterance((number + 1) * FRAME)
    frames = []
    while (state := speech.poll(10.1)) is not Speech.SILENT:
        if state is Speech.READY:
            frames.append(speech.take())
    speech.unread(frames[1], is_first=True)
    states = []
    while (state := speech.poll(11.1)) is not Speech.SILENT:
        states.append(state)
        if state is Speech.READY:
            assert speech.take().position == len(states) // 2 * FRAME + FRAME
    assert states == [Speech.READY, Speech.ENDED] * 2


def test_what_was_interrupted_does_not_come_back() -> None:
    speech = queue()
    speech.push(0, pcm(FRAME), 10.0)
    speech.end_utterance(FRAME)
    frame = speech.take()
    assert speech.poll(10.1) is Speech.ENDED
    speech.interrupt()
    speech.unread(frame, is_first=True)
    assert speech.poll(10.2) is Speech.SILENT


LOUD, QUIET = np.full(FRAME, 8_000, "<i2").tobytes(), np.zeros(FRAME, "<i2").tobytes()


def microphone(speech: SpeechQueue, pattern: str, *, from_s: float = 10.0) -> None:
    """Chunks of 40 ms as they are spoken: ``x`` loud, ``-`` silent."""
    for number, kind in enumerate(pattern):
        pcm_ = LOUD if kind == "x" else QUIET
        speech.push(number * FRAME, pcm_, from_s + 0.04 * (number + 1))


def shown(speech: SpeechQueue, now_s: float) -> tuple[list[int], int]:
    """Positions of all frames that can be taken from ``now_s`` on, and what was skipped."""
    positions, skipped = [], 0
    while True:
        speech.skip_late(now_s)
        if speech.poll(now_s) is not Speech.READY:
            return positions, skipped
        frame = speech.take()
        positions.append(frame.position)
        skipped += frame.skipped
        now_s += 0.04


def test_a_delay_is_taken_back_in_the_pauses_of_live_speech() -> None:
    speech = queue()
    microphone(speech, "x" * 10 + "-" * 25 + "x" * 10)
    positions, skipped = shown(speech, 12.5)  # two seconds after the first chunk
    loud = [p for p in positions if p < 10 * FRAME or p >= 35 * FRAME]
    assert len(loud) == 20, "nothing audible is lost"
    kept_pause = len(positions) - 20
    assert kept_pause == 3
    assert skipped == 22 * FRAME


@pytest.mark.parametrize("late_audio", ["keep", "drop"])
def test_a_short_delay_is_taken_back_in_a_pause(late_audio: LateAudio) -> None:
    speech = SpeechQueue(AudioContext(0, 0), late_audio=late_audio)
    microphone(speech, "x" * 10 + "-" * 25 + "x" * 10)
    positions, skipped = shown(speech, 10.34)  # 0.3 s after the first chunk was due
    assert len([p for p in positions if p < 10 * FRAME or p >= 35 * FRAME]) == 20
    assert skipped == pytest.approx(0.2 * 16_000, abs=2 * FRAME), "0.1 s may stay"


def test_what_is_in_step_is_not_shortened() -> None:
    speech = queue()
    microphone(speech, "x" * 5 + "-" * 25 + "x" * 5)
    positions, skipped = shown(speech, 10.06)
    assert (len(positions), skipped) == (35, 0)


def test_speech_sent_ahead_is_never_shortened() -> None:
    speech = queue()
    for number in range(100):
        speech.push(number * FRAME, QUIET if number % 20 > 5 else LOUD, 10.0)
    positions, skipped = shown(speech, 14.0)
    assert (len(positions), skipped) == (100, 0)


def test_late_live_speech_is_dropped_at_once_where_that_is_wanted() -> None:
    speech = SpeechQueue(AudioContext(0, 0), late_audio="drop")
    microphone(speech, "x" * 50)
    positions, skipped = shown(speech, 12.0)
    # due at 10.04; 1.96 s late, of which 0.1 s may stay
    assert skipped == pytest.approx(1.86 * 16_000, abs=FRAME)
    assert positions[0] == skipped


def test_a_microphone_that_was_held_up_is_in_step_again() -> None:
    speech = SpeechQueue(AudioContext(0, 0), late_audio="drop")
    microphone(speech, "x" * 50)
    positions, skipped = shown(speech, 10.06)
    assert (len(positions), skipped) == (50, 0)
    assert speech.poll(13.0) is Speech.ENDED
    for number in range(50, 100):  # two seconds, all at once
        speech.push(number * FRAME, LOUD, 14.0)
    positions, skipped = shown(speech, 14.01)
    assert skipped == pytest.approx(1.9 * 16_000, abs=2 * FRAME)
    assert positions[0] == 50 * FRAME + skipped


def test_a_long_stall_is_taken_back_as_its_speech_comes() -> None:
    """The gateway sends two seconds at most, and more as they are shown or skipped."""
    speech = SpeechQueue(AudioContext(0, 0), late_audio="drop")
    microphone(speech, "x" * 50)
    shown(speech, 10.06)
    now_s, skipped, sent = 20.0, 0, 50
    while sent < 250:
        for number in range(sent, sent + 50):
            speech.push(number * FRAME, LOUD, 20.0)
        sent += 50
        _, more = shown(speech, now_s)
        skipped += more
        now_s += 0.1
    assert skipped > 7 * 16_000


def test_a_clip_that_is_requested_under_speech_that_is_left_out_runs_after_it() -> None:
    speech = SpeechQueue(AudioContext(0, 0), late_audio="drop")
    microphone(speech, "x" * 10)
    speech.push(10 * FRAME, LOUD, 10.44, ClipRequest("wave"))
    for number in range(11, 50):
        speech.push(number * FRAME, LOUD, 10.04 + 0.04 * number)
    speech.skip_late(12.0)
    assert speech.poll(12.0) is Speech.READY
    frame = speech.take()
    assert frame.position > 11 * FRAME
    assert frame.clip == ClipRequest("wave")
    following = speech.take()
    assert following.clip is None
    speech.unread(frame, is_first=True)
    assert speech.take().clip == ClipRequest("wave")


def test_a_skip_is_reported_again_after_an_undone_take() -> None:
    speech = SpeechQueue(AudioContext(0, 0), late_audio="drop")
    microphone(speech, "x" * 50)
    speech.skip_late(12.0)
    frame = speech.take()
    speech.unread(frame, is_first=True)
    assert speech.take().skipped == frame.skipped > 0
