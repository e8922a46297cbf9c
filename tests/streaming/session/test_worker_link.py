from typing import Any

import pytest

from inference.messages import (
    ActionStart,
    AudioChunk,
    ClipChange,
    SessionAccepted,
    SessionAlive,
    SessionEnded,
    SessionRefused,
    SpeechFailed,
    SpeechInterrupt,
    SpeechInterrupted,
)
from streaming.session.claims import MAX_AVATAR_REFUSALS
from streaming.session.worker_link import ACTION_WITHIN_FRAMES, MAX_FAULTS
from tests.streaming.fakes import SESSION_ID, FakeGateway, chunk, claimed, frame, numbered, text


def test_the_first_answer_wins_and_others_are_stopped():
    gateway = FakeGateway()
    gateway.init()
    [claim] = gateway.claims
    gateway.worker_sends(claimed(claim, "w1"))
    gateway.worker_sends(claimed(claim, "w2"))
    assert gateway.was_accepted("w1", claim)
    assert gateway.was_stopped("w2", claim)
    assert not gateway.was_stopped("w1", claim)


def test_an_answer_that_comes_twice_changes_nothing():
    gateway = FakeGateway()
    worker = gateway.start()
    gateway.worker_sends(claimed(worker.claim, "w1"))
    worker.show()
    assert not gateway.was_stopped("w1", worker.claim)
    assert gateway.frame_numbers == [0]


def test_without_a_worker_the_client_is_reported_once_and_claims_continue():
    gateway = FakeGateway()
    gateway.init()
    gateway.wait(9)
    assert [(m["data"]["code"], m["data"]["details"]) for m in gateway.of_type("ERROR")] == [
        ("PROCESSING_ERROR", {"reason": "no_worker", "retry_after_ms": 2_000})
    ]
    assert len(gateway.claims) == 5
    assert len({claim.claim_id for claim in gateway.claims}) == 5
    gateway.worker_claims()
    assert gateway.last["type"] == "INIT_SUCCESS"
    assert gateway.closed is None


def test_an_answer_to_an_older_claim_is_stopped():
    gateway = FakeGateway()
    gateway.init()
    gateway.wait(2.5)
    old, new = gateway.claims
    gateway.worker_sends(claimed(old, "w1"))
    assert gateway.was_stopped("w1", old)
    gateway.worker_sends(claimed(new, "w2"))
    assert gateway.was_accepted("w2", new)


def test_frames_of_other_claims_never_reach_the_client():
    gateway = FakeGateway()
    gateway.init()
    gateway.wait(2.5)
    worker = gateway.worker_claims()
    worker.show(3)
    for claim_id in ("", "other", gateway.claims[0].claim_id):
        gateway.worker_sends(frame(claim_id, 3, is_idr=True, position=0))
    worker.show(3)
    assert gateway.frame_numbers == [0, 1, 2, 3, 4, 5]


def refuse(gateway: FakeGateway, reason: Any) -> None:
    gateway.worker_sends(
        SessionRefused(claim_id=gateway.claims[-1].claim_id, reason=reason, message="sorry")
    )


def test_full_workers_are_asked_again_and_then_the_client_is_sent_away():
    gateway = FakeGateway()
    gateway.init()
    for _ in range(7):
        refuse(gateway, "capacity")
        gateway.wait(0.25)
    assert len(gateway.claims) == 8
    assert gateway.closed is None
    refuse(gateway, "capacity")
    gateway.wait(0.25)
    assert gateway.errors == ["RATE_LIMIT_EXCEEDED"]
    assert gateway.of_type("ERROR")[0]["data"]["details"] == {
        "reason": "capacity",
        "retry_after_ms": 5_000,
    }
    assert gateway.closed == 4429


def test_an_avatar_that_no_worker_can_open_ends_the_session():
    gateway = FakeGateway()
    gateway.init()
    gateway.worker_sends(SessionRefused(claim_id="other", reason="avatar", message="sorry"))
    assert gateway.closed is None
    refuse(gateway, "avatar")
    assert gateway.errors == ["MODEL_NOT_FOUND"]
    assert gateway.closed == 4404


def test_a_running_session_survives_refusals():
    gateway = FakeGateway()
    gateway.start().show(5)
    gateway.wait(1.5)
    for reason in ("capacity", "avatar"):
        refuse(gateway, reason)
        gateway.wait(2.1)
    assert gateway.errors == ["PROCESSING_ERROR"]
    assert gateway.closed is None
    gateway.worker_claims("w2").show()
    assert gateway.last["type"] == "VIDEO_FRAME"


