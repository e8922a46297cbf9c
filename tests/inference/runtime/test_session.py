"""One session against a live stream that does nothing by itself: the test is the pools."""

import pytest

from inference.assets.clips import AvatarClips, PictureCache
from inference.media.profile import DEFAULT_PROFILE
from inference.media.types import AudioContext
from inference.messages import (
    AudioChunk,
    SessionAccepted,
    SessionStart,
    SpeechFailed,
    SpeechInterrupt,
    VideoFrame,
)
from inference.runtime.capacity import Capacity
from inference.runtime.live_stream import Encoded, MouthLate, NotEncoded
from inference.runtime.mouth_pace import MouthPace
from inference.runtime.session import WorkerSession
from inference.runtime.speech_queue import SpeechQueue

FRAME_S = 0.04


class WrittenStream:
    """Writes down what the session asks for; the test answers when it likes."""

    def __init__(self):
        self.waiting, self.cut, self.encoded, self.sent = [], [], set(), []
        self.has_ended = True
        self.pace = MouthPace()
        self.repeated = []
        self.now_s = 100.0

    def open(self, take):
        self.take = take
        return self

    def submit(self, frame, *, repeats_mouth=False):
        self.waiting.append(frame)
        self.repeated.append(repeats_mouth)
        self.has_ended = False

    def cut_off(self, frame):
        self.cut.append(frame)

    def withdraw(self, frames):
        for frame in frames:
            if frame in self.waiting:
                self.waiting.remove(frame)
        return any(frame in self.encoded for frame in frames)

    def end_stretch(self):
        self.has_ended = True

    def decode_ahead(self, clip, index):
        pass

    def finish(self, now_s, **fields):
        """The oldest picture is encoded."""
        frame = self.waiting.pop(0)
        self.encoded.add(frame)
        self.take(Encoded(frame, b"coded", frame.plan.must_be_idr, **fields), now_s)

    @property
    def frames(self):
        return [message for message in self.sent if isinstance(message, VideoFrame)]


@pytest.fixture
def stream():
    return WrittenStream()


@pytest.fixture
def session(avatars_dir, stream):
    start = SessionStart(
        claim_id="a",
        session_id="a",
        reply_channel="a",
        avatar_folder="test",
        avatar_version="1",
    )
    clips = AvatarClips(avatars_dir / "test", PictureCache(), profile=DEFAULT_PROFILE)
    speech = SpeechQueue(AudioContext(before=0, after=0), end_of_speech_ms=240)
    session = WorkerSession(
        start,
        clips,
        speech,
        stream.open,
        stream.sent.append,
        worker_channel="w",
        lead_s=lambda: FRAME_S,
        capacity=Capacity(),
        pace=stream.pace,
    )
    session.start_streaming(SessionAccepted(claim_id="a"), 0.0, 0.0)
    return session


def three_frames_under_way(session, stream):
    """Three frames of speech, planned as time passed while no picture was made."""
    pcm = bytes(3 * 1_280)
    session.push_audio(AudioChunk(claim_id="a", pcm=pcm, position=0, generation=0), 0.0)
    for tick in range(4):
        session.tick(tick * FRAME_S)
    assert len(stream.waiting) == 3
    return list(stream.waiting)


def test_frames_are_sent_in_order_when_they_are_due_and_ready(session, stream):
    three_frames_under_way(session, stream)
    sent_before = len(stream.frames)
    stream.finish(0.0)
    assert len(stream.frames) == sent_before, "it is not due"
    session.flush(1.0)
    stream.finish(1.0)
    stream.finish(1.0)
    sent = [frame.frame for frame in stream.frames]
    assert sent == list(range(len(sent)))
    assert [frame.position for frame in stream.frames[-3:]] == [0, 640, 1_280]


def test_an_utterance_whose_first_mouth_is_late_begins_a_frame_later(session, stream):
    first, *_ = three_frames_under_way(session, stream)
    stream.take(MouthLate(first), 0.1)
    assert not stream.cut
    assert [frame.speech.position for frame in stream.waiting] == [0, 640]
    assert session.metrics.delayed_starts == 1


