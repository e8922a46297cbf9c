"""What clients of version 1.2 are sent, and that clients of 1.1 are not sent it."""

import base64
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.messages import (
    ClipChange,
    ListeningChange,
    SpeechEnd,
    SpeechInterrupted,
    SpeechSkipped,
)
from streaming.session.limits import SessionLimits
from streaming.session.utterances import MAX_UNFINISHED
from tests.streaming.fakes import FakeAvatar, FakeGateway, FakeWorker, chunk, numbered

NEW_TYPES = ("SPEECH_STARTED", "SPEECH_FINISHED", "WARNING", "FRAME_INFO")


def open_1_2(rules: SessionLimits | None = None, **data: object) -> tuple[FakeGateway, FakeWorker]:
    gateway = FakeGateway(rules)
    gateway.init(protocol_version="1.2", **data)
    return gateway, gateway.worker_claims()


def events(gateway: FakeGateway) -> list[tuple[Any, ...]]:
    told: list[tuple[Any, ...]] = []
    for message in gateway.of_type("SPEECH_STARTED", "SPEECH_FINISHED", "INTERRUPTED"):
        data = message["data"]
        match message["type"]:
            case "SPEECH_STARTED":
                told.append(("started", data["utterance_id"], data["audio_timestamp"]))
            case "SPEECH_FINISHED":
                told.append(
                    ("finished", data["utterance_id"], data["played_ms"], data["interrupted"])
                )
            case _:
                told.append(("dropped", data["dropped_ms"]))
    return told


def test_init_success_names_the_version_and_the_limits():
    gateway, _ = open_1_2(SessionLimits(max_queued_speech_s=30, idle_s=90, max_session_s=600))
    data = gateway.sent_to_client[0]["data"]
    assert data["protocol_version"] == "1.2"
    assert data["limits"] == {
        "max_message_bytes": 1_048_576,
        "max_audio_ms": 10_000,
        "max_queued_speech_ms": 30_000,
        "session_idle_s": 90,
        "max_session_s": 600,
        "sample_rates": [8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000],
    }


def test_init_success_says_what_clips_show():
    gateway = FakeGateway(avatar=FakeAvatar(titles={"idle_3": "nod"}))
    gateway.init(protocol_version="1.2")
    gateway.worker_claims()
    assert gateway.sent_to_client[0]["data"]["clip_titles"] == {"idle_3": "nod"}
    older = FakeGateway(avatar=FakeAvatar(titles={"idle_3": "nod"}))
    older.init()
    older.worker_claims()
    assert "clip_titles" not in older.sent_to_client[0]["data"]


def test_an_utterance_is_followed_to_the_screen():
    gateway, worker = open_1_2()
    gateway.client_speaks(numbered(0, 1_600), utterance_id="a")
    worker.show(2)
    worker.speak(0)
    worker.speak(640)
    worker.speak(1_280, samples=320)
    gateway.wait(0.3)
    worker.show()
    kinds = [message["type"] for message in gateway.sent_to_client[1:]]
    assert kinds[2:6] == ["SPEECH_STARTED", "VIDEO_FRAME", "VIDEO_FRAME", "VIDEO_FRAME"]
    assert kinds[6] == "SPEECH_FINISHED"
    assert events(gateway) == [("started", "a", 0), ("finished", "a", 100, False)]
    assert gateway.of_type("SPEECH_STARTED")[0]["data"]["frame_timestamp"] == 80
    assert gateway.of_type("SPEECH_FINISHED")[0]["data"]["frame_timestamp"] == 160


def test_the_end_of_speech_ends_at_once_and_the_worker_is_reported():
    gateway, worker = open_1_2()
    gateway.client_speaks(numbered(0, 1_000), utterance_id="a")
    gateway.client_sends("END_OF_SPEECH", utterance_id="a")
    assert gateway.sent_to_worker("w1")[-1] == SpeechEnd(
        claim_id=worker.claim.claim_id, position=1_000, generation=0
    )
    worker.speak(0)
    worker.speak(640, samples=360)
    assert events(gateway) == [("started", "a", 0), ("finished", "a", 62, False)]
    gateway.client_speaks(numbered(1_000, 640), utterance_id="a")
    assert gateway.last["data"]["details"] == {
        "reason": "utterance_over",
        "utterance_id": "a",
        "chunk": 1,
    }
    gateway.client_speaks(numbered(1_000, 640), utterance_id="a")
    assert len(gateway.errors) == 1


