import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.messages import ActionStart, ClipChange, SessionStop
from streaming.session.limits import SessionLimits
from streaming.session.rate_limit import MESSAGE_BURST
from tests.streaming.fakes import (
    SESSION_ID,
    USER,
    Door,
    FakeAvatar,
    claimed,
    frame,
    numbered,
)

OTHER_ID = str(uuid.UUID(int=7))


# ---- opening


def test_init_opens_the_session():
    door = Door()
    worker = door.start()
    assert door.said == [
        {
            "type": "INIT_SUCCESS",
            "session_id": SESSION_ID,
            "data": {
                "model_loaded": True,
                "available_videos": [n for names in FakeAvatar().clips.values() for n in names],
                "default_video": "idle_0",
                "streaming_started": True,
                "engine": "viseme",
                "video": {
                    "codec": "avc1.42C01E",
                    "format": "annexb",
                    "width": 512,
                    "height": 512,
                    "fps": 25,
                },
            },
        }
    ]
    worker.show()
    assert door.last["type"] == "VIDEO_FRAME"
    assert door.last["data"]["frame_timestamp"] == 0


def test_the_claim_names_the_avatar():
    door = Door()
    door.init()
    [claim] = door.claims
    assert (claim.avatar_folder, claim.avatar_version) == ("presenter", "v1")
    assert (claim.reply_channel, claim.session_id) == ("door", SESSION_ID)


def test_without_an_id_the_server_makes_one():
    door = Door()
    door.say("INIT", None, user_id=USER)
    door.take()
    assert door.last["session_id"] == door.session.session_id == "id-0"


def test_one_id_may_be_spelt_in_two_ways():
    door = Door()
    door.say("INIT", SESSION_ID.upper(), user_id=USER)
    door.take()
    assert door.last["session_id"] == SESSION_ID.upper()
    door.say("INTERRUPT", SESSION_ID.replace("-", ""))
    assert door.errors == []


def test_init_for_another_user_is_refused_and_may_be_repeated():
    door = Door()
    door.say("INIT", user_id="bob")
    assert door.errors == ["INVALID_MESSAGE"]
    assert door.last["session_id"] is None
    door.start()
    assert door.last["type"] == "INIT_SUCCESS"


def test_a_taken_id_is_refused_and_another_may_be_proposed():
    door = Door()
    door.opens_at_once = False
    door.init()
    door.do(door.session.id_taken(door.now_s))
    assert door.errors == ["INVALID_SESSION"]
    assert door.last["session_id"] is None
    door.opens_at_once = True
    door.say("INIT", OTHER_ID, user_id=USER)
    door.take()
    assert door.last["session_id"] == OTHER_ID


@pytest.mark.parametrize("reason", ["preparing", "failed", "none"])
def test_without_an_avatar_there_is_no_session(reason):
    door = Door()
    door.opens_at_once = False
    door.init()
    door.do(door.session.avatar_missing(reason, 40))
    error, ack = door.said
    assert error["data"]["code"] == "MODEL_NOT_FOUND"
    percent = {} if reason == "none" else {"percent": 40}
    assert error["data"]["details"] == {"reason": reason, **percent}
    assert ack["data"] == {"reason": "error"}
    assert door.closed == 4404


def test_without_init_the_connection_ends_after_ten_seconds():
    door = Door()
    door.wait(9.9)
    assert door.closed is None
    door.wait(0.2)
    assert door.said == [{"type": "CLOSE_ACK", "session_id": None, "data": {"reason": "timeout"}}]
    assert door.closed == 4408


# ---- the table of errors


def _before_init(door: Door) -> None:
    pass


def _opening(door: Door) -> None:
    door.opens_at_once = False
    door.init()


def _searching(door: Door) -> None:
    door.init()


def _performing(door: Door) -> None:
    door.start()


CHUNK = {"format": "pcm_s16le", "sample_rate": 16000, "channels": 1, "data": "AAAA"}
LATER = {
    "GENERATE": {"audio_chunk": {**CHUNK, "data": "AAA="}},
    "STATE_CHANGE": {"target_state": "idle"},
    "ACTION": {"action_index": 1},
    "INTERRUPT": {},
}


