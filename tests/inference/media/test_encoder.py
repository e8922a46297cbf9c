"""Encoding: one access unit a picture, IDRs where they are asked for, nothing a decoder minds."""

import av
import cv2
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext

from inference.media import encoder as encoder_module
from inference.media.encoder import Encoder, codec_string, is_idr, nal_types
from inference.media.profile import DEFAULT_PROFILE, VideoProfile
from tests.factories import picture

SPS, PPS, SLICE = 7, 8, 1


def units(count: int, forced: tuple[int, ...] = ()) -> list[bytes]:
    encoder = Encoder(DEFAULT_PROFILE)
    return [encoder.encode(picture("idle_0", n), idr=n in forced) for n in range(count)]


def test_first_and_every_full_gop_is_an_idr_with_its_headers() -> None:
    encoded = units(60)
    assert [n for n, unit in enumerate(encoded) if is_idr(unit)] == [0, 25, 50]
    assert {SPS, PPS} <= set(nal_types(encoded[25]))
    assert nal_types(encoded[1]) == [SLICE]


def test_a_forced_idr_starts_a_new_gop() -> None:
    encoded = units(60, forced=(10,))
    assert [n for n, unit in enumerate(encoded) if is_idr(unit)] == [0, 10, 35]


def test_groups_may_be_cut_short_repeatedly() -> None:
    encoded = units(80, forced=(10, 40, 41))
    assert [n for n, unit in enumerate(encoded) if is_idr(unit)] == [0, 10, 35, 40, 41, 66]
    assert {SPS, PPS} <= set(nal_types(encoded[66]))


def test_no_x264_is_opened_for_a_group_after_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """To open one takes as long as to encode an IDR, and the frame waits for both."""
    opened = 0
    original = encoder_module._codec

    def counted(profile: VideoProfile, idr_quality: float, qp: int | None) -> VideoCodecContext:
        nonlocal opened
        opened += 1
        return original(profile, idr_quality, qp)

    monkeypatch.setattr(encoder_module, "_codec", counted)
    units(110, forced=(60,))
    assert opened == 2


def test_every_access_unit_decodes_at_once_and_looks_right() -> None:
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    for number, unit in enumerate(units(60, forced=(7, 40))):
        (frame,) = decoder.decode(av.Packet(unit))
        seen = frame.to_ndarray(format="yuv420p").astype(float)
        assert np.abs(seen - picture("idle_0", number)).mean() < 1.5


def test_the_first_idr_is_finer_than_a_later_one() -> None:
    """At a seam it follows another encoding of nearly the same picture."""
    textured = np.random.default_rng(3).normal(128, 25, (768, 512))
    source = np.clip(cv2.GaussianBlur(textured, (0, 0), 1.0), 16, 235).astype(np.uint8)
    encoder, decoder = Encoder(DEFAULT_PROFILE), av.CodecContext.create("h264", "r")
    distances = []
    for idr in (True, True):
        (frame,) = decoder.decode(av.Packet(encoder.encode(source, idr=idr)))
        seen = frame.to_ndarray(format="yuv420p").astype(float)
        distances.append(np.abs(seen - source).mean())
    assert distances[0] < 0.8 * distances[1]


def test_two_encoders_splice_at_an_idr() -> None:
    spliced = units(12) + units(12)
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    assert sum(len(decoder.decode(av.Packet(unit))) for unit in spliced) == 24


def test_the_codec_string_names_constrained_baseline() -> None:
    assert codec_string(units(1)[0]) == "avc1.42C01E"
    with pytest.raises(ValueError, match="no SPS"):
        codec_string(units(2)[1])
