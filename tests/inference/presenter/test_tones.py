"""Tones: the reference is shown as it was painted, another material at the same brightness."""

import pytest

from inference.presenter.look import LIPS, SKIN
from inference.presenter.looks import NARRATOR, PRESENTER
from inference.presenter.tones import Tones


def brightness(code: str) -> float:
    red, green, blue = (int(code[i : i + 2], 16) for i in (0, 2, 4))
    return 0.299 * red + 0.587 * green + 0.114 * blue


@pytest.mark.parametrize("code", ["8E4A3A", "FFFFFF", "010203"])
def test_the_reference_keeps_every_color(code: str) -> None:
    assert Tones(SKIN, SKIN)(code) == code


@pytest.mark.parametrize(("place", "code"), SKIN)
def test_a_stop_becomes_the_other_ramps_stop(place: float, code: str) -> None:
    wanted = dict(NARRATOR.skin.own)[place]
    shown = NARRATOR.skin(code)
    assert all(abs(int(shown[i : i + 2], 16) - int(wanted[i : i + 2], 16)) <= 2 for i in (0, 2, 4))


def test_shadows_stay_darker_than_the_skin_and_the_lights_brighter() -> None:
    dark, skin, bright = (
        brightness(NARRATOR.skin(code)) for code in ("6E3326", "E3A98B", "FFF6EC")
    )
    assert dark < skin < bright


def test_a_blush_stays_redder_than_the_skin_around() -> None:
    plain, blushed = NARRATOR.skin("E3A98B"), NARRATOR.skin("E38F75")

    def redness(code: str) -> float:
        return int(code[:2], 16) / max(int(code[2:4], 16), 1)

    assert redness(blushed) > redness(plain)


def test_two_presenters_differ_in_all_that_is_seen_first() -> None:
    for part in ("skin", "lips", "face", "eyes", "mouth", "hair", "clothes", "room"):
        assert getattr(PRESENTER, part) != getattr(NARRATOR, part)
    assert PRESENTER.lips == Tones(LIPS, LIPS)
