from hypothesis import given
from hypothesis import strategies as st

from streaming.session.gate import DecodableFilter
from tests.streaming.fakes import frame


def passing(gate: DecodableFilter, *frames: tuple[int, bool]) -> list[int]:
    return [n for n, is_idr in frames if gate.passes(frame("c", n, is_idr=is_idr))]


def test_an_undisturbed_stream_passes_whole():
    assert passing(DecodableFilter(), *((n, n % 25 == 0) for n in range(100))) == list(range(100))


def test_a_stream_begins_with_an_idr():
    assert passing(DecodableFilter(), (0, False), (1, True), (2, False)) == [1, 2]


def test_a_slow_client_gets_whole_pictures_from_an_idr_on():
    gate = DecodableFilter()
    assert passing(gate, (0, True), (1, False)) == [0, 1]
    gate.is_paused = True
    assert passing(gate, (2, False), (3, True)) == []
    gate.is_paused = False
    assert passing(gate, (4, False), (5, True), (6, False)) == [5, 6]


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
    for number, is_idr, event in steps:
        if event:
            gate.is_paused = event == "pause"
        if gate.passes(frame("c", number, is_idr=is_idr)):
            assert not passed or number > passed[-1]
            assert is_idr or (passed and passed[-1] == came[-1] == number - 1)
            assert not gate.is_paused
            passed.append(number)
        came.append(number)
