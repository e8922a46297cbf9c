"""Those who watch a session: what they receive, and that nothing they do is noticed."""

import struct

import pytest

from streaming.protocol import codec
from streaming.protocol.client_messages import InitFields
from streaming.protocol.errors import ProtocolError
from streaming.session import audience as audience_module
from streaming.session.limits import SessionLimits
from streaming.session.watcher import MAX_WAITING
from tests.streaming.fake_watcher import TOKEN, FakeWatcher, open_watched
from tests.streaming.fakes import (
    USER,
    FakeGateway,
    frame,
    numbered,
    text,
)


def test_the_owner_is_given_a_token():
    gateway, _ = open_watched()
    assert gateway.sent_to_client[0]["data"]["watch"] == {"token": TOKEN}


@pytest.mark.parametrize(
    ("rules", "data"),
    [
        (None, {"allow_watchers": True}),
        (None, {"protocol_version": "1.2"}),
        (None, {"protocol_version": "1.2", "allow_watchers": False}),
        (SessionLimits(max_watchers=0), {"protocol_version": "1.2", "allow_watchers": True}),
    ],
)
def test_without_asking_for_it_or_in_version_1_1_there_is_none(rules, data):
    gateway = FakeGateway(rules)
    gateway.init(**data)
    gateway.worker_claims()
    assert "watch" not in gateway.sent_to_client[0]["data"]
    assert not gateway.session.audience.admits(TOKEN)
    with pytest.raises(ProtocolError, match="watch_token"):
        FakeWatcher(gateway.session.audience)


def test_a_token_is_void_when_the_session_is_over():
    gateway, _ = open_watched()
    assert gateway.session.audience.admits(TOKEN)
    assert not gateway.session.audience.admits("watch another")
    gateway.client_sends("CLOSE")
    assert not gateway.session.audience.admits(TOKEN)
    with pytest.raises(ProtocolError, match="watch_token"):
        FakeWatcher(gateway.session.audience)


def test_so_many_may_watch_and_no_more():
    gateway, _ = open_watched(SessionLimits(max_watchers=2))
    first, _ = FakeWatcher(gateway.session.audience), FakeWatcher(gateway.session.audience)
    with pytest.raises(ProtocolError) as refused:
        FakeWatcher(gateway.session.audience)
    assert refused.value.code == "RATE_LIMIT_EXCEEDED"
    assert refused.value.details["reason"] == "watchers"
    first.send("CLOSE")
    FakeWatcher(gateway.session.audience)


def test_a_watcher_begins_with_the_next_idr():
    gateway, worker = open_watched()
    worker.show(3)
    watcher = FakeWatcher(gateway.session.audience)
    worker.show(24)
    watcher.read()
    assert watcher.types[0] == "INIT_SUCCESS"
    assert watcher.received[0]["data"]["protocol_version"] == "1.2"
    assert "watch" not in watcher.received[0]["data"]
    assert "resume" not in watcher.received[0]["data"]
    assert watcher.frames == [25, 26]
    assert watcher.received[1]["data"]["keyframe"] is True


def test_a_watcher_who_comes_before_the_worker_waits_for_it():
    gateway = FakeGateway()
    gateway.init(protocol_version="1.2", allow_watchers=True)
    watcher = FakeWatcher(gateway.session.audience).read()
    assert watcher.received == []
    gateway.worker_claims().show()
    assert watcher.read().types == ["INIT_SUCCESS", "VIDEO_FRAME"]


def test_events_come_in_place_and_not_before_the_first_frame():
    gateway, worker = open_watched()
    worker.show(20)
    gateway.client_speaks(numbered(0, 640 * 10), utterance_id="a")
    worker.speak(0)
    watcher = FakeWatcher(gateway.session.audience)
    for position in range(640, 640 * 10, 640):
        worker.speak(position)
    gateway.client_speaks(numbered(0, 640), utterance_id="b")
    worker.speak(6_400)
    gateway.client_sends("END_OF_SPEECH")
    worker.show()
    kinds = watcher.read().types
    assert kinds[:2] == ["INIT_SUCCESS", "VIDEO_FRAME"], "frame 25 is the first IDR"
    assert kinds[2:] == [
        *["VIDEO_FRAME"] * 4,
        *["SPEECH_FINISHED", "SPEECH_STARTED", "VIDEO_FRAME", "SPEECH_FINISHED", "VIDEO_FRAME"],
    ]


