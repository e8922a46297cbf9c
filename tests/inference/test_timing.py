"""Ticks, samples and milliseconds."""

from hypothesis import given
from hypothesis import strategies as st

from inference.timing import FrameClock, audio_timestamp_ms, frame_timestamp_ms


def test_wire_times() -> None:
    assert frame_timestamp_ms(812) == 32_480
    assert audio_timestamp_ms(640) == 40
    assert audio_timestamp_ms(655) == 40


@given(origin_s=st.floats(0, 1e7), frame=st.integers(0, 10**7))
def test_a_frame_is_due_when_its_time_has_come(origin_s: float, frame: int) -> None:
    clock = FrameClock(origin_s)
    assert clock.frame_due_at(clock.due_s(frame)) == frame
    assert clock.frame_due_at(clock.due_s(frame) + 0.039) == frame


def test_nothing_is_due_before_the_origin() -> None:
    assert FrameClock(10.0).frame_due_at(9.99) == -1
