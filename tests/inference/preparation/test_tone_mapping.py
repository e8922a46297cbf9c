"""A standard picture that was made an HDR one, by the standards' own formulas, comes back."""

import av
import numpy as np
import pytest

from inference.preparation.tone_mapping import (
    BT2020,
    HLG,
    P3,
    PQ,
    WHITE_NITS,
    ToneMapper,
    is_standard,
    sdr_signal,
)

TO_2020 = np.array(
    [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
)  # ITU-R BT.2087


def pq(nits: np.ndarray) -> np.ndarray:
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    power = (nits / 10_000) ** m1
    return ((c1 + c2 * power) / (1 + c3 * power)) ** m2


def hlg(nits: np.ndarray) -> np.ndarray:
    luma = nits @ [0.2627, 0.6780, 0.0593] / 1_000
    scene = nits / 1_000 * np.maximum(luma, 1e-9)[..., None] ** (1 / 1.2 - 1)
    high = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), high)


def standard_colors() -> np.ndarray:
    """Skin, cloth, grays: everything but the brightest."""
    steps = np.linspace(16, 235, 8)
    return np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 8, 3)


@pytest.mark.parametrize(("transfer", "coded"), [(PQ, pq), (HLG, hlg)])
def test_colors_come_back(transfer, coded):
    standard = standard_colors()
    nits = WHITE_NITS * (standard / 255) ** 2.4 @ TO_2020.T
    back = 255 * sdr_signal(coded(nits).astype(np.float32), transfer)
    assert np.abs(back - standard).max() < 3


TO_P3 = np.array(
    [[0.8225, 0.1774, 0.0000], [0.0332, 0.9669, 0.0000], [0.0171, 0.0724, 0.9108]]
)  # by the chromaticities of SMPTE EG 432-1
BT709 = 1


@pytest.mark.parametrize(("primaries", "to_wide"), [(BT2020, TO_2020), (P3, TO_P3)])
def test_a_wide_gamut_is_shown_in_the_standard_one(primaries, to_wide):
    standard = standard_colors()
    wide = ((standard / 255) ** 2.4 @ to_wide.T) ** (1 / 2.4)
    back = 255 * sdr_signal(wide.astype(np.float32), BT709, primaries)
    assert np.abs(back - standard).max() < 2


def test_pictures_of_eight_bits_keep_their_grays():
    gray = np.full((64, 64, 3), 128, np.uint8)
    frame = av.VideoFrame.from_ndarray(gray, format="rgb24").reformat(format="yuv420p")
    assert is_standard(frame)
    frame.color_primaries = P3
    assert not is_standard(frame)
    assert ToneMapper().to_rgb(frame, BT709).mean() == pytest.approx(128, abs=1)


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_what_is_brighter_than_white_keeps_its_order_and_hue(transfer):
    ramp = np.linspace(0.5, 1, 64, dtype=np.float32)
    gray = sdr_signal(np.repeat(ramp[None, :, None], 3, axis=2), transfer)[0]
    assert (np.diff(gray[:, 0]) > -1e-6).all()
    assert gray.max() <= 1
    assert np.ptp(gray, axis=1).max() < 0.01  # gray stays gray


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_the_table_is_the_formula(transfer):
    colors = standard_colors()
    natural = (colors + colors.mean(axis=-1, keepdims=True)) / 2
    nits = WHITE_NITS * (natural / 255) ** 2.4 @ TO_2020.T
    signal = (pq if transfer == PQ else hlg)(nits)
    deep = np.round(signal * 65_535).astype(np.uint16)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(deep), format="rgb48le")
    shown = ToneMapper().to_rgb(frame, transfer)
    wanted = 255 * sdr_signal(signal.astype(np.float32), transfer)
    assert np.percentile(np.abs(shown - wanted), 99) < 4  # the darkest are between steps
    assert np.abs(shown - wanted).mean() < 0.6
