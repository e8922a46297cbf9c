"""The client's protocol without a socket: what is sent again after a lost connection."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.protocol import binary
from streaming.protocol.codec import parse
from talking_avatar.events import Frame, SpeechFinished
from talking_avatar.session import SessionState


def frame(timestamp: int, audio: int | None = None) -> str:
    data = {"frame_data": "AAAA", "frame_timestamp": timestamp, "keyframe": True}
    data |= {"state": "idle", "base_video": "idle_0"}
    if audio is not None:
        data["audio_timestamp"] = audio
    return json.dumps({"type": "VIDEO_FRAME", "session_id": None, "data": data})


def init_success(**fields: object) -> dict[str, object]:
    video = {"codec": "avc1.42C01E", "width": 512, "height": 512}
    ready = {"model_loaded": True, "available_videos": [], "default_video": "", "engine": "viseme"}
    return {**ready, "video": video, **fields}


def finished(utterance_id: str) -> str:
    data = {"utterance_id": utterance_id, "played_ms": 1, "interrupted": False}
    return json.dumps(
        {"type": "SPEECH_FINISHED", "session_id": None, "data": {**data, "frame_timestamp": 0}}
    )


def speaking(rate: int = 16_000, channels: int = 1) -> SessionState:
    state = SessionState("me")
    state.opened(init_success(resume={"token": "t", "window_ms": 30_000}))
    state.begin_utterance("a", rate, channels)
    return state


def pcm_of(message: str | bytes) -> bytes:
    return base64.b64decode(json.loads(message)["data"]["audio_chunk"]["data"])


def test_everything_it_sends_is_a_message_of_the_protocol():
    state = speaking()
    state.is_binary = False
    for text in (
        state.init(),
        state.speech("a", b"\0\1" * 320),
        state.end_utterance("a"),
        state.interrupt(),
        state.change_state("speaking", "speaking_1"),
        state.action(1, with_progress=False),
        state.action(2, with_progress=True),
        state.simple("USER_SPEAKING", active=True),
        state.simple("CLOSE"),
        state.simple("PONG"),
    ):
        assert isinstance(text, str)
        parse(text)


def test_binary_speech_is_what_the_server_reads():
    state = speaking(24_000, 2)
    state.is_binary = True
    message = state.speech("a", b"\1\2\3\4" * 10)
    assert isinstance(message, bytes)
    data = binary.unpack_speech(message, "s").data
    assert (data.utterance_id, data.audio_chunk.data) == ("a", b"\1\2\3\4" * 10)
    assert (int(data.audio_chunk.sample_rate), int(data.audio_chunk.channels)) == (24_000, 2)


@pytest.mark.parametrize("progress", [None, 0.5])
@pytest.mark.parametrize("sound", [None, binary.Sound(24_000, b"\5\6" * 9)])
@pytest.mark.parametrize("audio", [None, 80])
def test_binary_frames_are_what_the_server_packs(progress, sound, audio):
    packed = binary.pack_frame(
        b"unit",
        frame_timestamp=120,
        is_keyframe=True,
        audio_timestamp=audio,
        action_progress=progress,
        sound=sound,
    )
    seen = SessionState("me").binary(packed)
    assert (seen.data, seen.timestamp_ms, seen.is_keyframe) == (b"unit", 120, True)
    assert seen.audio_timestamp_ms == audio
    assert seen.action_progress == (None if progress is None else pytest.approx(0.5, abs=1e-4))
    assert (seen.sound and (seen.sound.sample_rate, seen.sound.data)) == (
        sound and (sound.sample_rate, sound.data)
    )


def test_what_the_server_did_not_get_is_sent_again():
    state = speaking()
    pcm = bytes(range(256)) * 25  # 3,200 samples, 200 ms
    for _ in range(3):
        state.speech("a", pcm)
    state.text(frame(0, audio=40))
    fields = json.loads(state.init())["data"]
    assert (fields["acknowledged_ms"], fields["last_frame_timestamp"]) == (40, 0)
    assert (fields["resume_token"], fields["utterance_id"]) == ("t", "a")
    again = state.opened(init_success(resumed=True, next_audio_ms=300))
    assert b"".join(map(pcm_of, again)) == (pcm * 3)[300 * 32 :]
    assert state.unshown_ms(0.0) == 560


def test_an_utterance_that_had_ended_ends_again():
    state = speaking()
    state.speech("a", bytes(1_280))
    state.end_utterance("a")
    *_, last = state.opened(init_success(resumed=True, next_audio_ms=0))
    assert json.loads(last)["type"] == "END_OF_SPEECH"


def test_an_utterance_that_was_seen_to_its_end_is_over_after_a_resumption():
    state = speaking()
    state.speech("a", bytes(2_560))
    state.end_utterance("a")
    state.text(frame(0, audio=0))
    assert state.take_settled() == []
    state.text(frame(40, audio=40))
    assert state.take_settled() == [SpeechFinished("a", 80, interrupted=False)]
    assert state.text(finished("a"))[2] is None


def test_a_finished_utterance_needs_nothing_again_and_is_reported_once():
    state = speaking()
    state.speech("a", bytes(1_280))
    assert isinstance(state.text(finished("a"))[2], SpeechFinished)
    assert state.text(finished("a"))[2] is None
    assert state.opened(init_success(resumed=True, next_audio_ms=40)) == []


def test_a_refused_chunk_does_not_count():
    state = speaking()
    state.speech("a", bytes(1_280))
    details = {"chunk": 0, "utterance_id": "a", "reason": "speech_capacity"}
    error = {"code": "RATE_LIMIT_EXCEEDED", "message": "", "details": details}
    state.text(json.dumps({"type": "ERROR", "session_id": None, "data": error}))
    assert state.unshown_ms(0.0) == 0


def test_a_new_session_knows_nothing_of_the_old_one():
    state = speaking()
    before = state.session_id
    state.speech("a", bytes(1_280))
    state.text(frame(400, audio=0))
    assert state.forget() == ["a"]
    fields = json.loads(state.init())["data"]
    assert state.session_id != before
    assert not {"resume_token", "acknowledged_ms", "last_frame_timestamp"} & set(fields)


def test_unknown_messages_are_no_fault():
    text = json.dumps({"type": "NEWS", "session_id": None, "data": {}})
    assert SessionState("me").text(text) == ("NEWS", {}, None)


@given(
    st.sampled_from([8_000, 16_000, 24_000, 48_000]),
    st.lists(st.integers(1, 4_000), min_size=1, max_size=8),
    st.integers(0, 100),
    st.data(),
)
def test_no_sample_is_lost_or_sent_twice(rate, sizes, shown_frames, data):
    """Whatever was cut where, what comes again continues exactly where the server stands."""
    per_ms = rate // 1_000
    state = speaking(rate)
    whole = b"".join(n.to_bytes(2, "little") for n in range(sum(sizes) * per_ms % 60_000))
    at = 0
    for size in sizes:
        piece = whole[at : at + size * per_ms * 2]
        if piece:
            state.speech("a", piece)
        at += len(piece)
    length_ms = at // 2 // per_ms
    if length_ms == 0:
        return
    next_ms = data.draw(st.integers(0, length_ms))
    shown_ms = min(shown_frames * 40, next_ms)
    if shown_ms >= 40:
        state.text(frame(0, audio=shown_ms - 40))
    again = state.opened(init_success(resumed=True, next_audio_ms=next_ms))
    assert b"".join(map(pcm_of, again)) == whole[next_ms * per_ms * 2 : at]
    assert isinstance(state.text(frame(40))[2], Frame)


def test_without_frames_time_tells_how_much_was_shown():
    state = SessionState("me", receive=("events",))
    state.opened(init_success())
    state.begin_utterance("a", 16_000, 1)
    state.speech("a", bytes(2 * 16_000))
    state.speech("a", bytes(2 * 16_000))
    assert state.unshown_ms(5.0) == 2_000
    state.speech_started("a", 5.0)
    assert state.unshown_ms(5.5) == 1_500
    assert state.unshown_ms(9.0) == 0
    state.text(finished("a"))
    state.begin_utterance("b", 16_000, 1)
    state.speech("b", bytes(2 * 16_000))
    assert state.unshown_ms(9.5) == 1_000  # it has not begun


def test_an_utterance_of_which_all_was_refused_is_not_asked_about():
    """The server knows nothing of it, and so could not tell which ends were lost."""
    state = speaking()
    state.speech("a", bytes(1_280))
    details = {"chunk": 0, "utterance_id": "a"}
    refused = {"code": "RATE_LIMIT_EXCEEDED", "message": "", "details": details}
    state.text(json.dumps({"type": "ERROR", "session_id": None, "data": refused}))
    assert not state.has_utterance("a")
    state.begin_utterance("b", 16_000, 1)
    state.speech("b", bytes(1_280))
    assert json.loads(state.init())["data"]["utterance_id"] == "b"


def test_speech_of_which_a_part_was_refused_is_asked_about():
    state = speaking()
    state.speech("a", bytes(1_280))
    state.speech("a", bytes(1_280))
    details = {"chunk": 1, "utterance_id": "a"}
    refused = {"code": "RATE_LIMIT_EXCEEDED", "message": "", "details": details}
    state.text(json.dumps({"type": "ERROR", "session_id": None, "data": refused}))
    assert json.loads(state.init())["data"]["utterance_id"] == "a"
    state.end_utterance("a")
    state.text(frame(40, 0))
    assert state.take_settled() == [SpeechFinished("a", 40, interrupted=False)]


def test_what_is_said_before_another_session_is_open_is_sent_to_it():
    state = speaking()
    state.speech("a", bytes(1_280))
    assert state.forget() == ["a"]
    state.begin_utterance("b", 16_000, 1)
    said = state.speech("b", b"\1\2" * 640)
    assert state.opened(init_success()) == [said]
    assert state._chunks[0].number == 0, "as the server counts"


def test_speech_that_another_process_refuses_is_taken_back_though_it_counts_from_zero():
    state = speaking()
    for _ in range(5):
        state.speech("a", bytes(1_280))
    state.text(finished("a"))
    state.begin_utterance("b", 16_000, 1)
    state.speech("b", bytes(1_280))
    state.opened(init_success(resumed=True, next_audio_ms=200))
    details = {"chunk": 0, "utterance_id": "b"}
    refused = {"code": "RATE_LIMIT_EXCEEDED", "message": "", "details": details}
    state.text(json.dumps({"type": "ERROR", "session_id": None, "data": refused}))
    assert not state.has_utterance("b")
    assert state.unshown_ms(0.0) == 0