@pytest.mark.parametrize("type_", LATER)
@pytest.mark.parametrize("begin", [_before_init, _opening])
def test_before_the_session_is_open_nothing_else_is_accepted(begin, type_):
    door = Door()
    begin(door)
    door.say(type_, **LATER[type_])
    assert door.errors == ["INVALID_SESSION"]


@pytest.mark.parametrize("type_", LATER)
@pytest.mark.parametrize("session_id", [None, "", "x", OTHER_ID, "\ud83d"])
def test_another_session_id_is_refused(type_, session_id):
    door = Door()
    door.start()
    door.say(type_, session_id, **LATER[type_])
    assert door.errors == ["INVALID_MESSAGE" if session_id == "\ud83d" else "INVALID_SESSION"]
    assert door.closed is None


def test_a_missing_session_id_is_refused():
    door = Door()
    door.start()
    door.do(door.session.text('{"type": "INTERRUPT", "data": {}}', door.now_s))
    assert door.errors == ["INVALID_SESSION"]


def test_parsing_comes_before_the_session():
    door = Door()
    door.start()
    door.say("GENERATE", OTHER_ID)
    assert door.errors == ["INVALID_MESSAGE"]


@pytest.mark.parametrize("begin", [_opening, _searching, _performing])
def test_init_twice_is_refused(begin):
    door = Door()
    begin(door)
    door.init()
    assert door.errors == ["INVALID_SESSION"]


@pytest.mark.parametrize("begin", [_before_init, _opening, _searching, _performing])
@pytest.mark.parametrize("session_id", [None, SESSION_ID])
def test_close_and_pong_are_valid_at_any_time(begin, session_id):
    door = Door()
    begin(door)
    door.say("PONG", session_id)
    assert door.errors == []
    door.say("CLOSE", session_id)
    assert door.last["type"] == "CLOSE_ACK"
    assert door.last["data"] == {"reason": "client_request"}
    assert door.closed == 1000


def test_close_of_another_session_is_refused():
    door = Door()
    door.start()
    door.say("CLOSE", OTHER_ID)
    assert door.errors == ["INVALID_SESSION"]
    assert door.closed is None


@pytest.mark.parametrize("begin", [_before_init, _opening, _searching, _performing])
def test_a_wrong_message_never_ends_the_connection(begin):
    door = Door()
    begin(door)
    for wrong in ("", "[", "null", "x" * 70_000, '{"type": "NEWS"}', "[" * 60_000):
        door.do(door.session.text(wrong, door.now_s))
    door.do(door.session.binary(b"\0", door.now_s))
    assert door.errors == ["INVALID_MESSAGE"] * 7
    assert door.closed is None


def test_at_most_so_much_speech_may_wait():
    door = Door(rules=SessionLimits(max_queued_speech_s=1))
    worker = door.start()
    door.speak(numbered(0, 10_000))
    door.speak(numbered(10_000, 6_001))
    assert door.last["data"]["code"] == "RATE_LIMIT_EXCEEDED"
    assert door.last["data"]["details"] == {"queued_ms": 625, "limit_ms": 1_000}
    door.speak(numbered(10_000, 6_000))
    assert door.errors == ["RATE_LIMIT_EXCEEDED"]
    pieces = door.audio_to("w1")
    assert b"".join(p.pcm for p in pieces) == numbered(0, 16_000)
    worker.speak(0)
    door.speak(numbered(16_000, 640))
    assert door.audio_to("w1")[-1].position == 16_000


def test_too_many_messages_are_ignored_and_said_so_once_a_second():
    door = Door()
    door.start()
    door.said.clear()
    for _ in range(MESSAGE_BURST + 1_000):
        door.say("PONG")
    door.wait(0)
    door.wait(1.5)
    reports = [m["data"]["details"]["ignored"] for m in door.of_type("ERROR")]
    assert sum(reports) == 1_001
    assert len(reports) <= 2
    door.say("STATE_CHANGE", target_state="idle")
    assert door.last["type"] == "STATE_CHANGED"


# ---- clips and actions


def test_a_state_change_is_answered_with_what_will_be_seen():
    door = Door(avatar=FakeAvatar(clips={"idle": ("idle_0",), "speaking": ("speaking_0",)}))
    door.start()
    door.say("STATE_CHANGE", target_state="speaking", base_video="speaking_3")
    assert door.last == {
        "type": "STATE_CHANGED",
        "session_id": SESSION_ID,
        "data": {"current_state": "speaking", "current_video": "speaking_0"},
    }
    door.say("STATE_CHANGE", target_state="action")
    assert door.last["data"] == {"current_state": "idle", "current_video": "idle_0"}
    changes = [m.clip for m in door.told_to("w1") if isinstance(m, ClipChange)]
    assert changes == ["speaking_0", "idle_0"]


