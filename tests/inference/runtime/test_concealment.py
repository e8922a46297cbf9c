"""How long lateness is borne."""

import numpy as np
import pytest

from inference.media.types import Patch
from inference.runtime.concealment import MAX_REPEATS, MAX_START_DELAY_FRAMES, ErrorConcealment

PLANE = np.zeros((2, 2), np.uint8)
LAST = Patch(0, 0, PLANE, PLANE, PLANE)


@pytest.fixture
def concealment() -> ErrorConcealment:
    concealment = ErrorConcealment()
    concealment.made(LAST)
    return concealment


def repeats(concealment: ErrorConcealment) -> int:
    """How often the last mouth is shown until it is too often."""
    shown = 0
    while concealment.repeat(begins_utterance=False):
        assert concealment.patch is LAST
        shown += 1
    return shown


def waits(concealment: ErrorConcealment) -> int:
    """How many frames an utterance waits."""
    waited = 0
    while concealment.delay_start():
        waited += 1
    return waited


def test_before_the_first_mouth_there_is_only_the_source_pictures() -> None:
    assert ErrorConcealment().patch is None


def test_a_mouth_is_repeated_only_so_often(concealment: ErrorConcealment) -> None:
    assert repeats(concealment) == MAX_REPEATS
    assert concealment.patch is None
    assert not concealment.repeat(begins_utterance=False), "it does not come back by itself"


def test_a_mouth_in_time_makes_all_good_again(concealment: ErrorConcealment) -> None:
    repeats(concealment)
    waits(concealment)
    concealment.made(LAST)
    assert repeats(concealment) == MAX_REPEATS
    concealment.made(LAST)
    assert waits(concealment) == MAX_START_DELAY_FRAMES


def test_an_utterance_waits_only_so_long_and_then_begins_without_a_mouth(
    concealment: ErrorConcealment,
) -> None:
    assert waits(concealment) == MAX_START_DELAY_FRAMES
    assert not concealment.repeat(begins_utterance=True)
    assert concealment.patch is None
    assert waits(concealment) == MAX_START_DELAY_FRAMES, "the next utterance waits again"


def test_who_waits_for_something_else_waits_again(concealment: ErrorConcealment) -> None:
    waits(concealment)
    concealment.reset()
    assert waits(concealment) == MAX_START_DELAY_FRAMES
