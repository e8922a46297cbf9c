"""The table of the mouth, cell by cell."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.runtime.mouth import SHUT, Mouth, MouthState
from inference.runtime.speech_queue import Speech

CLOSED, SPEAKING, HOLDING, EASING = Mouth.CLOSED, Mouth.SPEAKING, Mouth.HOLDING, Mouth.EASING
STATES = {
    CLOSED: SHUT,
    SPEAKING: MouthState(SPEAKING, 1.0),
    HOLDING: MouthState(HOLDING, 1.0),
    EASING: MouthState(EASING, 0.6, (0.2,)),
}
TABLE = {
    #          READY     STARVED  SILENT  ENDED
    CLOSED: (SPEAKING, CLOSED, CLOSED, CLOSED),
    SPEAKING: (SPEAKING, HOLDING, EASING, EASING),
    HOLDING: (SPEAKING, HOLDING, EASING, EASING),
    EASING: (SPEAKING, EASING, EASING, EASING),
}
CUES = (Speech.READY, Speech.STARVED, Speech.SILENT, Speech.ENDED)
CELLS = [
    (before, cue, after)
    for before, row in TABLE.items()
    for cue, after in zip(CUES, row, strict=True)
]


@pytest.mark.parametrize(("before", "cue", "after"), CELLS)
def test_the_table(before: Mouth, cue: Speech, after: Mouth) -> None:
    assert STATES[before].advance(cue).phase is after


@pytest.mark.parametrize("cue", CUES[1:])
def test_after_the_last_step_of_easing_it_is_closed(cue: Speech) -> None:
    assert MouthState(EASING, 0.2).advance(cue) == SHUT


def strengths(state: MouthState) -> list[float]:
    """Of the pictures until it is closed."""
    shown = []
    while (state := state.advance(Speech.SILENT)).phase is not CLOSED:
        shown.append(state.strength)
    return shown


def test_speech_eases_in_two_steps_and_an_interrupt_in_one() -> None:
    assert strengths(STATES[SPEAKING]) == [0.6, 0.2]
    assert strengths(STATES[SPEAKING].interrupt()) == [0.4]
    assert strengths(STATES[HOLDING].interrupt()) == [0.4]


@pytest.mark.parametrize("phase", [CLOSED, EASING])
def test_an_interrupt_of_nothing_changes_nothing(phase: Mouth) -> None:
    assert STATES[phase].interrupt() is STATES[phase]


@given(st.lists(st.sampled_from(Speech)))
def test_it_never_opens_by_itself(cues: list[Speech]) -> None:
    states = list(itertools.accumulate(cues, MouthState.advance, initial=SHUT))
    for before, after, cue in zip(states, states[1:], cues, strict=False):
        assert 0 <= after.strength <= 1
        assert (after.strength == 0) == (after.phase is CLOSED)
        if cue is not Speech.READY:
            assert after.strength <= before.strength