def test_an_event_at_the_first_frame_comes_with_it():
    gateway, worker = open_watched()
    watcher = FakeWatcher(gateway.session.audience)
    gateway.client_speaks(numbered(0, 640), utterance_id="a")
    worker.speak(0)
    assert watcher.read().types == ["INIT_SUCCESS", "SPEECH_STARTED", "VIDEO_FRAME"]


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 24_000, 44_100, 48_000])
def test_the_sound_is_what_was_sent(rate):
    gateway, worker = open_watched()
    watcher = FakeWatcher(gateway.session.audience)
    pcm = numbered(1, rate)
    for at in range(0, len(pcm), 7_000):
        gateway.client_speaks_at(pcm[at : at + 7_000], rate, utterance_id="a")
    gateway.client_sends("END_OF_SPEECH")
    for position in range(0, 16_000, 640):
        worker.speak(position)
    worker.show()
    assert watcher.read().sound() == pcm
    rates = {m["data"]["audio"]["sample_rate"] for m in watcher.received if "audio" in m["data"]}
    assert rates == {rate}
    assert all("audio" not in m["data"] for m in gateway.of_type("VIDEO_FRAME")), "it did not ask"


@pytest.mark.parametrize(
    ("receive", "types"),
    [
        (("video", "events"), {"SPEECH_STARTED", "VIDEO_FRAME", "SPEECH_FINISHED"}),
        (("video", "audio"), {"VIDEO_FRAME"}),
        (("events",), {"SPEECH_STARTED", "SPEECH_FINISHED"}),
        ((), set()),
    ],
)
def test_a_watcher_receives_what_it_asked_for(receive, types):
    gateway, worker = open_watched()
    watcher = FakeWatcher(gateway.session.audience, receive=receive)
    gateway.client_speaks(numbered(0, 640), utterance_id="a")
    worker.speak(0)
    gateway.client_sends("END_OF_SPEECH")
    watcher.read()
    assert set(watcher.types) == types | {"INIT_SUCCESS"}
    assert bool(watcher.sound()) == ("audio" in receive)


def test_a_binary_watcher_is_reported_what_frames_show():
    gateway, worker = open_watched()
    watcher = FakeWatcher(gateway.session.audience, is_binary=True)
    gateway.client_speaks(numbered(0, 640), utterance_id="a")
    worker.show()
    worker.show(clip="idle_1")
    worker.speak(0, clip="idle_1")
    watcher.read()
    assert watcher.types == [
        "INIT_SUCCESS",
        "FRAME_INFO",
        "FRAME_INFO",
        "SPEECH_STARTED",
        "FRAME_INFO",
    ]
    assert [
        m["data"]["frame_timestamp"] for m in watcher.received if m["type"] == "FRAME_INFO"
    ] == [*(0, 40, 80)]
    flags, sound_bytes = struct.unpack(">2xHI", watcher.packed[2][:8])
    assert (flags & 6, sound_bytes) == (6, 1_280)
    assert watcher.packed[2][24:28] == (16_000).to_bytes(4, "big")
    assert watcher.packed[2][28 : 28 + 1_280] == numbered(0, 640)


def test_a_frame_is_serialized_once_for_all_of_a_form(monkeypatch):
    count = {"text": 0, "packed": 0}
    dump, pack = codec.dump, audience_module.binary.pack_message
    monkeypatch.setattr(
        audience_module.codec,
        "dump",
        lambda m: (count.__setitem__("text", count["text"] + 1), dump(m))[1],
    )
    monkeypatch.setattr(
        audience_module.binary,
        "pack_message",
        lambda m: (count.__setitem__("packed", count["packed"] + 1), pack(m))[1],
    )
    gateway, worker = open_watched()
    plain = [FakeWatcher(gateway.session.audience) for _ in range(5)]
    silent = [FakeWatcher(gateway.session.audience, receive=("video",)) for _ in range(5)]
    packed = [FakeWatcher(gateway.session.audience, is_binary=True) for _ in range(5)]
    worker.show()  # FRAME_INFO, too
    count.update(text=0, packed=0)
    worker.show(10)
    assert count == {"text": 20, "packed": 10}
    for watchers in (plain, silent, packed):
        first, *others = [watcher.read().payloads for watcher in watchers]
        assert len(first) >= 11
        assert all(a is b for other in others for a, b in zip(first, other, strict=True))


