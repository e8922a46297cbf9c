"""The mouth 200 ms after the level changed, something banged, or speech began out of nothing."""

import shutil

import numpy as np
import pytest

pytest.importorskip("scipy")

from inference.engines.viseme.engine import VisemeEngine
from inference.engines.viseme.training import evaluation, robustness, scores, speech
from inference.engines.viseme.training.sentences import HELD_OUT_ENGLISH
from inference.timing import SAMPLES_PER_FRAME

pytestmark = [
    pytest.mark.slow,
    pytest.mark.lasting,
    pytest.mark.skipif(not shutil.which("flite"), reason="needs flite (Debian package flite)"),
]


@pytest.fixture(scope="module")
def engine() -> VisemeEngine:
    loaded = VisemeEngine()
    loaded.load()
    return loaded


@pytest.mark.parametrize(
    ("disturb", "least"),
    [
        pytest.param(robustness.stepped_down(20), 0.84, id="20 dB quieter"),
        pytest.param(robustness.stepped_down(25), 0.82, id="25 dB quieter"),
        pytest.param(robustness.stepped_down(30), 0.78, id="30 dB quieter"),
        pytest.param(robustness.popped(20), 0.85, id="pop 20 dB louder"),
        pytest.param(robustness.popped(30), 0.78, id="pop 30 dB louder"),
        pytest.param(robustness.begun_in_a_vowel, 0.92, id="begun in a vowel"),
    ],
)
def test_most_of_the_opening_is_there_within_200_ms(engine, disturb, least):
    assert robustness.opening_kept(engine, ("awb", "slt"), disturb) > least


def test_a_net_that_never_opens_the_mouth_keeps_nothing(engine, monkeypatch):
    """As one that was fitted for a few steps."""
    monkeypatch.setattr(
        robustness, "heard", lambda _, sound: np.zeros((len(sound) // SAMPLES_PER_FRAME, 8))
    )
    assert robustness.opening_kept(engine, ("awb",), robustness.popped(20)) == 0


def test_a_vowel_held_from_the_first_sample_opens_the_mouth(engine):
    assert robustness.held_opening_shown(engine, ("awb", "slt")) > 0.6


def test_a_voice_that_says_its_rounded_vowels_far_to_the_front_rounds_its_lips(engine):
    """flite's Scottish awb: by the hedged value of the shape alone it was .94."""
    talk = evaluation.talk("awb", lambda text: speech.flite(text, "awb"), HELD_OUT_ENGLISH)
    assert scores.rounding(evaluation.heard(engine, talk.samples), talk.truth) > 0.95
