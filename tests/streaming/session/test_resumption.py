"""A session whose client loses its connection and comes back, in one process or in another."""

import base64
import json
from collections import deque
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.messages import AudioChunk, SessionAccepted, SpeechEnd, SpeechInterrupted
from streaming.protocol.client_messages import InitFields
from streaming.protocol.errors import ProtocolError
from streaming.session.connection_state import State
from streaming.session.effects import ResumeSession
from streaming.session.limits import SessionLimits
from streaming.session.resumption import ClientState
from streaming.session.session import Session
from tests.streaming.fakes import (
    SESSION_ID,
    USER,
    FakeAvatar,
    FakeGateway,
    FakeResumeTokens,
    claimed,
    frame,
    numbered,
    text,
)

LIMITS = SessionLimits(resume_s=30)


def open_gateway(rules: SessionLimits = LIMITS) -> FakeGateway:
    gateway = FakeGateway(rules)
    gateway.session = Session(
        user_id=USER,
        reply_channel="gateway",
        now_s=gateway.now_s,
        rules=rules,
        tokens=FakeResumeTokens(),
    )
    return gateway


def init(**fields: Any) -> InitFields:
    given_ = {"user_id": USER, "protocol_version": "1.2", "resume_token": "…", **fields}
    return msgspec.convert(given_, InitFields)


def resume(
    gateway: FakeGateway, *, channel: str = "gateway2", is_binary: bool = False, **fields: Any
):
    said = len(gateway.sent_to_client)
    fields_ = init(**fields)
    gateway.session.check_resume(fields_)
    gateway.do(
        gateway.session.resume(
            fields_, reply_channel=channel, is_binary=is_binary, now_s=gateway.now_s
        )
    )
    return gateway.sent_to_client[said:]


def open_session(gateway: FakeGateway):
    gateway.init(protocol_version="1.2")
    return gateway.worker_claims()


def test_who_can_resume_is_given_a_token():
    gateway = open_gateway()
    open_session(gateway)
    offer = gateway.of_type("INIT_SUCCESS")[0]["data"]["resume"]
    assert offer == {"token": f"resume {SESSION_ID} 0", "window_ms": 30_000}
    assert gateway.session.is_resumable


@pytest.mark.parametrize(("version", "resume_s"), [("1.1", 30), ("1.2", 0)])
def test_others_are_not(version, resume_s):
    gateway = open_gateway(SessionLimits(resume_s=resume_s))
    gateway.init(protocol_version=version)
    gateway.worker_claims()
    assert "resume" not in gateway.of_type("INIT_SUCCESS")[0]["data"]
    assert not gateway.session.is_resumable


def test_while_it_waits_nothing_plays_and_nothing_is_due():
    gateway = open_gateway(SessionLimits(resume_s=30, idle_s=5, max_session_s=60))
    worker = open_session(gateway)
    gateway.client_speaks(numbered(0, 16_000))
    worker.speak(0)
    gateway.do(gateway.session.detach())
    assert gateway.was_stopped("w1", worker.claim)
    assert gateway.session.next_deadline_s is None
    assert gateway.session.state is State.DETACHED
    claims = len(gateway.claims)
    gateway.wait(20)
    assert len(gateway.claims) == claims


def test_speech_continues_after_the_last_frame_that_the_client_received():
    gateway = open_gateway()
    worker = open_session(gateway)
    gateway.client_speaks(numbered(0, 16_000))
    for position in (0, 640, 1_280, 1_920):
        worker.speak(position)
    gateway.do(gateway.session.detach())
    gateway.wait(3)
    first = resume(gateway, last_frame_timestamp=40, acknowledged_ms=40, utterance_id="#1")[0]
    assert first["type"] == "INIT_SUCCESS"
    assert first["data"]["resumed"] is True
    assert first["data"]["next_audio_ms"] == 1_000, "all of it had come"
    assert first["data"]["resume"]["token"].endswith(" 1")
    assert gateway.claims[-1].reply_channel == "gateway2"
    other = gateway.worker_claims("w2")
    accepted = gateway.accepted("w2")
    assert accepted.next_position == 1_280
    assert accepted.next_frame >= 4 + 75 - 2, "time passed"
    assert gateway.audio_to("w2")[0].pcm == numbered(1_280, 14_720)
    other.speak(1_280)
    assert gateway.last["data"]["keyframe"] is True


