"""The score distinguishes good lip-sync from late, still, shuffled and shut mouths."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.score import LipTruth, correlation, filled, lip_gap, score, separation, steady_gap
from inference.faces.mesh import FaceMesh
from tests.drawn_face import draw_face


def speech(seed: int, frames: int = 400) -> LipTruth:
    """Syllables at random: a bilabial, then a vowel, now and then a pause."""
    random = np.random.default_rng(seed)
    opening, bilabial = [], []
    while len(opening) < frames:
        vowel = random.integers(3, 8)
        peak = random.uniform(0.3, 1.0)
        opening += [0.0, 0.0, *(peak * np.sin(np.linspace(0.4, np.pi - 0.4, vowel)))]
        bilabial += [True, True] + [False] * vowel
        if random.random() < 0.2:
            opening += [0.1] * 8
            bilabial += [False] * 8
    return LipTruth(np.array(opening[:frames]), np.array(bilabial[:frames]))


def seen(truth: LipTruth, seed: int = 9, noise: float = 0.01) -> np.ndarray:
    """The gap a good renderer would show: another scale, an offset, some noise."""
    random = np.random.default_rng(seed)
    return 0.02 + 0.3 * truth.opening + random.normal(0, noise, len(truth))


def test_the_right_mouth_scores_high_and_the_wrong_one_does_not():
    truth, others = speech(1), [speech(n) for n in range(2, 6)]

    right = score(seen(truth).tolist(), truth, others)
    wrong = score(seen(others[0]).tolist(), truth, [])

    assert right.correlation > 0.98
    assert right.lag == 0
    assert right.separation > 0.99
    assert right.correlation - right.wrong > 0.6
    assert wrong.correlation < 0.4
    assert wrong.separation < 0.8


@pytest.mark.parametrize("lag", [-3, -1, 0, 2, 5])
def test_the_lag_is_found(lag):
    truth = speech(1)
    late = np.roll(seen(truth), lag)

    found, at = correlation(late, truth.opening)

    assert at == lag
    assert found > 0.95


def test_a_still_mouth_scores_nothing():
    truth = speech(1)
    still = score([0.02] * len(truth), truth, [speech(2)])

    assert still.correlation == 0.0
    assert still.separation == 0.5


def test_a_mouth_that_never_shuts_is_reported_from_one_that_does():
    truth = speech(1)
    never = np.maximum(seen(truth), 0.02 + 0.3 * 0.8)

    assert separation(seen(truth), truth) > separation(never, truth) + 0.1


def test_a_closure_one_frame_beside_its_place_still_counts():
    opening = np.tile([0.8, 0.8, 0.0, 0.8, 0.8, 0.8], 20)
    bilabial = np.tile([False, False, True, False, False, False], 20)

    assert separation(np.roll(opening, 1), LipTruth(opening, bilabial)) > 0.8


def test_separation_is_undefined_without_vowels_or_bilabials():
    assert np.isnan(separation(np.ones(5), LipTruth(np.ones(5), np.zeros(5, bool))))
    assert np.isnan(separation(np.ones(5), LipTruth(np.zeros(5), np.ones(5, bool))))


@given(scale=st.floats(0.05, 20), offset=st.floats(-5, 5), seed=st.integers(0, 50))
def test_scale_and_offset_of_the_gap_do_not_matter(scale, offset, seed):
    truth = speech(seed, frames=120)
    plain = seen(truth)

    assert correlation(scale * plain + offset, truth.opening)[0] == pytest.approx(
        correlation(plain, truth.opening)[0], abs=1e-6
    )


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=60), st.integers(0, 9))
def test_separation_of_a_set_equals_its_definition(values, seed):
    """Against the definition, pair by pair; bilabials apart, so that no neighbor plays in."""
    seen_ = np.repeat(values, 3)
    truth = LipTruth(
        np.repeat(np.random.default_rng(seed).integers(0, 2, len(values)), 3).astype(float),
        np.zeros(len(seen_), bool),
    )
    is_bilabial = (truth.opening == 0) & (np.arange(len(seen_)) % 3 == 1)
    found = separation(seen_, LipTruth(truth.opening, is_bilabial))
    closed, vowels = seen_[is_bilabial], seen_[truth.opening > 0.5]

    if not len(closed) or not len(vowels):
        assert np.isnan(found)
    else:
        pairs = np.sign(vowels[:, None] - closed[None]) / 2 + 0.5
        assert found == pytest.approx(pairs.mean(), abs=1e-9)


def test_gaps_without_a_face_are_bridged_and_counted():
    truth = speech(1)
    gaps = seen(truth)
    gaps[::10] = np.nan

    result = score(gaps.tolist(), truth, [])

    assert result.missed == pytest.approx(0.1)
    assert result.correlation > 0.9
    np.testing.assert_allclose(filled([np.nan, 1.0, np.nan, 3.0, np.nan]), [1, 1, 2, 3, 3])
    with pytest.raises(ValueError, match="no picture shows a face"):
        filled([np.nan, np.nan])


def test_the_lip_gap_is_independent_of_the_face_s_size():
    gaps = [lip_gap(FaceMesh().find(draw_face(size=s, mouth_open=0.8))) for s in (140, 260)]

    assert gaps[0] == pytest.approx(gaps[1], rel=0.15)
    assert np.isnan(lip_gap(None))


def test_several_looks_at_a_mouth_agree_better_than_single_ones():
    mesh, single, several = FaceMesh(), [], []
    for step in range(12):
        picture = draw_face(x=250 + 1.3 * step, mouth_open=0.35)
        face = mesh.find(picture)
        single.append(lip_gap(face))
        several.append(steady_gap(mesh, picture, face))

    assert np.std(several) < 0.7 * np.std(single)
    assert np.mean(several) == pytest.approx(np.mean(single), rel=0.1)


def test_no_face_has_no_steady_gap():
    assert np.isnan(steady_gap(FaceMesh(), draw_face(), None))