@pytest.mark.parametrize("base_video", ["idle_9", "", "talking", "speaking_1"])
def test_a_clip_that_does_not_exist_or_fit_is_refused(base_video):
    door = Door()
    door.start()
    door.say("STATE_CHANGE", target_state="idle", base_video=base_video)
    assert door.errors == ["INVALID_MESSAGE"]
    assert not any(isinstance(m, ClipChange) for m in door.told_to("w1"))


def test_speech_may_ask_for_a_clip():
    door = Door()
    door.start()
    for wanted in (
        {"type": "speaking", "base_video": "speaking_2"},
        {"type": "idle"},
        {"type": "speaking", "base_video": "idle_3"},
    ):
        door.speak(b"\0\0", video_state=wanted)
    door.speak(b"\0\0")
    assert [p.clip for p in door.audio_to("w1")] == ["speaking_2", "idle_0", "idle_3", None]


def test_speech_with_an_unknown_clip_is_refused_whole():
    door = Door()
    door.start()
    door.speak(b"\0\0", video_state={"type": "speaking", "base_video": "nope"})
    assert door.errors == ["INVALID_MESSAGE"]
    assert door.audio_to("w1") == []


@pytest.mark.parametrize(
    ("fields", "form", "type_"),
    [
        ({"action_index": 2}, "v1.1", "VIDEO_FRAME"),
        ({"action_type": "action_2"}, "v1.0", "ACTION_FRAME"),
    ],
)
def test_an_action_in_both_forms(fields, form, type_):
    door = Door()
    worker = door.start()
    worker.show()
    door.say("ACTION", **fields)
    assert door.last["type"] == "ACTION_TRIGGERED"
    assert door.last["data"] == {"action_index": 2, "inserted": True}
    [start] = [m for m in door.told_to("w1") if isinstance(m, ActionStart)]
    assert (start.clip, start.form) == ("action_2", form)
    action = {"state": "action", "clip": "action_2", "action_form": form}
    worker.show(action_progress=0.0, **action)
    assert door.last["type"] == type_
    door.say("ACTION", **fields)
    assert door.errors == ["INVALID_MESSAGE"]
    worker.show(action_progress=1.0, **action)
    assert door.last["type"] == type_
    assert ("action_progress" in door.last["data"]) == (form == "v1.0")
    door.say("ACTION", **fields)
    assert door.last["type"] == "ACTION_TRIGGERED"


def test_an_action_may_bring_speech():
    door = Door()
    door.start()
    door.say("ACTION", action_type="action_1", audio_chunk=CHUNK | {"data": "AAEAAA=="})
    assert [p.pcm for p in door.audio_to("w1")] == [b"\0\1\0\0"]


# ---- frames


def test_frames_that_show_speech_say_which():
    door = Door()
    worker = door.start()
    door.speak(numbered(0, 2_000))
    worker.speak(0)
    worker.speak(640)
    worker.show()
    stamps = [m["data"].get("audio_timestamp") for m in door.of_type("VIDEO_FRAME")]
    assert stamps == [0, 40, None]


