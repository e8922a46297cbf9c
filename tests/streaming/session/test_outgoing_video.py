import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from inference.timing import FRAME_S
from streaming.protocol.server_messages import FrameInfo, FrameSound
from streaming.session.context import Negotiated, SessionContext
from streaming.session.decodable_filter import LONG_IDR_FRAMES, RUN_BYTES
from streaming.session.outgoing_video import DecodableFilter, FrameArrivals, FrameRelay
from tests.streaming.fakes import SESSION_ID, frame


class Relay:
    """A relay, and what came out of it."""

    def __init__(self) -> None:
        self.context = SessionContext(session_id=SESSION_ID)
        self.metrics = self.context.metrics
        self.frames = FrameRelay(self.context)

    def receive(self, number: int, now_s: float, *, is_idr: bool = False) -> None:
        self.frames.send(frame("c", number, is_idr=is_idr), None, now_s)

    def passed(self) -> list[int]:
        return [effect.message.data.frame_timestamp // 40 for effect in self.context.outbox.take()]


@pytest.fixture
def relay() -> Relay:
    return Relay()


def test_frames_are_passed_on_and_counted(relay):
    relay.receive(0, 1.0, is_idr=True)
    relay.receive(1, 1.065)
    assert relay.passed() == [0, 1]
    assert (relay.metrics.frames_sent, relay.metrics.frames_held_back) == (2, 0)
    assert relay.metrics.video_bytes == 2 * len(frame("c", 0).access_unit)
    assert relay.metrics.lateness.percentile_ms(1) == 40


def test_what_is_held_back_is_counted(relay):
    relay.receive(0, 1.0, is_idr=True)
    relay.context.outbox.is_paused = True
    relay.receive(1, 1.04, is_idr=True)
    relay.context.outbox.is_paused = False
    relay.receive(2, 1.08)
    assert relay.passed() == [0]
    assert (relay.metrics.frames_sent, relay.metrics.frames_held_back) == (1, 2)


def test_what_waited_while_the_gateway_slept_is_left_out(relay):
    for number in range(50):
        relay.receive(number, 1.0 + number * 0.04, is_idr=number % 25 == 0)
    woken_s = 1.0 + 399 * 0.04
    for number in range(50, 450):  # the first 350 of them waited, up to 14 seconds
        now_s = max(woken_s, 1.0 + number * 0.04)
        relay.receive(number, now_s, is_idr=number % 25 == 0)
    assert relay.passed() == [*range(50), *range(375, 450)]
    assert relay.metrics.frames_held_back == 325


def test_what_is_late_for_good_is_sent_again_after_a_while(relay):
    for number in range(1_000):
        late_s = 0.0 if number < 100 else 3.0
        relay.receive(number, 1.0 + number * 0.04 + late_s, is_idr=number % 25 == 0)
    passed = relay.passed()
    assert passed[:100] == list(range(100))
    assert passed[-1] == 999
    assert len(passed) > 400


def test_clocks_that_drift_apart_hold_nothing_back(relay):
    for number in range(0, 40_000, 10):
        relay.receive(number, 1.0 + number * 0.04 * 1.002, is_idr=True)
    assert len(relay.passed()) == 4_000


def test_another_worker_begins_with_an_idr(relay):
    relay.receive(0, 1.0, is_idr=True)
    relay.frames.begin()
    relay.receive(1, 1.04)
    relay.receive(2, 1.08, is_idr=True)
    assert relay.passed() == [0, 2]


def test_another_worker_begins_with_the_frame_that_is_due_and_never_with_one_that_was_seen(relay):
    assert relay.frames.next_frame(1.0) == 0
    for number in range(5):
        relay.receive(number, 1.0 + number * 0.04, is_idr=True)
    assert relay.frames.next_frame(1.16) == 5
    assert relay.frames.next_frame(2.41) == 35


def passing(gate: DecodableFilter, *frames: tuple[int, bool], is_paused: bool = False) -> list[int]:
    return [
        n for n, is_idr in frames if gate.accepts(frame("c", n, is_idr=is_idr), is_paused=is_paused)
    ]


def test_an_undisturbed_stream_passes_whole():
    assert passing(DecodableFilter(), *((n, n % 25 == 0) for n in range(100))) == list(range(100))


def test_a_stream_begins_with_an_idr():
    assert passing(DecodableFilter(), (0, False), (1, True), (2, False)) == [1, 2]


def test_a_slow_client_gets_what_follows_an_idr_and_the_next_one_when_it_has_read_that():
    gate = DecodableFilter()
    assert passing(gate, (0, True), (1, False)) == [0, 1]
    assert passing(gate, (2, False), (3, True), (4, False), is_paused=True) == [2]
    assert passing(gate, (5, False), (6, True), (7, False)) == [6, 7]


def test_what_follows_an_idr_is_bounded():
    gate = DecodableFilter()
    assert passing(gate, (0, True)) == [0]
    large = bytes(RUN_BYTES // 4)
    many = [replace(frame("c", n, is_idr=n % 25 == 0), access_unit=large) for n in range(1, 25)]
    assert [each.frame for each in many if gate.accepts(each, is_paused=True)] == [1, 2, 3, 4]
    assert passing(gate, (25, True)) == [25]


@pytest.mark.parametrize(
    ("idr_frames", "gets"), [(LONG_IDR_FRAMES, [1]), (LONG_IDR_FRAMES + 2, [])]
)
def test_a_client_that_needs_long_for_an_idr_is_sent_stills(idr_frames, gets):
    """Whether frames follow an IDR goes by how long the client needed for the last one alone."""
    gate = DecodableFilter()
    idr = replace(frame("c", 0, is_idr=True), access_unit=bytes(30_000))
    following = replace(frame("c", 1), access_unit=bytes(30_000))
    assert gate.accepts(idr, is_paused=False)
    assert gate.accepts(following, is_paused=True)  # which takes as long
    end = 2 * idr_frames + 1
    assert passing(gate, *((n, True) for n in range(2, end)), is_paused=True) == []
    assert passing(gate, (end, True)) == [end]
    follows = passing(gate, (end + 1, False), is_paused=True)
    assert [number - end for number in follows] == gets


def test_a_client_that_was_slow_and_is_quick_again_gets_what_follows_an_idr():
    gate = DecodableFilter()
    assert passing(gate, (0, True)) == [0]
    often = [(n, True) for n in range(1, LONG_IDR_FRAMES + 2)]
    assert passing(gate, *often, is_paused=True) == []
    assert passing(gate, (75, True)) == [75]
    assert passing(gate, (76, False), (77, False), is_paused=True) == []
    assert passing(gate, (100, True)) == [100]  # it was quick this time
    assert passing(gate, (101, False), is_paused=True) == [101]


def test_after_a_lost_picture_an_idr_is_awaited():
    assert passing(DecodableFilter(), (0, True), (2, False), (3, False), (4, True)) == [0, 4]


def test_another_encoder_begins_with_an_idr():
    gate = DecodableFilter()
    assert passing(gate, (0, True), (1, False)) == [0, 1]
    gate.require_idr()
    assert passing(gate, (2, False), (3, True)) == [3]


@given(
    st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.sampled_from(["", "pause", "resume"])))
)
def test_every_picture_that_passes_can_be_decoded_and_time_never_turns_back(steps):
    gate = DecodableFilter()
    came: list[int] = []
    passed: list[int] = []
    is_paused = False
    for number, is_idr, event in steps:
        if event:
            is_paused = event == "pause"
        if gate.accepts(frame("c", number, is_idr=is_idr), is_paused=is_paused):
            assert not passed or number > passed[-1]
            assert is_idr or (passed and passed[-1] == came[-1] == number - 1)
            assert not (is_paused and is_idr)
            passed.append(number)
        came.append(number)