def test_a_late_mouth_within_an_utterance_is_cut_off(session, stream):
    _, second, _ = three_frames_under_way(session, stream)
    stream.take(MouthLate(second), 0.1)
    assert stream.cut == [second]
    stream.finish(1.0)
    stream.finish(1.0, is_repeated=True)
    assert session.metrics.skipped == 1
    assert stream.frames[-1].position == 640, "its sound counts as shown"


def test_frames_given_up_are_logged_once_a_minute(session, stream, caplog):
    three_frames_under_way(session, stream)
    for now_s in (5.0, 10.0, 100.0):
        session.tick(now_s)
    told = [record for record in caplog.records if "given up" in record.getMessage()]
    assert len(told) == 2
    assert session.metrics.given_up > 2_400


def test_a_failure_is_reported_once_an_utterance(session, stream):
    three_frames_under_way(session, stream)
    for _ in range(3):
        stream.finish(1.0, failure="no lips today")
    failures = [message for message in stream.sent if isinstance(message, SpeechFailed)]
    assert [failure.reason for failure in failures] == ["no lips today"]


def test_a_failure_is_reported_in_each_utterance_that_it_meets(session, stream):
    three_frames_under_way(session, stream)
    stream.finish(1.0)
    stream.finish(1.0, failure="no lips today")
    session.interrupt(SpeechInterrupt(claim_id="a", generation=1), 1.0)
    while stream.waiting:
        stream.finish(1.0, failure="no lips today")
    pcm = bytes(3 * 1_280)
    session.push_audio(AudioChunk(claim_id="a", pcm=pcm, position=1_920, generation=1), 1.0)
    for tick in range(1, 5):
        session.tick(1.0 + tick * FRAME_S)
    while stream.waiting:
        begins = stream.waiting[0].plan.begins_utterance
        is_spoken = stream.waiting[0].speech is not None
        failure = "no lips again" if is_spoken and not begins else None
        stream.finish(2.0, failure=failure)
    failures = [message for message in stream.sent if isinstance(message, SpeechFailed)]
    assert [failure.reason for failure in failures] == ["no lips today", "no lips again"]


@pytest.mark.parametrize("was_encoded", [False, True])
def test_an_interrupt_takes_back_what_was_not_sent(session, stream, was_encoded):
    three_frames_under_way(session, stream)
    if was_encoded:
        stream.finish(0.0)
    session.interrupt(SpeechInterrupt(claim_id="a", generation=1), 0.1)
    taken_back = [frame for frame in stream.waiting if frame.speech]
    assert not taken_back
    session.tick(4 * FRAME_S)
    session.flush(1.0)
    while stream.waiting:
        stream.finish(1.0)
    if was_encoded:
        first = next(frame for frame in stream.frames if frame.frame >= 2)
        assert first.is_idr, "what was encoded is referred to by nothing that is sent"
    assert all(frame.position is None for frame in stream.frames)


def test_what_comes_back_of_frames_that_were_dropped_is_ignored(session, stream):
    first, *_ = three_frames_under_way(session, stream)
    session.stop()
    sent_before = len(stream.sent)
    stream.take(Encoded(first, b"coded", is_idr=True), 1.0)
    assert len(stream.sent) == sent_before
    assert stream.has_ended


def test_a_picture_that_cannot_be_made_is_a_fault_of_the_session(session, stream):
    three_frames_under_way(session, stream)
    with pytest.raises(ZeroDivisionError):
        stream.take(NotEncoded(ZeroDivisionError()), 0.1)


def test_a_process_that_is_late_makes_some_of_the_mouths(session, stream):
    pcm = bytes(20 * 1_280)
    session.push_audio(AudioChunk(claim_id="a", pcm=pcm, position=0, generation=0), 0.0)
    while stream.pace.every < 4:
        stream.pace.frame_sent(1.0, stream.now_s)
        stream.now_s += FRAME_S
    for tick in range(1, 11):
        session.tick(tick * FRAME_S)
    made = [n for n, is_repeated in enumerate(stream.repeated) if not is_repeated]
    assert made == [0, 4, 8], "the first one among them"
