"""How long lateness is borne."""

import numpy as np
import pytest

from inference.engines.base import Patch
from inference.stand_in import MAX_REPEATS, MAX_START_DELAY_FRAMES, StandIn

PLANE = np.zeros((2, 2), np.uint8)
LAST = Patch(0, 0, PLANE, PLANE, PLANE)


@pytest.fixture
def stand_in() -> StandIn:
    stand_in = StandIn()
    stand_in.made(LAST)
    return stand_in


def repeats(stand_in: StandIn) -> int:
    """How often the last mouth is shown until it is too often."""
    shown = 0
    while stand_in.repeat(begins_utterance=False):
        assert stand_in.patch is LAST
        shown += 1
    return shown


def waits(stand_in: StandIn) -> int:
    """How many frames an utterance waits."""
    waited = 0
    while stand_in.delay_start():
        waited += 1
    return waited


def test_before_the_first_mouth_there_is_only_the_source_pictures() -> None:
    assert StandIn().patch is None


def test_a_mouth_is_repeated_only_so_often(stand_in: StandIn) -> None:
    assert repeats(stand_in) == MAX_REPEATS
    assert stand_in.patch is None
    assert not stand_in.repeat(begins_utterance=False), "it does not come back by itself"


def test_a_mouth_in_time_makes_all_good_again(stand_in: StandIn) -> None:
    repeats(stand_in)
    waits(stand_in)
    stand_in.made(LAST)
    assert repeats(stand_in) == MAX_REPEATS
    stand_in.made(LAST)
    assert waits(stand_in) == MAX_START_DELAY_FRAMES


def test_an_utterance_waits_only_so_long_and_then_begins_without_a_mouth(stand_in: StandIn) -> None:
    assert waits(stand_in) == MAX_START_DELAY_FRAMES
    assert not stand_in.repeat(begins_utterance=True)
    assert stand_in.patch is None
    assert waits(stand_in) == MAX_START_DELAY_FRAMES, "the next utterance waits anew"


def test_who_waits_for_something_else_waits_anew(stand_in: StandIn) -> None:
    waits(stand_in)
    stand_in.begin_anew()
    assert waits(stand_in) == MAX_START_DELAY_FRAMES