DELAYS_S = st.lists(st.floats(0, 0.5), min_size=1, max_size=50)


def test_before_the_first_frame_the_first_is_due():
    assert FrameArrivals().frame_due_at(1_000.0) == 0


def test_a_frame_that_comes_sooner_than_all_before_it_is_the_new_measure():
    arrivals = FrameArrivals()
    assert arrivals.came(0, 10.030) == 0
    assert arrivals.came(1, 10.075) == pytest.approx(0.005)
    assert arrivals.came(2, 10.080) == 0
    assert arrivals.came(3, 10.150) == pytest.approx(0.030)
    assert arrivals.frame_due_at(10.119) == 2
    assert arrivals.frame_due_at(10.121) == 3


@given(DELAYS_S)
def test_lateness_is_what_came_on_top_of_the_least_delay(delays_s):
    arrivals = FrameArrivals()
    least_s = float("inf")
    for number, delay_s in enumerate(delays_s):
        late_s = arrivals.came(number, 5.0 + number * FRAME_S + delay_s)
        least_s = min(least_s, delay_s)
        assert late_s == pytest.approx(delay_s - least_s, abs=1e-9)


@given(DELAYS_S)
def test_the_frame_that_is_due_is_not_behind_the_one_that_just_came(delays_s):
    arrivals = FrameArrivals()
    for number, delay_s in enumerate(delays_s):
        now_s = 5.0 + number * FRAME_S + delay_s
        arrivals.came(number, now_s)
        assert arrivals.frame_due_at(now_s) >= number


def test_a_client_that_left_video_out_is_sent_none():
    relay = Relay()
    relay.context.negotiated = Negotiated(has_1_2=True, receive=frozenset({"events"}))
    relay.receive(0, 1.0, is_idr=True)
    assert relay.passed() == []
    assert relay.metrics.frames_held_back == 0


def test_binary_frames_follow_the_description_of_what_they_show():
    context = SessionContext(session_id=SESSION_ID)
    frames = FrameRelay(context, is_binary=True)
    for number, clip in enumerate(["idle_0", "idle_0", "idle_1"]):
        frames.send(frame("c", number, is_idr=True, clip=clip), None, 1.0)
    sent = [effect.message for effect in context.outbox.take()]
    infos = [
        (one.data.frame_timestamp, one.data.base_video)
        for one in sent
        if isinstance(one, FrameInfo)
    ]
    assert infos == [(0, "idle_0"), (80, "idle_1")]
    assert [type(one) is FrameInfo for one in sent] == [True, False, False, True, False]


@pytest.mark.parametrize("receive", [{"video"}, {"video", "audio"}])
def test_a_frame_carries_its_sound_where_that_is_wanted(receive):
    negotiated = Negotiated(receive=frozenset(receive))
    context = SessionContext(session_id=SESSION_ID, negotiated=negotiated)
    sound = FrameSound(sample_rate=24_000, data=b"\1\0")
    FrameRelay(context).send(frame("c", 0, is_idr=True), sound, 1.0)
    [effect] = context.outbox.take()
    assert effect.message.data.audio == (sound if "audio" in receive else UNSET)