def test_a_watcher_sees_what_the_owner_reads_too_slowly_for():
    gateway, worker = open_watched()
    watcher = FakeWatcher(gateway.session.audience)
    gateway.session.set_paused(True)
    worker.show(30)
    assert watcher.read().frames == list(range(30))
    assert not gateway.of_type("VIDEO_FRAME")


def test_a_watcher_sees_what_the_owner_does_not_receive():
    gateway, worker = open_watched(receive=())
    watcher = FakeWatcher(gateway.session.audience)
    gateway.client_speaks(numbered(0, 640), utterance_id="a")
    worker.speak(0)
    assert watcher.read().types == ["INIT_SUCCESS", "SPEECH_STARTED", "VIDEO_FRAME"]
    assert [m["type"] for m in gateway.sent_to_client] == ["INIT_SUCCESS"]


@pytest.mark.parametrize(
    ("type_", "data"),
    [
        ("INTERRUPT", {}),
        ("STATE_CHANGE", {"target_state": "speaking"}),
        ("ACTION", {"action_index": 1}),
        ("USER_SPEAKING", {"active": True}),
        ("END_OF_SPEECH", {}),
        ("INIT", {"user_id": USER}),
    ],
)
def test_a_watcher_may_not_act(type_, data):
    gateway, worker = open_watched()
    watcher = FakeWatcher(gateway.session.audience)
    told, said = len(gateway.sent_to_workers), len(gateway.sent_to_client)
    watcher.send(type_, **data)
    assert watcher.received[-1]["data"]["code"] == "INVALID_SESSION"
    assert "CLOSE and PONG" in watcher.received[-1]["data"]["message"]
    assert (len(gateway.sent_to_workers), len(gateway.sent_to_client)) == (told, said)
    worker.show()
    assert watcher.read().frames == [0]


def test_a_watchers_nonsense_is_answered_and_its_flood_is_ignored():
    gateway, _ = open_watched()
    watcher = FakeWatcher(gateway.session.audience)
    watcher.do(watcher.watcher.text("{", watcher.now_s))
    watcher.do(watcher.watcher.binary(b"\0" * 40, watcher.now_s))
    assert [m["data"]["code"] for m in watcher.received[1:]] == ["INVALID_MESSAGE"] * 2
    for _ in range(6_000):
        watcher.do(watcher.watcher.text(text("PONG"), watcher.now_s))
    assert watcher.watcher.next_deadline_s is not None
    watcher.do(watcher.watcher.timer(watcher.now_s + 1.5))
    assert watcher.received[-1]["data"]["code"] == "RATE_LIMIT_EXCEEDED"


def test_a_watcher_leaves_and_the_others_stay():
    gateway, worker = open_watched()
    watcher, other = FakeWatcher(gateway.session.audience), FakeWatcher(gateway.session.audience)
    worker.show()
    watcher.send("PONG")
    watcher.send("CLOSE")
    assert watcher.types[-1] == "CLOSE_ACK"
    assert watcher.received[-1]["data"] == {"reason": "client_request"}
    assert watcher.closed == 1000
    worker.show()
    assert other.read().frames == [0, 1]
    assert len(gateway.session.audience) == 1
    watcher.send("CLOSE")
    assert watcher.read().closed == 1000


def test_a_watcher_is_pinged():
    gateway, _ = open_watched()
    watcher = FakeWatcher(gateway.session.audience)
    due_s = watcher.watcher.next_deadline_s
    assert due_s == watcher.now_s + 30
    assert watcher.do(watcher.watcher.timer(due_s)).types == ["INIT_SUCCESS", "PING"]
    assert watcher.watcher.next_deadline_s == due_s + 30


def test_a_watcher_that_reads_too_slowly_misses_frames_up_to_an_idr():
    gateway, worker = open_watched()
    slow, fast = FakeWatcher(gateway.session.audience), FakeWatcher(gateway.session.audience)
    worker.show(5)
    slow.watcher.set_paused(True)
    worker.show(30)
    assert slow.read().frames == fast.read().frames[:25] == list(range(25))
    slow.watcher.set_paused(False)
    worker.show(20)
    assert slow.read().frames == [*range(25), *range(50, 55)]
    assert fast.read().frames == list(range(55))
    assert slow.watcher._metrics.frames_held_back == 25


