import numpy as np
import pytest

from inference.media.encoder import Encoder
from inference.media.profile import VideoProfile
from talking_avatar.decoding import AccessUnitDecoder
from tests.media import assert_decodes, assert_pts_contiguous

PROFILE = VideoProfile(width=64, height=64, preset="ultrafast")


def encoded(frames, *, idr_at=()):
    rng = np.random.default_rng(1)
    encoder = Encoder(PROFILE)
    return [
        encoder.encode(rng.integers(16, 235, (96, 64), np.uint8), idr=n in idr_at)
        for n in range(frames)
    ]


def errors_in(access_units):
    decoder = AccessUnitDecoder()
    for access_unit in access_units:
        decoder.decode(access_unit)
    return decoder.errors


def test_whole_stream_has_no_errors():
    decoder = AccessUnitDecoder()
    pictures = [decoder.decode(au) for au in encoded(60, idr_at=(7, 31))]
    assert (decoder.errors, decoder.pictures) == (0, 60)
    assert all(p is not None and (p.width, p.height) == (64, 64) for p in pictures)


def test_two_encoders_joined_at_an_idr_are_one_stream():
    assert errors_in(encoded(10) + encoded(30) + encoded(5)) == 0


@pytest.mark.parametrize("lost", [1, 10, 23, 26, 58])
def test_a_lost_reference_is_noticed_though_the_decoder_conceals_it(lost):
    access_units = encoded(60)
    del access_units[lost]
    assert errors_in(access_units) >= 1


def test_what_an_idr_follows_may_be_lost():
    access_units = encoded(60)
    del access_units[24]
    assert errors_in(access_units) == 0


def test_a_lost_idr_is_noticed():
    access_units = encoded(60)
    del access_units[25]
    assert errors_in(access_units) >= 1


def test_a_stream_that_begins_in_the_middle_is_noticed():
    assert errors_in(encoded(10)[1:]) == 9


def test_damaged_bytes_are_noticed():
    access_units = encoded(3)
    access_units[1] = access_units[1][: len(access_units[1]) // 3]
    decoder = AccessUnitDecoder()
    decoder.decode(access_units[0])
    decoder.decode(access_units[1])
    assert decoder.errors == 1
    assert decoder.last_error


@pytest.mark.parametrize("rubbish", [b"", b"\x00\x00\x01", b"\x00\x00\x01\x65", b"hello"])
def test_rubbish_is_an_error_and_no_exception(rubbish):
    decoder = AccessUnitDecoder()
    assert decoder.decode(rubbish) is None
    assert decoder.errors == 1


def test_assertions_pass_and_fail_where_they_should():
    access_units = encoded(30)
    assert len(assert_decodes(access_units)) == 30
    with pytest.raises(AssertionError, match="access unit 12"):
        assert_decodes(access_units[:12] + access_units[13:])
    assert_pts_contiguous([80, 120, 160], first_ms=80)
    with pytest.raises(AssertionError, match="frame 2"):
        assert_pts_contiguous([0, 40, 120])
