import json
import uuid
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.messages import ActionStart, ClipChange, SessionStop
from tests.streaming.fakes import (
    SESSION_ID,
    USER,
    FakeAvatar,
    FakeGateway,
    claimed,
    frame,
    numbered,
)

OTHER_ID = str(uuid.UUID(int=7))


def test_init_opens_the_session():
    gateway = FakeGateway()
    worker = gateway.start()
    assert gateway.sent_to_client == [
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
    assert gateway.last["type"] == "VIDEO_FRAME"
    assert gateway.last["data"]["frame_timestamp"] == 0


def test_the_claim_names_the_avatar():
    gateway = FakeGateway()
    gateway.init()
    [claim] = gateway.claims
    assert (claim.avatar_folder, claim.avatar_version) == ("presenter", "v1")
    assert (claim.reply_channel, claim.session_id) == ("gateway", SESSION_ID)


def test_without_an_id_the_server_makes_one():
    gateway = FakeGateway()
    gateway.client_sends("INIT", None, user_id=USER)
    gateway.worker_claims()
    assert gateway.last["session_id"] == gateway.session.session_id == "id-0"


def test_one_id_may_be_spelt_in_two_ways():
    gateway = FakeGateway()
    gateway.client_sends("INIT", SESSION_ID.upper(), user_id=USER)
    gateway.worker_claims()
    assert gateway.last["session_id"] == SESSION_ID.upper()
    gateway.client_sends("INTERRUPT", SESSION_ID.replace("-", ""))
    assert gateway.errors == []


def test_init_for_another_user_is_refused_and_may_be_repeated():
    gateway = FakeGateway()
    gateway.client_sends("INIT", user_id="bob")
    assert gateway.errors == ["INVALID_MESSAGE"]
    assert gateway.last["session_id"] is None
    gateway.start()
    assert gateway.last["type"] == "INIT_SUCCESS"


def test_a_taken_id_is_refused_and_another_may_be_proposed():
    gateway = FakeGateway()
    gateway.opens_at_once = False
    gateway.init()
    gateway.do(gateway.session.id_taken(gateway.now_s))
    assert gateway.errors == ["INVALID_SESSION"]
    assert gateway.last["session_id"] is None
    gateway.opens_at_once = True
    gateway.client_sends("INIT", OTHER_ID, user_id=USER)
    gateway.worker_claims()
    assert gateway.last["session_id"] == OTHER_ID


@pytest.mark.parametrize("reason", ["preparing", "failed", "none"])
def test_without_an_avatar_there_is_no_session(reason):
    gateway = FakeGateway()
    gateway.opens_at_once = False
    gateway.init()
    gateway.do(gateway.session.avatar_missing(reason, 40))
    error, ack = gateway.sent_to_client
    assert error["data"]["code"] == "MODEL_NOT_FOUND"
    percent = {} if reason == "none" else {"percent": 40}
    assert error["data"]["details"] == {"reason": reason, **percent}
    assert ack["data"] == {"reason": "error"}
    assert gateway.closed == 4404


def test_without_init_the_connection_ends_after_ten_seconds():
    gateway = FakeGateway()
    gateway.wait(9.9)
    assert gateway.closed is None
    gateway.wait(0.2)
    assert gateway.sent_to_client == [
        {"type": "CLOSE_ACK", "session_id": None, "data": {"reason": "timeout"}}
    ]
    assert gateway.closed == 4408


def _before_init(gateway: FakeGateway) -> None:
    pass


def _opening(gateway: FakeGateway) -> None:
    gateway.opens_at_once = False
    gateway.init()


def _searching(gateway: FakeGateway) -> None:
    gateway.init()


def _performing(gateway: FakeGateway) -> None:
    gateway.start()


CHUNK = {"format": "pcm_s16le", "sample_rate": 16000, "channels": 1, "data": "AAAA"}
LATER: dict[str, dict[str, Any]] = {
    "GENERATE": {"audio_chunk": {**CHUNK, "data": "AAA="}},
    "STATE_CHANGE": {"target_state": "idle"},
    "ACTION": {"action_index": 1},
    "INTERRUPT": {},
}


@pytest.mark.parametrize("type_", LATER)
@pytest.mark.parametrize("begin", [_before_init, _opening])
def test_before_the_session_is_open_nothing_else_is_accepted(begin, type_):
    gateway = FakeGateway()
    begin(gateway)
    gateway.client_sends(type_, **LATER[type_])
    assert gateway.errors == ["INVALID_SESSION"]


@pytest.mark.parametrize("type_", LATER)
@pytest.mark.parametrize("session_id", [None, "", "x", OTHER_ID, "\ud83d"])
def test_another_session_id_is_refused(type_, session_id):
    gateway = FakeGateway()
    gateway.start()
    gateway.client_sends(type_, session_id, **LATER[type_])
    assert gateway.errors == ["INVALID_MESSAGE" if session_id == "\ud83d" else "INVALID_SESSION"]
    assert gateway.closed is None


def test_a_missing_session_id_is_refused():
    gateway = FakeGateway()
    gateway.start()
    gateway.do(gateway.session.text('{"type": "INTERRUPT", "data": {}}', gateway.now_s))
    assert gateway.errors == ["INVALID_SESSION"]


def test_parsing_comes_before_the_session():
    gateway = FakeGateway()
    gateway.start()
    gateway.client_sends("GENERATE", OTHER_ID)
    assert gateway.errors == ["INVALID_MESSAGE"]


@pytest.mark.parametrize("begin", [_opening, _searching, _performing])
def test_init_twice_is_refused(begin):
    gateway = FakeGateway()
    begin(gateway)
    gateway.init()
    assert gateway.errors == ["INVALID_SESSION"]


@pytest.mark.parametrize("begin", [_before_init, _opening, _searching, _performing])
@pytest.mark.parametrize("session_id", [None, SESSION_ID])
def test_close_and_pong_are_valid_at_any_time(begin, session_id):
    gateway = FakeGateway()
    begin(gateway)
    gateway.client_sends("PONG", session_id)
    assert gateway.errors == []
    gateway.client_sends("CLOSE", session_id)
    assert gateway.last["type"] == "CLOSE_ACK"
    assert gateway.last["data"] == {"reason": "client_request"}
    assert gateway.closed == 1000


def test_close_of_another_session_is_refused():
    gateway = FakeGateway()
    gateway.start()
    gateway.client_sends("CLOSE", OTHER_ID)
    assert gateway.errors == ["INVALID_SESSION"]
    assert gateway.closed is None


@pytest.mark.parametrize("begin", [_before_init, _opening, _searching, _performing])
def test_a_wrong_message_never_ends_the_connection(begin):
    gateway = FakeGateway()
    begin(gateway)
    for wrong in ("", "[", "null", "x" * 70_000, '{"type": "NEWS"}', "[" * 60_000):
        gateway.do(gateway.session.text(wrong, gateway.now_s))
    gateway.do(gateway.session.binary(b"\0", gateway.now_s))
    assert gateway.errors == ["INVALID_MESSAGE"] * 7
    assert gateway.closed is None


def test_a_state_change_is_answered_with_what_will_be_seen():
    gateway = FakeGateway(
        avatar=FakeAvatar(clips={"idle": ("idle_0",), "speaking": ("speaking_0",)})
    )
    gateway.start()
    gateway.client_sends("STATE_CHANGE", target_state="speaking", base_video="speaking_3")
    assert gateway.last == {
        "type": "STATE_CHANGED",
        "session_id": SESSION_ID,
        "data": {"current_state": "speaking", "current_video": "speaking_0"},
    }
    gateway.client_sends("STATE_CHANGE", target_state="action")
    assert gateway.last["data"] == {"current_state": "idle", "current_video": "idle_0"}
    changes = [m.clip for m in gateway.sent_to_worker("w1") if isinstance(m, ClipChange)]
    assert changes == ["speaking_0", "idle_0"]


@pytest.mark.parametrize("base_video", ["idle_9", "", "talking", "speaking_1"])
def test_a_clip_that_does_not_exist_or_fit_is_refused(base_video):
    gateway = FakeGateway()
    gateway.start()
    gateway.client_sends("STATE_CHANGE", target_state="idle", base_video=base_video)
    assert gateway.errors == ["INVALID_MESSAGE"]
    assert not any(isinstance(m, ClipChange) for m in gateway.sent_to_worker("w1"))


def test_speech_may_ask_for_a_clip():
    gateway = FakeGateway()
    gateway.start()
    for wanted in (
        {"type": "speaking", "base_video": "speaking_2"},
        {"type": "idle"},
        {"type": "speaking", "base_video": "idle_3"},
    ):
        gateway.client_speaks(b"\0\0", video_state=wanted)
    gateway.client_speaks(b"\0\0")
    assert [p.clip for p in gateway.audio_to("w1")] == ["speaking_2", "idle_0", "idle_3", None]


def test_speech_with_an_unknown_clip_is_refused_whole():
    gateway = FakeGateway()
    gateway.start()
    gateway.client_speaks(b"\0\0", video_state={"type": "speaking", "base_video": "nope"})
    assert gateway.errors == ["INVALID_MESSAGE"]
    assert gateway.audio_to("w1") == []


@pytest.mark.parametrize(
    ("fields", "form", "type_"),
    [
        ({"action_index": 2}, "v1.1", "VIDEO_FRAME"),
        ({"action_type": "action_2"}, "v1.0", "ACTION_FRAME"),
    ],
)
def test_an_action_in_both_forms(fields, form, type_):
    gateway = FakeGateway()
    worker = gateway.start()
    worker.show()
    gateway.client_sends("ACTION", **fields)
    assert gateway.last["type"] == "ACTION_TRIGGERED"
    assert gateway.last["data"] == {"action_index": 2, "inserted": True}
    [start] = [m for m in gateway.sent_to_worker("w1") if isinstance(m, ActionStart)]
    assert (start.clip, start.form) == ("action_2", form)
    action = {"state": "action", "clip": "action_2", "action_form": form}
    worker.show(action_progress=0.009174311926605505, **action)
    assert gateway.last["type"] == type_
    assert gateway.last["data"].get("action_progress") == (0.0092 if form == "v1.0" else None)
    gateway.client_sends("ACTION", **fields)
    assert gateway.errors == ["INVALID_MESSAGE"]
    worker.show(action_progress=1.0, **action)
    assert gateway.last["type"] == type_
    assert ("action_progress" in gateway.last["data"]) == (form == "v1.0")
    gateway.client_sends("ACTION", **fields)
    assert gateway.last["type"] == "ACTION_TRIGGERED"


def test_an_action_may_bring_speech():
    gateway = FakeGateway()
    gateway.start()
    gateway.client_sends("ACTION", action_type="action_1", audio_chunk=CHUNK | {"data": "AAEAAA=="})
    assert [p.pcm for p in gateway.audio_to("w1")] == [b"\0\1\0\0"]


def test_frames_that_show_speech_say_which():
    gateway = FakeGateway()
    worker = gateway.start()
    gateway.client_speaks(numbered(0, 2_000))
    worker.speak(0)
    worker.speak(640)
    worker.show()
    stamps = [m["data"].get("audio_timestamp") for m in gateway.of_type("VIDEO_FRAME")]
    assert stamps == [0, 40, None]


def test_pings_come_every_thirty_seconds():
    gateway = FakeGateway()
    worker = gateway.start()
    for _ in range(4):
        worker.show(25 * 25)
    assert len(gateway.of_type("PING")) == 3


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
    gateway = FakeGateway()
    begin(gateway)
    gateway.sent_to_client.clear()
    gateway.do(getattr(gateway.session, end)())
    assert gateway.errors == ([error] if error else [])
    assert (gateway.last["type"], gateway.last["data"]) == ("CLOSE_ACK", {"reason": reason})
    assert gateway.closed == code


def test_the_worker_is_reported_of_the_end():
    gateway = FakeGateway()
    worker = gateway.start()
    gateway.do(gateway.session.disconnected())
    assert gateway.was_stopped("w1", worker.claim)


@pytest.mark.parametrize("begin", [_before_init, _opening, _searching, _performing])
def test_after_the_end_nothing_happens(begin):
    gateway = FakeGateway()
    begin(gateway)
    gateway.client_sends("CLOSE", None)
    said, claims = len(gateway.sent_to_client), len(gateway.claims)
    gateway.client_sends("CLOSE")
    gateway.init()
    gateway.do(gateway.session.binary(b"\0", gateway.now_s))
    gateway.do(gateway.session.opened(gateway.avatar, gateway.now_s))
    gateway.do(gateway.session.shut_down())
    gateway.do(gateway.session.fail())
    gateway.do(gateway.session.disconnected())
    gateway.wait(100)
    for claim in gateway.claims:
        gateway.worker_sends(frame(claim.claim_id, 0))
    assert (len(gateway.sent_to_client), len(gateway.claims)) == (said, claims)


def test_a_worker_that_comes_after_the_end_is_sent_away():
    gateway = FakeGateway()
    gateway.init()
    gateway.client_sends("CLOSE")
    gateway.worker_sends(claimed(gateway.claims[0]))
    assert [type(m) for m in gateway.sent_to_worker("w1")] == [SessionStop]


@given(
    st.lists(
        st.sampled_from(["garbage", "binary", "wait", "pause", "resume", "frames", "lose", "claim"])
        | st.sampled_from(sorted(LATER))
        | st.just("INIT"),
        max_size=25,
    )
)
def test_whatever_happens_every_answer_is_well_formed(steps):
    gateway = FakeGateway()
    gateway.opens_at_once = True
    number = 0
    for step in steps:
        claim_id = gateway.claims[-1].claim_id if gateway.claims else "none"
        match step:
            case "garbage":
                gateway.do(gateway.session.text('{"type": ', gateway.now_s))
            case "binary":
                gateway.do(gateway.session.binary(b"\0", gateway.now_s))
            case "wait":
                gateway.wait(0.7)
            case "pause" | "resume":
                gateway.session.set_paused(step == "pause")
            case "frames":
                gateway.worker_sends(frame(claim_id, number, is_idr=True, position=number * 640))
                number += 1
            case "claim" if gateway.claims:
                gateway.worker_sends(claimed(gateway.claims[-1]))
            case "lose":
                gateway.wait(2.5)
            case "INIT":
                gateway.init()
            case _ if step in LATER:
                gateway.client_sends(step, **LATER[step])
    for message in gateway.sent_to_client:
        assert set(message) == {"type", "session_id", "data"}
        json.dumps(message)
    stamps = [m["data"]["frame_timestamp"] for m in gateway.of_type("VIDEO_FRAME")]
    assert stamps == sorted(set(stamps))
    assert sum(m["type"] == "INIT_SUCCESS" for m in gateway.sent_to_client) <= 1


def test_internal_errors_leave_no_half_answers():
    gateway = FakeGateway()
    gateway.start()
    gateway.session._context.outbox.put(
        cast(Any, object())
    )  # what a method that raised had left behind
    gateway.do(gateway.session.fail())
    assert [m["type"] for m in gateway.sent_to_client] == ["INIT_SUCCESS", "ERROR", "CLOSE_ACK"]