def test_what_was_wanted_since_the_claim_reaches_the_worker():
    gateway = FakeGateway()
    gateway.init()
    gateway.client_speaks(numbered(0, 100))
    gateway.client_sends("INTERRUPT")
    gateway.client_sends("STATE_CHANGE", target_state="speaking")
    gateway.client_sends("ACTION", action_index=1)
    gateway.client_speaks(numbered(100, 50))
    assert gateway.of_type("INTERRUPTED")[0]["data"] == {"dropped_ms": 6}
    gateway.worker_claims()
    kinds = [SessionAccepted, ActionStart, AudioChunk]
    assert [type(m) for m in gateway.sent_to_worker("w1")] == kinds
    [piece] = gateway.audio_to("w1")
    assert (piece.position, piece.pcm, piece.generation) == (100, numbered(100, 50), 1)
    accepted = gateway.accepted("w1")
    assert (accepted.generation, accepted.next_position) == (1, 100)
    assert accepted.clip == "speaking_0"


def test_a_silent_worker_is_replaced():
    gateway = FakeGateway()
    old = gateway.start()
    gateway.client_sends("STATE_CHANGE", target_state="idle", base_video="idle_4")
    gateway.client_speaks(numbered(0, 6_400))
    for k in range(5):
        old.speak(k * 640)
    gateway.wait(1.2)
    assert gateway.was_stopped("w1", old.claim)
    claim = gateway.claims[-1]
    assert claim.claim_id != old.claim.claim_id
    assert (old.claim.is_new, claim.is_new) == (True, False)
    new = gateway.worker_claims("w2")
    assert new.accepted.next_position == 3_200
    assert new.accepted.clip == "idle_4"
    assert new.accepted.next_frame == 35  # frame 4 came at 160 ms, 1.24 s ago
    assert b"".join(p.pcm for p in gateway.audio_to("w2")) == numbered(3_200, 3_200)
    old.show(2)
    new.speak(3_200)
    assert gateway.frame_numbers == [0, 1, 2, 3, 4, 35]
    assert len(gateway.of_type("INIT_SUCCESS")) == 1
    assert gateway.errors == []


def test_a_worker_that_gives_the_session_back_is_replaced_at_once():
    gateway = FakeGateway()
    old = gateway.start()
    old.show(3)
    gateway.worker_sends(SessionEnded(claim_id="other", reason="drain"))
    assert len(gateway.claims) == 1
    gateway.worker_sends(SessionEnded(claim_id=old.claim.claim_id, reason="drain"))
    assert len(gateway.claims) == 2
    gateway.worker_claims("w2").show(2)
    assert gateway.frame_numbers == [0, 1, 2, 3, 4]


def test_a_worker_that_answers_late_begins_where_it_is_due():
    gateway = FakeGateway()
    gateway.start().show(10)
    gateway.wait(1.0)
    gateway.wait(1.9)
    late = gateway.worker_claims("w2")
    assert late.accepted.next_frame == pytest.approx(10 + 2.9 / 0.04, abs=1)


def test_the_worker_learns_that_the_gateway_is_alive():
    gateway = FakeGateway()
    worker = gateway.start()
    for _ in range(11 * 25):
        worker.show()
    alive = [m for m in gateway.sent_to_worker("w1") if isinstance(m, SessionAlive)]
    assert len(alive) == 2


def test_a_process_that_was_held_up_itself_reads_on_before_it_judges():
    gateway = FakeGateway()
    worker = gateway.start()
    worker.show(2)
    gateway.now_s += 3.0
    gateway.do(gateway.session.timer(gateway.now_s))
    assert len(gateway.claims) == 1
    worker.show(3)
    gateway.wait(0.5)
    assert len(gateway.claims) == 1
    gateway.wait(1.0)
    assert len(gateway.claims) == 2


def test_an_unfinished_action_begins_again():
    gateway = FakeGateway()
    old = gateway.start()
    gateway.client_sends("ACTION", action_index=1)
    old.show(5, state="action", clip="action_1", action_progress=0.5, action_form="v1.1")
    gateway.wait(1.2)
    new = gateway.worker_claims("w2")
    assert any(isinstance(m, ActionStart) for m in gateway.sent_to_worker("w2"))
    new.show(state="action", clip="action_1", action_progress=1.0, action_form="v1.1")
    gateway.wait(1.2)
    gateway.worker_claims("w3")
    assert not any(isinstance(m, ActionStart) for m in gateway.sent_to_worker("w3"))


