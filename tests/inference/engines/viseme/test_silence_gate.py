import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from inference.engines.viseme.net import CLOSED, JAW, OUTPUTS, ROUNDED, SPEAKING
from inference.engines.viseme.shape import MouthShape
from inference.engines.viseme.silence_gate import mouth_shapes

SURELY = 20.0
WIDE, ROUND = (MouthShape._fields.index(name) for name in ("wide", "round"))


def outputs(*, closed: float, speaking: float, opening: float = 0.8) -> np.ndarray:
    said = np.zeros(OUTPUTS, np.float32)
    said[0], said[CLOSED], said[SPEAKING] = opening, closed, speaking
    return said


@given(arrays(np.float32, (5, OUTPUTS), elements=st.floats(-100, 100, width=32)))
def test_shapes_stay_in_their_bounds(said):
    shapes = mouth_shapes(said)
    assert shapes.shape == (5, len(MouthShape._fields))
    both_ways = [MouthShape._fields.index(name) for name in ("wide", "jaw")]
    assert (np.delete(shapes, both_ways, 1) >= 0).all()
    assert (np.abs(shapes) <= 1).all()


def test_nobody_speaking_is_exactly_the_rest_pose():
    assert not mouth_shapes(outputs(closed=-SURELY, speaking=-SURELY)).any()


def test_speech_opens_as_far_as_the_net_says():
    shape = MouthShape.from_features(mouth_shapes(outputs(closed=-SURELY, speaking=SURELY)))
    assert shape.open == np.float32(0.8)
    assert shape.press == 0


def test_a_bilabial_shuts_the_lips():
    shape = MouthShape.from_features(mouth_shapes(outputs(closed=SURELY, speaking=SURELY)))
    assert shape.open == 0
    assert shape.press == 1


def test_lips_close_for_a_bilabial_without_the_jaw():
    said = outputs(closed=SURELY, speaking=SURELY)
    said[JAW] = 0.4
    shape = MouthShape.from_features(mouth_shapes(said))
    assert shape.open == 0
    assert shape.jaw == np.float32(0.4)


@given(st.floats(0, 1), st.floats(0, 1))
def test_lips_and_jaw_together_are_as_open_as_the_net_says_of_the_jaw(opening, jaw):
    said = outputs(closed=-SURELY, speaking=SURELY, opening=opening)
    said[JAW] = jaw
    shape = MouthShape.from_features(mouth_shapes(said))
    assert abs(shape.open + shape.jaw - jaw) < 1e-5


def test_a_voice_that_hedges_about_round_lips_rounds_them_if_they_are_not_spread():
    said = outputs(closed=-SURELY, speaking=SURELY)
    said[ROUND] = 0.45
    shapes = []
    for said[ROUNDED] in (4, -4):
        shapes.append(MouthShape.from_features(mouth_shapes(said)))
    rounded, spread = shapes
    assert rounded.round > 0.55
    assert spread.round < 0.05


@pytest.mark.parametrize("said_wide", [0.3, -0.1, -0.9])
def test_round_lips_are_pursed_however_the_net_hedges_about_that(said_wide):
    said = outputs(closed=-SURELY, speaking=SURELY)
    said[ROUND], said[WIDE] = 0.6, said_wide
    shapes = []
    for said[ROUNDED] in (SURELY, -SURELY):
        shapes.append(MouthShape.from_features(mouth_shapes(said)))
    rounded, spread = shapes
    assert rounded.wide <= min(said_wide, -0.45) + 1e-6
    assert spread.wide == pytest.approx(said_wide)


@given(st.floats(-5, 5), st.floats(-5, 5))
def test_surer_of_closed_lips_never_opens_them(first, second):
    surer, less = max(first, second), min(first, second)
    opening = [mouth_shapes(outputs(closed=closed, speaking=SURELY))[0] for closed in (less, surer)]
    assert opening[1] <= opening[0]


def test_what_the_net_said_is_left_as_it_was():
    said = outputs(closed=0.0, speaking=0.0, opening=3.0)
    before = said.copy()
    mouth_shapes(said)
    np.testing.assert_array_equal(said, before)