def test_a_client_that_reads_nothing_costs_no_memory():
    door = Door()
    worker = door.start()
    worker.show(30)
    door.session.set_paused(True)
    door.said.clear()
    for _ in range(3_000):
        door.do(door.session.text("nonsense", door.now_s))
    worker.show(100)
    assert door.of_type("VIDEO_FRAME") == []
    assert len(door.said) == 1_000
    door.session.set_paused(False)
    worker.show(30)
    numbers = [m["data"]["frame_timestamp"] // 40 for m in door.of_type("VIDEO_FRAME")]
    assert numbers == list(range(150, 160))
    assert door.of_type("VIDEO_FRAME")[0]["data"]["keyframe"]
    door.do(door.session.text("nonsense", door.now_s))
    assert door.last["type"] == "ERROR"


# ---- time


def test_pings_come_every_thirty_seconds():
    door = Door()
    worker = door.start()
    for _ in range(4):
        worker.show(25 * 25)
    assert len(door.of_type("PING")) == 3


def test_a_silent_client_is_left_alone_unless_told_otherwise():
    door = Door()
    worker = door.start()
    for _ in range(10):
        worker.show(25 * 60)
    assert door.closed is None


def test_a_silent_client_may_be_sent_away():
    door = Door(rules=SessionLimits(idle_s=30))
    worker = door.start()
    worker.show(25 * 20)
    door.say("PONG")
    worker.show(25 * 29)
    assert door.closed is None
    worker.show(25 * 2)
    assert (door.last["data"], door.closed) == ({"reason": "timeout"}, 4408)


# ---- endings


@pytest.mark.parametrize(
    ("end", "code", "error", "reason"),
    [
        ("shut_down", 4012, None, "server_shutdown"),
        ("supersede", 4409, "INVALID_SESSION", "error"),
        ("fail", 4500, "INTERNAL_ERROR", "error"),
    ],
)
@pytest.mark.parametrize("begin", [_before_init, _opening, _searching, _performing])
def test_the_server_ends_a_session(begin, end, code, error, reason):
    door = Door()
    begin(door)
    door.said.clear()
    door.do(getattr(door.session, end)())
    assert door.errors == ([error] if error else [])
    assert (door.last["type"], door.last["data"]) == ("CLOSE_ACK", {"reason": reason})
    assert door.closed == code


def test_the_worker_is_told_of_the_end():
    door = Door()
    worker = door.start()
    door.do(door.session.disconnected())
    assert door.was_stopped("w1", worker.claim)


@pytest.mark.parametrize("begin", [_before_init, _opening, _searching, _performing])
def test_after_the_end_nothing_happens(begin):
    door = Door()
    begin(door)
    door.say("CLOSE", None)
    said, claims = len(door.said), len(door.claims)
    door.say("CLOSE")
    door.init()
    door.do(door.session.binary(b"\0", door.now_s))
    door.do(door.session.opened(door.avatar, door.now_s))
    door.do(door.session.shut_down())
    door.do(door.session.fail())
    door.do(door.session.disconnected())
    door.wait(100)
    for claim in door.claims:
        door.hear(frame(claim.claim_id, 0))
    assert (len(door.said), len(door.claims)) == (said, claims)


def test_a_worker_that_comes_after_the_end_is_sent_away():
    door = Door()
    door.init()
    door.say("CLOSE")
    door.hear(claimed(door.claims[0]))
    assert [type(m) for m in door.told_to("w1")] == [SessionStop]


@given(
    st.lists(
        st.sampled_from(["garbage", "binary", "wait", "pause", "resume", "frames", "lose", "claim"])
        | st.sampled_from(sorted(LATER))
        | st.just("INIT"),
        max_size=25,
    )
)
def test_whatever_happens_every_answer_is_well_formed(steps):
    door = Door()
    door.opens_at_once = True
    number = 0
    for step in steps:
        claim_id = door.claims[-1].claim_id if door.claims else "none"
        match step:
            case "garbage":
                door.do(door.session.text('{"type": ', door.now_s))
            case "binary":
                door.do(door.session.binary(b"\0", door.now_s))
            case "wait":
                door.wait(0.7)
            case "pause" | "resume":
                door.session.set_paused(step == "pause")
            case "frames":
                door.hear(frame(claim_id, number, is_idr=True, position=number * 640))
                number += 1
            case "claim" if door.claims:
                door.hear(claimed(door.claims[-1]))
            case "lose":
                door.wait(2.5)
            case "INIT":
                door.init()
            case _ if step in LATER:
                door.say(step, **LATER[step])
    for message in door.said:
        assert set(message) == {"type", "session_id", "data"}
        json.dumps(message)
    stamps = [m["data"]["frame_timestamp"] for m in door.of_type("VIDEO_FRAME")]
    assert stamps == sorted(set(stamps))
    assert sum(m["type"] == "INIT_SUCCESS" for m in door.said) <= 1


def test_internal_errors_leave_no_half_answers():
    door = Door()
    door.start()
    door.session._context.outbox.put(object())  # what a method that raised had left behind
    door.do(door.session.fail())
    assert [m["type"] for m in door.said] == ["INIT_SUCCESS", "ERROR", "CLOSE_ACK"]
