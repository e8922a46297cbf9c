"""Pasting and fading touch what they should, and nothing else."""

import numpy as np

from inference.media import compositor
from inference.media.types import Patch


def planes(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    chroma = image[512:].reshape(2, 256, 256)
    return image[:512], chroma[0], chroma[1]


def test_a_patch_lands_on_all_three_planes_and_only_there() -> None:
    source = np.random.default_rng(0).integers(0, 256, (768, 512), dtype=np.uint8)
    before = source.copy()
    patch = Patch(
        x=100,
        y=300,
        y_plane=np.full((40, 60), 1, np.uint8),
        u_plane=np.full((20, 30), 2, np.uint8),
        v_plane=np.full((20, 30), 3, np.uint8),
    )
    result = compositor.paste(source, patch)
    assert np.array_equal(source, before)
    for plane, old, value, scale in zip(
        planes(result), planes(source), (1, 2, 3), (1, 2, 2), strict=True
    ):
        box = (slice(300 // scale, 340 // scale), slice(100 // scale, 160 // scale))
        assert (plane[box] == value).all()
        outside = np.ones(plane.shape, bool)
        outside[box] = False
        assert np.array_equal(plane[outside], old[outside])


def test_a_cross_fade_is_a_weighted_mean() -> None:
    dark, bright = np.full((768, 512), 40, np.uint8), np.full((768, 512), 200, np.uint8)
    assert (compositor.cross_fade(dark, bright, 0.25) == 80).all()


def test_a_soft_patch_leaves_no_edge_and_is_itself_in_the_middle() -> None:
    picture = np.full((192 * 3 // 2, 192), 100, np.uint8)
    patch = Patch(
        16, 16, np.full((128, 128), 200, np.uint8), *(np.full((64, 64), 60, np.uint8),) * 2
    )
    whole, half = (compositor.mixed(picture, patch, opacity) for opacity in (1.0, 0.5))
    assert whole.rectangle == patch.rectangle
    assert (picture == 100).all()
    row, chroma = whole.y_plane[64].astype(int), whole.u_plane[32].astype(int)
    assert (row[0], row[64], row[-1]) == (100, 200, 100)
    assert chroma[32] == 60
    assert np.abs(np.diff(row)).max() <= 12, "100 levels at once without soft edges"
    assert np.abs(np.diff(chroma)).max() <= 10
    assert half.y_plane[64, 64] == 150