def test_a_connection_that_takes_nothing_is_bounded():
    gateway, worker = open_watched()
    watcher = FakeWatcher(gateway.session.audience)
    for number in range(3_000):
        gateway.client_speaks(numbered(number * 640, 640), utterance_id=f"u{number}")
        worker.speak(number * 640)
    run = 25  # what may follow the last IDR
    assert len(watcher.watcher._effects) <= MAX_WAITING + run + 1_000
    shown = sum(m["type"] == "VIDEO_FRAME" for m in watcher.read().received)
    assert shown <= MAX_WAITING + run


def test_another_worker_begins_with_an_idr():
    gateway, worker = open_watched()
    watcher = FakeWatcher(gateway.session.audience)
    worker.show(3)
    gateway.wait(1.5)  # no frame came
    second = gateway.worker_claims("w2")
    gateway.worker_sends(frame(second.claim.claim_id, 39, is_idr=False))
    gateway.worker_sends(frame(second.claim.claim_id, 40, is_idr=True))
    assert watcher.read().frames == [0, 1, 2, 40]


def test_who_watches_later_is_not_told_of_an_owner_that_is_back():
    gateway = FakeGateway(SessionLimits(resume_s=30), is_resumable=True)
    gateway.init(protocol_version="1.2", allow_watchers=True)
    gateway.worker_claims().show()
    gateway.do(gateway.session.detach())
    init = InitFields(user_id=USER, protocol_version="1.2", resume_token="x")
    gateway.do(
        gateway.session.resume(init, reply_channel="gateway", is_binary=False, now_s=gateway.now_s)
    )
    gateway.worker_claims("w2").show()
    watcher = FakeWatcher(gateway.session.audience).read()
    assert [m["type"] for m in watcher.received] == ["INIT_SUCCESS"]


def test_a_disconnected_owner_is_reported_and_may_come_back():
    gateway = FakeGateway(SessionLimits(resume_s=30), is_resumable=True)
    gateway.init(protocol_version="1.2", allow_watchers=True)
    worker = gateway.worker_claims()
    watcher = FakeWatcher(gateway.session.audience)
    worker.show(2)
    gateway.do(gateway.session.detach())
    late = FakeWatcher(gateway.session.audience).read()
    assert watcher.read().received[-1]["data"] == {"reason": "owner_away", "in_ms": 30_000}
    assert [m["type"] for m in late.received] == ["INIT_SUCCESS", "WARNING"]
    init = InitFields(user_id=USER, protocol_version="1.2", resume_token="x")
    gateway.do(
        gateway.session.resume(init, reply_channel="gateway", is_binary=False, now_s=gateway.now_s)
    )
    assert gateway.last["data"]["watch"] == {"token": TOKEN}, "it is still watched"
    number = len(watcher.frames)
    gateway.worker_claims("w2").show(3)
    assert len(watcher.read().frames) == number + 3
    assert len(late.read().frames) == 3


def test_an_owner_whose_connection_is_replaced_was_never_away():
    gateway = FakeGateway(SessionLimits(resume_s=30), is_resumable=True)
    gateway.init(protocol_version="1.2", allow_watchers=True)
    gateway.worker_claims().show(2)
    watcher = FakeWatcher(gateway.session.audience)
    gateway.do(gateway.session.detach(is_replaced=True))
    assert "WARNING" not in watcher.read().types


@pytest.mark.parametrize(
    ("end", "reason", "code"),
    [
        (lambda gateway: gateway.client_sends("CLOSE"), "session_ended", 1000),
        (lambda gateway: gateway.do(gateway.session.terminate()), "session_ended", 1000),
        (lambda gateway: gateway.do(gateway.session.supersede()), "session_ended", 1000),
        (lambda gateway: gateway.do(gateway.session.fail()), "session_ended", 1000),
        (lambda gateway: gateway.do(gateway.session.disconnected()), "session_ended", 1000),
        (lambda gateway: gateway.do(gateway.session.shut_down()), "server_shutdown", 4012),
    ],
)
def test_the_end_of_the_session_is_the_watchers_end(end, reason, code):
    gateway, worker = open_watched()
    watcher = FakeWatcher(gateway.session.audience)
    gateway.client_speaks(numbered(0, 1_280), utterance_id="a")
    worker.speak(0)
    end(gateway)
    assert watcher.read().types[-2:] == ["SPEECH_FINISHED", "CLOSE_ACK"]
    assert watcher.received[-1]["data"] == {"reason": reason}
    assert watcher.closed == code
    assert watcher.watcher.next_deadline_s is None