@pytest.mark.parametrize("rate", [16_000, 22_050, 24_000, 48_000])
def test_what_is_shown_again_has_its_sound(rate):
    """Some frames are lost on the way to the client, and so is speech on its way to the server."""
    gateway = open_gateway()
    receive = ("video", "audio", "events")
    gateway.init(protocol_version="1.2", receive=receive)
    worker = gateway.worker_claims()
    pcm = numbered(1, rate)  # one second
    sent = rate * 2 // 5 + 3
    gateway.client_speaks_at(pcm[: sent * 2], rate, utterance_id="a")
    for position in (0, 640, 1_280, 1_920):
        worker.speak(position)
    before = sounds(gateway.of_type("VIDEO_FRAME")[:2])
    gateway.do(gateway.session.detach())
    (first, *_) = resume(gateway, acknowledged_ms=40, utterance_id="a", receive=receive)
    other = gateway.worker_claims("w2")
    again = -(-first["data"]["next_audio_ms"] * rate // 1_000)
    gateway.client_speaks_at(pcm[again * 2 :], rate, utterance_id="a")
    gateway.client_sends("END_OF_SPEECH")
    shown = len(gateway.of_type("VIDEO_FRAME"))
    for position in range(1_280, 16_000, 640):
        other.speak(position)
    assert before + sounds(gateway.of_type("VIDEO_FRAME")[shown:]) == pcm


def sounds(frames: list[dict[str, Any]]) -> bytes:
    return b"".join(base64.b64decode(frame["data"]["audio"]["data"]) for frame in frames)


def test_what_was_lost_on_the_way_to_the_server_is_asked_for():
    gateway = open_gateway()
    worker = open_session(gateway)
    gateway.client_speaks(numbered(0, 1_000))  # not a whole number of milliseconds
    worker.speak(0)
    gateway.do(gateway.session.detach())
    (first, *_) = resume(gateway, acknowledged_ms=0, utterance_id="#1")
    assert first["data"]["next_audio_ms"] == 62
    gateway.worker_claims("w2")
    gateway.client_speaks(numbered(62 * 16, 640))
    assert b"".join(m.pcm for m in gateway.audio_to("w2")) == numbered(640, 62 * 16)


def test_the_end_of_an_utterance_that_the_client_did_not_see_is_reported_again():
    gateway = open_gateway()
    worker = open_session(gateway)
    gateway.client_speaks(numbered(0, 640), utterance_id="a")
    gateway.client_sends("END_OF_SPEECH")
    worker.speak(0)
    assert gateway.of_type("SPEECH_FINISHED")
    gateway.do(gateway.session.detach())
    again = resume(gateway, acknowledged_ms=0, utterance_id="a")
    finished = [m["data"] for m in again if m["type"] == "SPEECH_FINISHED"]
    assert [(f["utterance_id"], f["played_ms"]) for f in finished] == [("a", 40)]


def test_what_the_client_saw_finish_is_not_told_again():
    gateway = open_gateway()
    worker = open_session(gateway)
    gateway.client_speaks(numbered(0, 640), utterance_id="a")
    gateway.client_sends("END_OF_SPEECH")
    worker.speak(0)
    gateway.do(gateway.session.detach())
    again = resume(gateway, acknowledged_ms=0)
    assert not [m for m in again if m["type"] == "SPEECH_FINISHED"]


def test_an_interrupt_that_is_sent_again_drops_nothing_that_was_accepted_since():
    gateway = open_gateway()
    worker = open_session(gateway)
    gateway.client_speaks(numbered(0, 6_400), utterance_id="a")
    worker.speak(0)
    gateway.client_sends("INTERRUPT", number=1)
    gateway.worker_sends(
        SpeechInterrupted(claim_id=worker.claim.claim_id, generation=1, position=640)
    )
    gateway.client_speaks(numbered(6_400, 6_400), utterance_id="b")
    gateway.do(gateway.session.detach())  # INTERRUPTED is lost with the connection
    resume(gateway, last_frame_timestamp=0, acknowledged_ms=0, utterance_id="a")
    gateway.client_sends("INTERRUPT", number=1)
    assert gateway.last["data"] == {"dropped_ms": 360}, "the same answer"
    other = gateway.worker_claims("w2")
    assert gateway.audio_to("w2")[0].pcm == numbered(6_400, 6_400)
    other.speak(6_400)
    gateway.client_sends("INTERRUPT", number=2)
    gateway.worker_sends(
        SpeechInterrupted(claim_id=other.claim.claim_id, generation=2, position=7_040)
    )
    assert gateway.last["data"] == {"dropped_ms": 360}
    finished = [m["data"]["utterance_id"] for m in gateway.of_type("SPEECH_FINISHED")]
    assert finished == ["a", "a", "b"]


@pytest.mark.parametrize("number", [{}, {"number": None}])
def test_interrupts_without_a_number_are_all_obeyed(number):
    gateway = open_gateway()
    open_session(gateway)
    for name in "ab":
        gateway.client_speaks(numbered(0, 6_400), utterance_id=name)
        gateway.client_sends("INTERRUPT", **number)
        gateway.wait(1.1)
    assert [m["data"]["dropped_ms"] for m in gateway.of_type("INTERRUPTED")] == [400, 400]


def test_an_interrupt_that_is_sent_twice_before_its_answer_is_answered_once():
    gateway = open_gateway()
    worker = open_session(gateway)
    for _ in range(2):
        gateway.client_sends("INTERRUPT", number=1)
    gateway.worker_sends(
        SpeechInterrupted(claim_id=worker.claim.claim_id, generation=1, position=0)
    )
    assert len(gateway.of_type("INTERRUPTED")) == 1


def test_frames_that_cannot_have_been_received_are_no_account():
    gateway = open_gateway()
    worker = open_session(gateway)
    worker.show(5)
    gateway.do(gateway.session.detach())
    with pytest.raises(ProtocolError, match="last_frame_timestamp") as raised:
        gateway.session.check_resume(init(last_frame_timestamp=4_000))
    assert raised.value.code == "INVALID_MESSAGE"
    assert gateway.session.state is State.DETACHED


def test_the_longest_time_of_a_session_counts_over_its_connections():
    gateway = open_gateway(SessionLimits(resume_s=30, max_session_s=60))
    open_session(gateway)
    gateway.do(gateway.session.detach())
    gateway.wait(25)
    resume(gateway)
    gateway.worker_claims("w2").show(5)
    gateway.wait(36)
    assert gateway.closed == 4408


def test_a_hanging_connection_is_reported_that_it_was_replaced():
    gateway = open_gateway()
    open_session(gateway)
    gateway.do(gateway.session.detach())
    gateway.do(gateway.session.handed_over())
    assert [m["type"] for m in gateway.sent_to_client[-2:]] == ["ERROR", "CLOSE_ACK"]
    assert gateway.closed == 4409


def test_init_with_a_token_is_to_be_checked():
    gateway = open_gateway()
    effects = gateway.session.text(
        text("INIT", user_id=USER, protocol_version="1.2", resume_token="t"), gateway.now_s
    )
    (effect,) = effects
    assert isinstance(effect, ResumeSession)
    assert (effect.session_id, effect.init.resume_token) == (SESSION_ID, "t")
    refusal = ProtocolError("INVALID_SESSION", "no")
    gateway.do(gateway.session.init_refused(refusal, gateway.now_s))
    assert gateway.errors == ["INVALID_SESSION"]
    gateway.init()
    gateway.worker_claims()
    assert gateway.of_type("INIT_SUCCESS")


def test_a_session_whose_process_died_continues_as_its_client_knows_it():
    gateway = open_gateway()
    gateway.session.text(text("INIT", user_id=USER, protocol_version="1.2", resume_token="t"), 0.0)
    known = ClientState.of(
        init(last_frame_timestamp=4_000, acknowledged_ms=960, target_state="speaking"),
        FakeAvatar(),
        number=2,
    )
    assert (known.last_frame, known.next_position) == (100, 16_000)
    gateway.do(gateway.session.opened(gateway.avatar, gateway.now_s, known))
    gateway.worker_claims()
    answer = gateway.of_type("INIT_SUCCESS")[0]["data"]
    assert (answer["resumed"], answer["next_audio_ms"]) == (True, 1_000)
    assert answer["resume"]["token"].endswith(" 3")
    accepted = gateway.accepted("w1")
    assert (accepted.next_frame, accepted.next_position) == (101, 16_000)
    assert (accepted.clip, accepted.is_clip_chosen) == ("speaking_0", False)


class Player:
    """A worker that shows speech as real ones do: whole frames, a rest at an utterance's end."""

    def __init__(self, gateway: FakeGateway, channel: str) -> None:
        self.gateway, self.channel = gateway, channel
        claim = gateway.claims[-1]
        gateway.worker_sends(claimed(claim, channel))
        accepted = gateway.accepted(channel)
        assert isinstance(accepted, SessionAccepted)
        self.claim_id = claim.claim_id
        self.frame = self.first = accepted.next_frame
        self.position = accepted.next_position
        self.read = 0

    def tick(self, shown: dict[int, tuple[int, int]]) -> None:
        told = [m for m in self.gateway.sent_to_worker(self.channel) if m.claim_id == self.claim_id]
        end = self.position
        ends = []
        for message in told:
            if isinstance(message, AudioChunk):
                end = max(end, message.position + len(message.pcm) // 2)
            elif isinstance(message, SpeechEnd):
                ends.append(message.position)
        stop = min((e for e in ends if e > self.position), default=None)
        available = (end if stop is None else stop) - self.position
        samples = min(640, available) if available >= 640 or stop is not None else 0
        fields = {"state": "speaking", "position": self.position, "samples": samples}
        is_idr = self.frame == self.first or self.frame % 25 == 0
        shown[self.frame] = (self.position, samples)
        self.gateway.worker_sends(
            frame(self.claim_id, self.frame, is_idr=is_idr, **(fields if samples else {}))
        )
        self.position += samples
        self.frame += 1
        self.gateway.wait(0.04)


class Client:
    """A client that keeps what it sent, and comes back after losses in both directions."""

    def __init__(self) -> None:
        self.gateway = open_gateway()
        self.gateway.init(protocol_version="1.2")
        self.player = Player(self.gateway, "w0")
        self.workers = 1
        self.shown: dict[int, tuple[int, int]] = {}
        self.log: list[tuple[int, int, str]] = []
        """What was said: position, samples, utterance."""
        self.total = 0
        self.utterances = 0
        self.read = 0
        self.frames: list[int] = []
        self.started: list[str] = []
        self.finished: list[str] = []
        self.acknowledged: int | None = None

    @property
    def utterance(self) -> str:
        return f"u{self.utterances}"

    def speak(self, samples: int, *, is_lost: bool = False) -> None:
        if not is_lost:
            self.receive()
        if self.utterance in self.finished:
            self.utterances += 1
        self.log.append((self.total, samples, self.utterance))
        if not is_lost:
            self.gateway.client_speaks(numbered(self.total, samples), utterance_id=self.utterance)
        self.total += samples

    def end(self, *, is_lost: bool = False) -> None:
        if self.log and self.log[-1][2] == self.utterance and not is_lost:
            self.gateway.client_sends("END_OF_SPEECH")
        self.utterances += 1

    def receive(self) -> None:
        for message in self.gateway.sent_to_client[self.read :]:
            data = message["data"]
            match message["type"]:
                case "VIDEO_FRAME":
                    self.frames.append(data["frame_timestamp"] // 40)
                    if "audio_timestamp" in data:
                        self.acknowledged = data["audio_timestamp"]
                case "SPEECH_STARTED":
                    self.started.append(data["utterance_id"])
                case "SPEECH_FINISHED":
                    self.finished.append(data["utterance_id"])
                case "ERROR":
                    raise AssertionError(json.dumps(message))
        self.read = len(self.gateway.sent_to_client)

    def lose_and_return(self, unseen_frames: int, unsent: list[int]) -> None:
        self.receive()
        for _ in range(unseen_frames):
            self.player.tick(self.shown)
        for samples in unsent:
            self.speak(samples, is_lost=True)
        self.gateway.do(self.gateway.session.detach())
        self.gateway.wait(1.0)
        self.read = len(self.gateway.sent_to_client)
        unfinished = [name for _, _, name in self.log if name not in self.finished]
        fields: dict[str, Any] = {}
        if self.frames:
            fields["last_frame_timestamp"] = self.frames[-1] * 40
        if self.acknowledged is not None:
            fields["acknowledged_ms"] = self.acknowledged
        if unfinished:
            fields["utterance_id"] = unfinished[0]
        answer = resume(self.gateway, **fields)[0]
        channel = f"w{self.workers}"
        self.workers += 1
        self.player = Player(self.gateway, channel)
        self.receive()
        self._send_again(answer["data"]["next_audio_ms"] * 16)

    def _send_again(self, position: int) -> None:
        """What the server has not got; under a new id where it took the utterance for over."""
        again = [entry for entry in self.log if entry[0] + entry[1] > position]
        del self.log[len(self.log) - len(again) :]
        renamed: dict[str, str] = {}
        for start, samples, utterance in again:
            skip = max(0, position - start)
            if skip:
                self.log.append((start, skip, utterance))
            if utterance in self.finished:
                renamed[utterance] = f"{utterance}.{self.workers}"
            name = renamed.get(utterance, utterance)
            self.log.append((start + skip, samples - skip, name))
            self.gateway.client_speaks(numbered(start + skip, samples - skip), utterance_id=name)
        if self.log and self.log[-1][2] != self.utterance:
            self.gateway.client_sends("END_OF_SPEECH")

    def finish(self) -> None:
        self.end()
        for _ in range(self.total // 640 + 60):
            self.player.tick(self.shown)
        self.receive()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("speak"), st.integers(1, 130).map(lambda n: 16 * n)),
        st.tuples(st.just("end")),
        st.tuples(st.just("show"), st.integers(1, 12)),
        st.tuples(
            st.just("lose"),
            st.integers(0, 8),
            st.lists(st.integers(1, 60).map(lambda n: 16 * n), max_size=3),
        ),
    ),
    max_size=25,
)


@settings(max_examples=300)
@given(STEPS)
def test_all_speech_is_seen_exactly_once_and_every_utterance_finishes_once(steps):
    client = Client()
    for step in steps:
        match step:
            case ("speak", samples):
                client.speak(samples)
            case ("end",):
                client.end()
            case ("show", count):
                for _ in range(count):
                    client.player.tick(client.shown)
            case ("lose", unseen, unsent):
                client.lose_and_return(unseen, unsent)
    client.finish()
    assert client.frames == sorted(set(client.frames)), "time never goes back"
    expected = 0
    for number in client.frames:
        position, samples = client.shown[number]
        if samples:
            assert position == expected, "every sample once, in order"
            expected = position + samples
    assert expected == client.total
    spoken = list(dict.fromkeys(utterance for _, _, utterance in client.log))
    assert client.finished == spoken
    assert deque(client.started) == deque(spoken)
