import numpy as np
import pytest

from benchmarks.round_lips import TruthfulEngine, separation, width, widths
from inference.engines.viseme.shape import MouthShape
from inference.engines.viseme.training.phonetics import Truth
from inference.faces.mesh import FaceMesh
from inference.media.types import AudioWindow
from tests.drawn_face import draw_face


def wanted(rounded: list[bool]) -> Truth:
    shapes = np.zeros((len(rounded), 7), np.float32)
    for shape, is_round in zip(shapes, rounded, strict=True):
        shape[MouthShape._fields.index("round" if is_round else "wide")] = 0.8
    frames = len(rounded)
    never, always = np.zeros(frames, np.float32), np.ones(frames, np.float32)
    return Truth(shapes, np.zeros(frames, np.int64), never, always)


def test_narrow_mouths_are_right_at_rounded_sounds_and_wide_ones_are_wrong():
    due = wanted([True, True, False, False])
    narrow = np.array([0.45, 0.5, 0.55, 0.6])
    assert separation(-narrow, due) == 1
    assert separation(narrow, due) == 0
    assert separation(-np.array([0.45, 0.58, 0.55, 0.6]), due) == pytest.approx(0.75)


def test_the_width_of_a_mouth_is_independent_of_the_face_s_size():
    small, large = (FaceMesh().find(draw_face(size=size)) for size in (190, 230))
    assert width(small) == pytest.approx(width(large), rel=0.06)


def test_pictures_without_a_face_take_the_width_of_those_around():
    face, nothing = draw_face(), np.zeros((512, 512, 3), np.uint8)
    seen = widths([face, nothing, face])
    assert seen[1] == pytest.approx((seen[0] + seen[2]) / 2)


def test_the_truth_is_shown_whatever_is_heard():
    mouths = [MouthShape(round=k / 4).to_features() for k in range(4)]
    engine = TruthfulEngine(mouths)
    heard = [engine.listen([AudioWindow(np.ones(5, np.float32), 2)])[0] for _ in range(2)]
    np.testing.assert_array_equal(np.concatenate(heard), mouths)
