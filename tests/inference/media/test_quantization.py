"""How finely pictures are quantized: read from what the decoder says of them."""

import numpy as np
import pytest

from inference.media.encoder import Encoder, live_qp
from inference.media.profile import DEFAULT_PROFILE
from inference.media.quantization import mean_qp
from tests.factories import picture


def encoded(qp: int | None, count: int = 10, noise: float = 0.0) -> list[bytes]:
    encoder, random = Encoder(DEFAULT_PROFILE, qp=qp), np.random.default_rng(1)
    units = []
    for number in range(count):
        shown = picture("idle_0", number).astype(np.float32)
        shown += random.normal(0, noise, shown.shape) if noise else 0
        units.append(encoder.encode(np.clip(shown, 0, 255).astype(np.uint8)))
    return units


@pytest.mark.parametrize("qp", [18, 27, 40])
def test_of_a_stream_with_one_quantization(qp: int) -> None:
    assert mean_qp(encoded(qp, noise=6)) == pytest.approx(qp, abs=0.5)


def test_of_pictures_that_refer_to_none_or_cannot_be_read() -> None:
    units = encoded(27)
    assert mean_qp([]) is None
    assert mean_qp(units[:1]) is None
    assert mean_qp([units[0][: len(units[0]) // 2], b"\0\0\1\x65\xff\xff"]) is None


def test_live_pictures_are_as_fine_as_their_clip_down_to_what_can_be_seen() -> None:
    assert live_qp(encoded(12)) == live_qp([]) == 18
    assert live_qp(encoded(30, noise=6)) == 30


def test_live_pictures_of_a_restless_clip_have_no_more_bits() -> None:
    """The bound on a clip's bits is one on those of its live pictures, too."""
    clip = encoded(None, 50, noise=14)
    live = encoded(live_qp(clip[:25]), 50, noise=14)
    assert live_qp(clip[:25]) > 24
    ratio = sum(map(len, live)) / sum(map(len, clip))
    assert 0.6 < ratio < 1.4