def test_an_action_whose_last_frame_was_lost_is_over():
    gateway = FakeGateway()
    worker = gateway.start()
    gateway.client_sends("ACTION", action_index=1)
    worker.show(20)
    worker.show(5, state="action", clip="action_1", action_progress=0.5, action_form="v1.1")
    gateway.client_sends("ACTION", action_index=2)
    assert gateway.errors == ["INVALID_MESSAGE"]
    worker.show()
    gateway.client_sends("ACTION", action_index=2)
    assert gateway.errors == ["INVALID_MESSAGE"]
    assert gateway.last["type"] == "ACTION_TRIGGERED"


def test_an_action_that_never_begins_is_given_up():
    gateway = FakeGateway()
    worker = gateway.start()
    gateway.client_sends("ACTION", action_index=1)
    worker.show(ACTION_WITHIN_FRAMES)
    gateway.client_sends("ACTION", action_index=2)
    assert gateway.errors == ["INVALID_MESSAGE"]
    worker.show(2)
    gateway.client_sends("ACTION", action_index=2)
    assert gateway.last["type"] == "ACTION_TRIGGERED"


def test_a_worker_that_cannot_be_reached_is_replaced():
    gateway = FakeGateway()
    worker = gateway.start()
    change = ClipChange(claim_id=worker.claim.claim_id, clip="idle_1")
    gateway.do(gateway.session.undelivered(change, gateway.now_s))
    assert len(gateway.claims) == 2
    gateway.do(gateway.session.undelivered(change, gateway.now_s))
    assert len(gateway.claims) == 2


def test_a_full_channel_is_tried_again_and_nothing_is_lost():
    gateway = FakeGateway()
    worker = gateway.start()
    gateway.full_channels.add("w1")
    for n in range(5):
        gateway.client_speaks(numbered(n * 640, 640))
        worker.show()
    assert gateway.audio_to("w1") == []
    gateway.full_channels.clear()
    worker.show(3)
    assert b"".join(p.pcm for p in gateway.audio_to("w1")) == numbered(0, 3_200)


def test_a_whole_sentence_is_handed_on_as_it_is_shown():
    gateway = FakeGateway()
    worker = gateway.start()
    for n in range(10):
        gateway.client_speaks(numbered(n * 16_000, 16_000))
    assert sum(len(p.pcm) for p in gateway.audio_to("w1")) == 64_000
    for k in range(250):
        worker.speak(k * 640)
    pieces = gateway.audio_to("w1")
    assert b"".join(p.pcm for p in pieces) == numbered(0, 160_000)
    assert [p.position for p in pieces[2:]] == [32_000 + n * 640 for n in range(200)]


def test_what_is_handed_on_is_decided_when_its_turn_comes():
    gateway = FakeGateway()
    worker = gateway.start()
    first, second = (chunk(numbered(n, 640)) for n in (0, 640))
    waiting = gateway.session.text(text("GENERATE", audio_chunk=first), gateway.now_s)
    waiting += gateway.session.text(text("INTERRUPT"), gateway.now_s)
    waiting += gateway.session.text(text("GENERATE", audio_chunk=second), gateway.now_s)
    gateway.do(waiting)
    _, interrupt, piece = gateway.sent_to_worker("w1")
    assert isinstance(interrupt, SpeechInterrupt)
    assert (piece.position, piece.pcm, piece.generation) == (640, numbered(640, 640), 1)

    waiting = gateway.session.text(text("GENERATE", audio_chunk=chunk(b"\0\0")), gateway.now_s)
    gateway.worker_sends(SessionEnded(claim_id=worker.claim.claim_id, reason="drain"))
    gateway.do(waiting)
    assert len(gateway.audio_to("w1")) == 1, "nothing more for a worker that is gone"


def test_an_interrupt_is_answered_behind_the_last_old_frame():
    gateway = FakeGateway()
    worker = gateway.start()
    gateway.client_speaks(numbered(0, 16_000))
    worker.speak(0)
    gateway.client_sends("INTERRUPT")
    assert gateway.of_type("INTERRUPTED") == []
    worker.speak(640)
    gateway.worker_sends(
        SpeechInterrupted(claim_id=worker.claim.claim_id, generation=1, position=1_280)
    )
    assert gateway.last == {
        "type": "INTERRUPTED",
        "session_id": SESSION_ID,
        "data": {"dropped_ms": 920},
    }
    gateway.client_speaks(numbered(16_000, 640))
    piece = gateway.audio_to("w1")[-1]
    assert (piece.position, piece.generation) == (16_000, 1)