def test_another_id_ends_the_utterance_before_it():
    gateway, worker = open_1_2()
    for utterance_id, first in (("a", 0), ("b", 640), (None, 1_280)):
        gateway.client_speaks(numbered(first, 640), utterance_id=utterance_id)
    ends = [m.position for m in gateway.sent_to_worker("w1") if isinstance(m, SpeechEnd)]
    assert ends == [640, 1_280]
    for position in (0, 640, 1_280):
        worker.speak(position)
    gateway.wait(0.3)
    assert events(gateway) == [
        ("started", "a", 0),
        ("finished", "a", 40, False),
        ("started", "b", 40),
        ("finished", "b", 40, False),
        ("started", "#3", 80),
        ("finished", "#3", 40, False),
    ]


def test_an_interrupt_finishes_every_queued_utterance_before_it_is_answered():
    gateway, worker = open_1_2()
    gateway.client_speaks(numbered(0, 6_400), utterance_id="a")
    gateway.client_speaks(numbered(6_400, 6_400), utterance_id="b")
    worker.speak(0)
    gateway.client_sends("INTERRUPT")
    worker.speak(640)  # left before the interrupt reached the worker
    gateway.worker_sends(
        SpeechInterrupted(claim_id=worker.claim.claim_id, generation=1, position=1_280)
    )
    assert events(gateway) == [
        ("started", "a", 0),
        ("finished", "a", 80, True),
        ("finished", "b", 0, True),
        ("dropped", 720),
    ]


def test_the_end_of_the_session_finishes_what_is_left():
    gateway, worker = open_1_2()
    gateway.client_speaks(numbered(0, 6_400), utterance_id="a")
    worker.speak(0)
    gateway.client_sends("CLOSE")
    assert [m["type"] for m in gateway.sent_to_client[-2:]] == ["SPEECH_FINISHED", "CLOSE_ACK"]
    assert events(gateway)[-1] == ("finished", "a", 40, True)


def test_frames_that_a_slow_client_is_not_sent_count_as_played():
    gateway, worker = open_1_2()
    gateway.client_speaks(numbered(0, 1_280), utterance_id="a")
    worker.speak(0)
    gateway.session.set_paused(True)
    worker.speak(640)
    gateway.session.set_paused(False)
    gateway.wait(0.3)
    assert events(gateway)[-1] == ("finished", "a", 80, False)


