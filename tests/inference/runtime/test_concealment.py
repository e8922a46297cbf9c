"""How long lateness is borne."""

import numpy as np
import pytest

from inference.media.types import Patch
from inference.runtime.concealment import (
    FADE_FRAMES,
    GAP,
    MADE_AGAIN,
    MAX_REPEATS,
    MAX_START_DELAY_FRAMES,
    LastMouth,
    ShownMouth,
    StartDelay,
)

PLANE = np.zeros((2, 2), np.uint8)
LAST, NEXT = (Patch(x, 0, PLANE, PLANE, PLANE) for x in (0, 2))


@pytest.fixture
def mouth() -> LastMouth:
    mouth = LastMouth()
    mouth.made(LAST)
    return mouth


def repeats(mouth: LastMouth) -> int:
    """How often the last mouth is shown as it is until it begins to fade."""
    shown = 0
    while mouth.repeat(begins_utterance=False) == ShownMouth(LAST, 1.0, is_repeated=True):
        shown += 1
    assert mouth.is_given_up
    return shown


def opacities(shown: list[ShownMouth | None]) -> list[float]:
    return [0.0 if mouth is None else mouth.opacity for mouth in shown]


def waits(delay: StartDelay) -> int:
    """How many frames an utterance waits."""
    waited = 0
    while delay.delay():
        waited += 1
    return waited


def test_before_the_first_mouth_there_is_only_the_source_pictures() -> None:
    assert LastMouth().repeat(begins_utterance=True) is None
    assert LastMouth().give_up() is None


def test_a_mouth_in_time_is_shown_as_it_is(mouth: LastMouth) -> None:
    assert mouth.made(NEXT) == ShownMouth(NEXT)
    assert mouth.made(None) is None
    assert mouth.made(NEXT) == ShownMouth(NEXT)


def test_a_mouth_is_repeated_only_so_often_and_then_fades(mouth: LastMouth) -> None:
    assert repeats(mouth) == MAX_REPEATS
    shown = [mouth.repeat(begins_utterance=False) for _ in range(FADE_FRAMES + 2)]
    assert opacities(shown) == pytest.approx([0.6, 0.4, 0.2, 0, 0, 0, 0])


def test_a_mouth_in_time_makes_all_good_again(mouth: LastMouth) -> None:
    for _ in range(MAX_REPEATS):
        mouth.repeat(begins_utterance=False)
    mouth.made(LAST)
    assert repeats(mouth) == MAX_REPEATS


def test_what_is_made_now_and_then_does_not_flash(mouth: LastMouth) -> None:
    repeats(mouth)
    shown = []
    for _ in range(10):
        shown += [mouth.made(NEXT) for _ in range(MADE_AGAIN - 1)]
        shown += [mouth.repeat(begins_utterance=False) for _ in range(GAP + 1)]
    assert opacities(shown)[FADE_FRAMES:] == [0.0] * (len(shown) - FADE_FRAMES)


@pytest.mark.parametrize("gap", [0, GAP])
def test_mouths_come_back_by_fading(mouth: LastMouth, gap: int) -> None:
    """Also where fewer are made than there are frames."""
    repeats(mouth)
    for _ in range(FADE_FRAMES):
        mouth.repeat(begins_utterance=False)
    shown: list[ShownMouth | None] = []
    for _ in range(MADE_AGAIN - 1 + FADE_FRAMES):
        shown.append(mouth.made(NEXT))
        shown += [mouth.repeat(begins_utterance=False) for _ in range(gap)]
    before = (MADE_AGAIN - 1) * (1 + gap)
    fades = [step / FADE_FRAMES for step in range(1, FADE_FRAMES + 1)]
    assert opacities(shown)[: before + FADE_FRAMES] == pytest.approx([0.0] * before + fades)
    assert not mouth.is_given_up


def test_a_mouth_that_fades_is_not_cut_off_by_a_silence(mouth: LastMouth) -> None:
    repeats(mouth)
    shown = [mouth.made(None) for _ in range(2)]
    assert opacities(shown) == pytest.approx([0.6, 0.4])


def test_whatever_happens_opacity_moves_by_a_step() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        mouth, before = LastMouth(), 1.0
        mouth.made(LAST)
        for _ in range(80):
            match rng.integers(4):
                case 0 | 1:
                    shown = mouth.made(NEXT)
                case 2:
                    shown = mouth.repeat(begins_utterance=False)
                case _:
                    shown = mouth.give_up()
            now = 0.0 if shown is None else shown.opacity
            assert abs(now - before) <= 1 / FADE_FRAMES + 1e-6
            before = now


def test_an_utterance_does_not_begin_with_the_mouth_of_another(mouth: LastMouth) -> None:
    for _ in range(FADE_FRAMES):
        assert mouth.repeat(begins_utterance=True) != ShownMouth(LAST, 1.0, is_repeated=True)
    assert mouth.repeat(begins_utterance=True) is None


def test_an_utterance_waits_only_so_long_and_the_next_one_again() -> None:
    delay = StartDelay()
    assert waits(delay) == MAX_START_DELAY_FRAMES
    assert waits(delay) == 0
    delay.reset()
    assert waits(delay) == MAX_START_DELAY_FRAMES
