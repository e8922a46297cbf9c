"""When speech is due: of microphones that are held up, and of synthesizers that run ahead."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.runtime.due_times import DueTimes

CHUNK_S = 0.04


class Client:
    """Sends chunks of 40 ms, and keeps what was answered as the queue does."""

    def __init__(self, *, may_be_microphone: bool = True) -> None:
        self.times = DueTimes(may_be_microphone=may_be_microphone)
        self.due_s: list[float] = []

    def send(self, now_s: float) -> None:
        if (shown_by_s := self.times.take_back(now_s)) is not None:
            for number in reversed(range(len(self.due_s))):
                shown_by_s = min(self.due_s[number], shown_by_s - CHUNK_S)
                self.due_s[number] = shown_by_s
        self.due_s.append(self.times.due(now_s, CHUNK_S))

    def speak(self, chunks: int, from_s: float) -> float:
        """In step; when the next chunk would come."""
        for number in range(chunks):
            self.send(from_s + number * CHUNK_S)
        return from_s + chunks * CHUNK_S

    def burst(self, chunks: int, at_s: float) -> None:
        for number in range(chunks):
            self.send(at_s + number * 1e-4)


def test_in_step_it_is_due_when_it_arrives() -> None:
    client = Client()
    client.speak(50, 10.0)
    assert client.due_s == pytest.approx([10.0 + n * CHUNK_S for n in range(50)])


def test_what_a_microphone_sends_after_it_was_held_up_was_due_during_the_gap() -> None:
    client = Client()
    held_s = client.speak(50, 10.0)
    resumed_s = held_s + 50 * CHUNK_S
    client.burst(51, resumed_s)
    client.speak(25, resumed_s + CHUNK_S)
    assert client.due_s == pytest.approx([10.0 + n * CHUNK_S for n in range(126)])


def test_nothing_is_due_before_the_gap_began() -> None:
    client = Client()
    held_s = client.speak(50, 10.0)
    client.burst(100, held_s + 1.0)
    assert client.due_s[50:] == pytest.approx([held_s + n * CHUNK_S for n in range(100)])


def test_who_has_not_spoken_in_step_is_a_synthesizer() -> None:
    client = Client()
    client.burst(50, 10.0)
    client.burst(50, 20.0)
    assert client.due_s[-1] == pytest.approx(20.0 + 49 * CHUNK_S)


def test_who_ran_ahead_must_speak_in_step_again_first() -> None:
    client = Client()
    held_s = client.speak(50, 10.0)
    client.burst(50, held_s)
    client.burst(50, held_s + 10.0)
    assert client.due_s[-1] == pytest.approx(held_s + 10.0 + 49 * CHUNK_S)


def test_speech_that_may_wait_is_never_brought_forward() -> None:
    client = Client(may_be_microphone=False)
    held_s = client.speak(50, 10.0)
    client.burst(50, held_s + 2.0)
    assert client.due_s[-1] == pytest.approx(held_s + 2.0 + 49 * CHUNK_S)


def test_a_pause_before_speech_in_step_makes_nothing_late() -> None:
    client = Client()
    paused_s = client.speak(50, 10.0)
    client.speak(50, paused_s + 5.0)
    assert client.due_s[50:] == pytest.approx([paused_s + 5.0 + n * CHUNK_S for n in range(50)])


@pytest.mark.parametrize("held_up_s", [0.36, 0.8, 3.0])
def test_a_microphone_that_was_held_up_from_the_start_is_known_by_its_pace(
    held_up_s: float,
) -> None:
    client = Client()
    held_up = round(held_up_s / CHUNK_S)
    client.burst(held_up, 10.0)
    client.speak(50, 10.0)
    assert client.due_s[held_up:] == pytest.approx([10.0 + n * CHUNK_S for n in range(50)])


@pytest.mark.parametrize(("held_up_s", "is_known"), [(0.36, True), (0.8, True), (3.0, False)])
def test_without_a_word_it_is_known_later_and_where_it_is_not_far_ahead(
    held_up_s: float, is_known: bool
) -> None:
    client = Client(may_be_microphone=False)
    held_up = round(held_up_s / CHUNK_S)
    client.burst(held_up, 10.0)
    client.speak(40, 10.0)
    assert client.due_s[-1] == pytest.approx(10.0 + 39 * CHUNK_S + held_up * CHUNK_S)
    client.speak(40, 10.0 + 40 * CHUNK_S)
    ahead_s = client.due_s[-1] - 10.0 - 79 * CHUNK_S
    assert ahead_s == pytest.approx(0.0 if is_known else held_up * CHUNK_S)


def test_what_it_was_held_up_by_in_small_pieces_is_taken_back_too() -> None:
    client = Client(may_be_microphone=False)
    now_s = client.speak(100, 10.0)
    for _ in range(5):  # each too short to be noticed
        client.burst(1, now_s)
        now_s = client.speak(50, now_s)
    client.speak(50, now_s)
    assert client.due_s[-1] - (now_s + 49 * CHUNK_S) < 0.11


def test_a_synthesizer_that_runs_half_as_fast_again_as_time_keeps_its_lead() -> None:
    client = Client(may_be_microphone=False)
    for number in range(150):
        client.send(10.0 + number * CHUNK_S / 1.5)
    assert client.due_s == pytest.approx([10.0 + n * CHUNK_S for n in range(150)])


@given(st.lists(st.floats(0, 3), max_size=60), st.booleans())
def test_speech_is_due_in_order_and_never_overlaps(gaps_s: list[float], may_be: bool) -> None:
    client = Client(may_be_microphone=may_be)
    now_s = client.speak(40, 10.0)
    for gap_s in gaps_s:
        now_s += gap_s if gap_s > 1 else 0.0
        client.send(now_s)
    steps = [b - a for a, b in zip(client.due_s, client.due_s[1:], strict=False)]
    assert all(step >= CHUNK_S - 1e-6 for step in steps)