@pytest.mark.parametrize("rate", [8_000, 24_000, 44_100])
def test_any_sample_rate_is_taken(rate):
    gateway, worker = open_1_2()
    samples = rate // 10 + 7
    expected = -(-samples * 16_000 // rate)
    gateway.client_sends("GENERATE", audio_chunk=chunk(bytes(2 * samples), sample_rate=rate))
    gateway.wait(0.1)
    sent = sum(len(m.pcm) // 2 for m in gateway.audio_to("w1"))
    assert sent == expected
    for position in range(0, expected, 640):
        worker.speak(position, samples=min(640, expected - position))
    gateway.wait(0.3)
    assert events(gateway)[-1] == ("finished", "#1", expected // 16, False)


def test_a_change_of_the_format_begins_an_utterance():
    gateway, _ = open_1_2()
    gateway.client_sends("GENERATE", audio_chunk=chunk(bytes(2_400), sample_rate=24_000))
    gateway.client_sends(
        "GENERATE", audio_chunk=chunk(bytes(4_800), sample_rate=24_000, channels=2)
    )
    ends = [m.position for m in gateway.sent_to_worker("w1") if isinstance(m, SpeechEnd)]
    assert ends == [800]


def test_a_change_of_the_format_ends_an_utterance_with_an_id():
    gateway, worker = open_1_2()
    for rate in (16_000, 24_000):
        pcm = chunk(bytes(1_280), sample_rate=rate)
        gateway.client_sends("GENERATE", audio_chunk=pcm, utterance_id="a")
    assert gateway.last["data"]["details"]["reason"] == "utterance_over"
    gateway.client_sends("END_OF_SPEECH", utterance_id="a")
    worker.speak(0)
    gateway.wait(0.5)
    assert events(gateway) == [("started", "a", 0), ("finished", "a", 40, False)]
    assert gateway.errors == ["INVALID_MESSAGE"]


def test_only_so_many_utterances_may_wait():
    gateway, worker = open_1_2()
    for number in range(MAX_UNFINISHED):
        gateway.client_speaks(bytes(2), utterance_id=f"u{number}")
    gateway.client_speaks(bytes(2), utterance_id=f"u{number}")  # another chunk of it
    assert gateway.errors == []
    gateway.client_speaks(bytes(2), utterance_id="more")
    details = gateway.last["data"]["details"]
    assert (details["reason"], details["utterance_id"]) == ("utterances", "more")
    gateway.client_speaks(bytes(2), utterance_id=f"u{number}")
    worker.speak(0, samples=1)
    gateway.client_speaks(bytes(2), utterance_id="more")
    assert gateway.errors == ["RATE_LIMIT_EXCEEDED"]


def test_refused_speech_names_its_number_and_when_to_send_it_again():
    gateway, _ = open_1_2(SessionLimits(max_queued_speech_s=1))
    for _ in range(2):
        gateway.client_speaks(bytes(16_000), utterance_id="a")
    gateway.client_speaks(bytes(3_200), utterance_id="a")
    assert gateway.last["data"]["details"] == {
        "queued_ms": 1_000,
        "limit_ms": 1_000,
        "retry_after_ms": 100,
        "chunk": 2,
        "utterance_id": "a",
    }


def test_clips_are_varied_unless_one_is_chosen():
    gateway, _ = open_1_2()
    speaking = {"type": "speaking"}
    states = [
        None,
        speaking,
        {**speaking, "base_video": "speaking_0"},
        {**speaking, "base_video": "any"},
        {**speaking, "base_video": "speaking_3"},
    ]
    for number, state in enumerate(states):
        gateway.client_speaks(numbered(number, 1), video_state=state, utterance_id=f"{number}")
    sent = [(m.clip, m.is_clip_chosen) for m in gateway.audio_to("w1")]
    assert sent == [
        (None, True),
        ("speaking_0", False),
        ("speaking_0", False),
        ("speaking_0", False),
        ("speaking_3", True),
    ]
    for base_video in (None, "any", "idle_0", "idle_3"):
        gateway.client_sends("STATE_CHANGE", target_state="idle", base_video=base_video)
    changes = [
        (m.clip, m.is_chosen) for m in gateway.sent_to_worker("w1") if isinstance(m, ClipChange)
    ]
    assert changes == [("idle_0", False), ("idle_0", False), ("idle_0", True), ("idle_3", True)]


def test_the_avatar_listens():
    gateway, worker = open_1_2()
    gateway.client_sends("USER_SPEAKING", active=True)
    assert gateway.sent_to_worker("w1")[-1] == ListeningChange(
        claim_id=worker.claim.claim_id, is_active=True
    )


def test_dropped_late_speech_is_reported():
    gateway, worker = open_1_2(late_audio="drop")
    assert gateway.claims[0].late_audio == "drop"
    gateway.client_speaks(numbered(0, 16_000), utterance_id="a")
    worker.speak(0)
    gateway.worker_sends(
        SpeechSkipped(claim_id=worker.claim.claim_id, position=16_000, samples=15_360)
    )
    assert gateway.last["data"] == {"reason": "audio_dropped", "ms": 960}
    gateway.wait(0.3)
    assert events(gateway)[-1] == ("finished", "a", 40, False)


def test_the_client_is_warned_before_its_session_ends():
    gateway, worker = open_1_2(SessionLimits(max_session_s=100))
    worker.show()
    for _ in range(71):
        worker.show(25)
    assert gateway.of_type("WARNING")[0]["data"] == {"reason": "max_session", "in_ms": 30_000}
    for _ in range(30):
        worker.show(25)
    assert (gateway.last["data"], gateway.closed) == ({"reason": "timeout"}, 4408)


def test_a_client_may_leave_video_or_events_out():
    gateway, worker = open_1_2(receive=["events"])
    gateway.client_speaks(numbered(0, 640), utterance_id="a")
    worker.speak(0)
    assert gateway.of_type("VIDEO_FRAME") == []
    assert events(gateway) == [("started", "a", 0)]
    gateway, worker = open_1_2(receive=["video", "audio"])
    gateway.client_speaks(numbered(0, 640), utterance_id="a")
    worker.speak(0)
    assert events(gateway) == []
    audio = gateway.of_type("VIDEO_FRAME")[0]["data"]["audio"]
    assert audio == {"sample_rate": 16_000, "data": chunk(numbered(0, 640))["data"]}


def test_the_sound_of_the_frames_is_what_was_sent():
    gateway, worker = open_1_2(receive=["video", "audio", "events"])
    pcm = numbered(0, 3_000)
    gateway.client_sends("GENERATE", audio_chunk=chunk(pcm, sample_rate=24_000))
    gateway.client_sends("END_OF_SPEECH")
    for position in (0, 640, 1_280, 1_920):
        worker.speak(position, samples=min(640, 2_000 - position))
    sound = b"".join(
        base64.b64decode(m["data"]["audio"]["data"]) for m in gateway.of_type("VIDEO_FRAME")
    )
    assert sound == pcm


def test_a_client_of_version_1_1_is_sent_nothing_new():
    gateway = FakeGateway(SessionLimits(max_queued_speech_s=1, max_session_s=60))
    worker = gateway.start()
    gateway.client_speaks(numbered(0, 640))
    worker.speak(0)
    gateway.client_sends("INTERRUPT")
    gateway.worker_sends(
        SpeechInterrupted(claim_id=worker.claim.claim_id, generation=1, position=640)
    )
    gateway.client_speaks(bytes(16_000)), gateway.client_speaks(bytes(32_000))
    assert set(gateway.last["data"]["details"]) == {"queued_ms", "limit_ms"}
    for _ in range(62):
        worker.show(25)
    assert gateway.of_type(*NEW_TYPES) == []
    assert set(gateway.sent_to_client[0]["data"]) == {
        *("model_loaded", "available_videos", "default_video"),
        *("streaming_started", "engine", "video"),
    }


steps = st.lists(
    st.one_of(
        st.tuples(st.just("chunk"), st.sampled_from([None, "a", "b"]), st.integers(1, 2_000)),
        st.tuples(st.just("end")),
        st.tuples(st.just("show"), st.integers(1, 4)),
        st.tuples(st.just("interrupt")),
        st.tuples(st.just("wait")),
        st.tuples(st.just("lose")),
    ),
    max_size=40,
)


@settings(max_examples=200)
@given(steps)
def test_every_utterance_is_finished_exactly_once_whatever_happens(steps):
    gateway, worker = open_1_2()
    counts = {"a": 0, "b": 0}
    accepted = shown = played = generation = 0
    for step in steps:
        match step:
            case ("chunk", name, samples):
                utterance_id = None if name is None else f"{name}{counts[name]}"
                before = len(gateway.errors)
                gateway.client_speaks(numbered(accepted, samples), utterance_id=utterance_id)
                if len(gateway.errors) > before:
                    counts[name] += 1
                    continue
                if gateway.session.speech.window.accepted == accepted:
                    counts[name] += 1  # refused before
                    continue
                accepted += samples
            case ("end",):
                gateway.client_sends("END_OF_SPEECH")
            case ("show", frames):
                for _ in range(frames):
                    length = min(640, accepted - shown)
                    if length <= 0:
                        worker.show()
                        continue
                    worker.speak(shown, samples=length)
                    shown += length
                    played += length
            case ("interrupt",):
                generation += 1
                gateway.client_sends("INTERRUPT")
                gateway.worker_sends(
                    SpeechInterrupted(
                        claim_id=worker.claim.claim_id, generation=generation, position=shown
                    )
                )
                shown = accepted
            case ("wait",):
                for _ in range(8):
                    worker.show()
            case ("lose",):
                gateway.wait(1.2)
                worker = gateway.worker_claims("w2")
    gateway.client_sends("CLOSE")
    told = [event for event in events(gateway) if event[0] != "dropped"]
    finished = [event for event in events(gateway) if event[0] == "finished"]
    started = [event for event in events(gateway) if event[0] == "started"]
    assert len(told) == len(set(told))
    assert len({event[1] for event in finished}) == len(finished)
    rounded_off = played / 16 - sum(event[2] for event in finished)
    assert 0 <= rounded_off <= len(finished), "each has whole milliseconds"
    assert {event[1] for event in started} <= {event[1] for event in finished}
    positions = [event[2] for event in started]
    assert positions == sorted(positions)