def test_an_interrupt_of_nothing_dropped_nothing():
    gateway = FakeGateway()
    worker = gateway.start()
    gateway.client_sends("INTERRUPT")
    gateway.worker_sends(
        SpeechInterrupted(claim_id=worker.claim.claim_id, generation=1, position=0)
    )
    assert gateway.last["data"] == {"dropped_ms": 0}


@pytest.mark.parametrize("cause", ["no answer", "worker lost"])
def test_an_interrupt_is_answered_whatever_the_worker_does(cause):
    gateway = FakeGateway()
    worker = gateway.start()
    gateway.client_speaks(numbered(0, 16_000))
    worker.speak(0)
    gateway.client_sends("INTERRUPT")
    if cause == "no answer":
        worker.show(26)
    else:
        gateway.wait(1.1)
    assert [m["data"] for m in gateway.of_type("INTERRUPTED")] == [{"dropped_ms": 960}]
    gateway.worker_sends(
        SpeechInterrupted(claim_id=worker.claim.claim_id, generation=1, position=640)
    )
    assert len(gateway.of_type("INTERRUPTED")) == 1


def test_speech_after_an_interrupt_is_not_taken_for_shown_by_an_old_frame():
    gateway = FakeGateway()
    worker = gateway.start()
    gateway.client_speaks(numbered(0, 1_000))
    worker.speak(0)
    gateway.client_sends("INTERRUPT")
    gateway.client_speaks(numbered(1_000, 1_000))
    worker.speak(640, samples=360)
    gateway.wait(1.1)
    gateway.worker_claims("w2")
    assert gateway.accepted("w2").next_position == 1_000


def test_failed_speech_is_reported():
    gateway = FakeGateway()
    worker = gateway.start()
    gateway.worker_sends(SpeechFailed(claim_id="other", reason="x"))
    gateway.worker_sends(SpeechFailed(claim_id=worker.claim.claim_id, reason="out_of_memory"))
    [error] = gateway.of_type("ERROR")
    assert error["data"]["code"] == "PROCESSING_ERROR"
    assert error["data"]["details"] == {"reason": "out_of_memory"}


def test_an_engine_that_is_late_is_reported_in_words():
    gateway = FakeGateway()
    worker = gateway.start()
    gateway.worker_sends(SpeechFailed(claim_id=worker.claim.claim_id, reason="engine_late"))
    [error] = gateway.of_type("ERROR")
    assert error["data"]["details"] == {"reason": "engine_late"}
    assert "too busy" in error["data"]["message"]


def test_a_session_that_fails_repeatedly_ends():
    gateway = FakeGateway()
    worker = gateway.start()
    waits = []
    for _ in range(MAX_FAULTS - 1):
        claims = len(gateway.claims)
        gateway.worker_sends(SessionEnded(claim_id=worker.claim.claim_id, reason="error"))
        waited_s = 0.0
        while len(gateway.claims) == claims:
            gateway.wait(0.05)
            waited_s += 0.05
        waits.append(waited_s)
        worker = gateway.worker_claims("w1")
    assert waits == pytest.approx([0.0, 0.25, 0.5, 1.0, 2.0], abs=0.06)
    gateway.worker_sends(SessionEnded(claim_id=worker.claim.claim_id, reason="error"))
    assert (gateway.errors, gateway.closed) == (["INTERNAL_ERROR"], 4500)


def test_an_avatar_that_is_gone_ends_the_session():
    gateway = FakeGateway()
    worker = gateway.start()
    worker.show()
    gateway.worker_sends(SessionEnded(claim_id=worker.claim.claim_id, reason="drain"))
    for _ in range(MAX_AVATAR_REFUSALS):
        assert gateway.closed is None
        claim = gateway.claims[-1]
        gateway.worker_sends(
            SessionRefused(claim_id=claim.claim_id, reason="avatar", message="gone")
        )
        gateway.wait(0.3)
    assert gateway.closed == 4404
    assert gateway.of_type("ERROR")[-1]["data"]["code"] == "MODEL_NOT_FOUND"
