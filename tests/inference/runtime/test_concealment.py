"""How long lateness is borne."""

import numpy as np
import pytest

from inference.media.types import Patch
from inference.runtime.concealment import (
    MAX_REPEATS,
    MAX_START_DELAY_FRAMES,
    LastMouth,
    StartDelay,
)

PLANE = np.zeros((2, 2), np.uint8)
LAST = Patch(0, 0, PLANE, PLANE, PLANE)


@pytest.fixture
def mouth() -> LastMouth:
    mouth = LastMouth()
    mouth.made(LAST)
    return mouth


def repeats(mouth: LastMouth) -> int:
    """How often the last mouth is shown until it is too often."""
    shown = 0
    while mouth.repeat(begins_utterance=False):
        assert mouth.patch is LAST
        shown += 1
    return shown


def waits(delay: StartDelay) -> int:
    """How many frames an utterance waits."""
    waited = 0
    while delay.delay():
        waited += 1
    return waited


def test_before_the_first_mouth_there_is_only_the_source_pictures() -> None:
    assert LastMouth().patch is None


def test_a_mouth_is_repeated_only_so_often(mouth: LastMouth) -> None:
    assert repeats(mouth) == MAX_REPEATS
    assert mouth.patch is None
    assert not mouth.repeat(begins_utterance=False), "it does not come back by itself"


def test_a_mouth_in_time_makes_all_good_again(mouth: LastMouth) -> None:
    repeats(mouth)
    mouth.made(LAST)
    assert repeats(mouth) == MAX_REPEATS


def test_an_utterance_does_not_begin_with_the_mouth_of_another(mouth: LastMouth) -> None:
    assert not mouth.repeat(begins_utterance=True)
    assert mouth.patch is None


def test_an_utterance_waits_only_so_long_and_the_next_one_again() -> None:
    delay = StartDelay()
    assert waits(delay) == MAX_START_DELAY_FRAMES
    assert waits(delay) == 0
    delay.reset()
    assert waits(delay) == MAX_START_DELAY_FRAMES
