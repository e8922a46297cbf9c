"""Speech as a call carries it: coded by Opus, decoded, and put back to its old place in time."""

import av
import numpy as np

from inference.engines.viseme.training.sounds import Sound
from inference.timing import SAMPLE_RATE_HZ

_OPUS_FRAME = SAMPLE_RATE_HZ // 50


def through_opus(sound: Sound, bits_per_s: int) -> Sound:
    """As a call carries it: coded, decoded, and at its old place in time."""
    peak = float(np.abs(sound).max()) + 1e-9
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.format, encoder.layout = SAMPLE_RATE_HZ, "s16", "mono"
    encoder.bit_rate = bits_per_s
    encoder.open()
    decoder = av.CodecContext.create("libopus", "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.sample_rate, decoder.layout = SAMPLE_RATE_HZ, "mono"
    pcm = (np.pad(sound, (0, _OPUS_FRAME - len(sound) % _OPUS_FRAME)) / peak * 30_000).astype("<i2")
    packets = []
    for start in range(0, len(pcm), _OPUS_FRAME):
        frame = av.AudioFrame.from_ndarray(pcm[None, start : start + _OPUS_FRAME], "s16", "mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE_HZ, start
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE_HZ)
    pieces = [
        piece.to_ndarray()[0]
        for packet in packets
        for frame in decoder.decode(packet)
        for piece in resampler.resample(frame)
    ]
    heard_again = np.concatenate(pieces).astype(np.float32)
    late = _lateness(sound, heard_again)
    back = np.pad(heard_again[late:], (0, max(0, len(sound) - len(heard_again) + late)))
    return np.asarray(back[: len(sound)] * (peak * 32_768 / 30_000), np.float32)


def _lateness(sound: Sound, coded: Sound) -> int:
    """By how many samples the codec delays, at most 20 ms."""
    count = min(len(sound), len(coded) - 320)
    matches = np.correlate(coded[: count + 320], sound[:count], "valid")
    return int(np.argmax(matches))
