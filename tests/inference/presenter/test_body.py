"""Clothes: nothing of them is seen beside the neck."""

import pytest

pytest.importorskip("skia")

from inference.presenter import body
from inference.presenter.looks import LOOKS
from inference.presenter.paint import MARGIN, SCALE


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_neither_the_neckline_nor_a_shadow_looks_out_beside_the_collar(look):
    for layer in (body.top(look.clothes), body.jacket(look.clothes)):
        alpha = layer[..., 3]
        bottom = (371 + MARGIN) * SCALE
        left, right = (189 + MARGIN) * SCALE, (324 + MARGIN) * SCALE
        assert alpha[:bottom, :left].max() <= 1
        assert alpha[:bottom, right:].max() <= 1
