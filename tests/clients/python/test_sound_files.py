import math
import struct
import wave
from pathlib import Path

import av
import numpy as np
import pytest

from talking_avatar import SoundUnreadable
from talking_avatar.sound_files import read_speech

TONE_HZ = 400


def write_wav(path, *, rate_hz=16_000, channels=1, width=2, seconds=0.5):
    """A tone at half the full scale, the same in every channel."""
    tone = 0.5 * np.sin(2 * math.pi * TONE_HZ * np.arange(int(rate_hz * seconds)) / rate_hz)
    samples = np.repeat(tone[:, np.newaxis], channels, axis=1).ravel()
    if width == 1:
        raw = (samples * 127 + 128).astype(np.uint8).tobytes()
    else:
        whole = (samples * (2 ** (8 * width - 1) - 1)).astype("<i4")
        raw = whole.view(np.uint8).reshape(-1, 4)[:, :width].tobytes()
    with wave.open(str(path), "wb") as out:
        out.setparams((channels, width, rate_hz, 0, "NONE", ""))
        out.writeframes(raw)
    return path


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_any_wav_becomes_16_khz_mono(tmp_path, rate_hz, channels, width):
    pcm = read_speech(
        write_wav(tmp_path / "a.wav", rate_hz=rate_hz, channels=channels, width=width)
    )
    samples = np.frombuffer(pcm, np.int16)
    assert abs(len(samples) - 8_000) <= 2
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    assert abs(np.argmax(spectrum) * 16_000 / len(samples) - TONE_HZ) < 3
    assert samples.max() > 4_000


@pytest.mark.parametrize("others", [0.0, 0.05])
def test_a_voice_in_the_center_of_six_channels_keeps_its_loudness(tmp_path, others):
    """FL FR FC LFE BL BR."""
    noise = others * np.random.default_rng(1).uniform(-1, 1, (6, 48_000))
    noise[2] = tone(48_000)
    sound, _ = heard(write_sound(tmp_path / "a.wav", list(noise), 48_000))
    assert np.abs(np.fft.rfft(sound)[int(TONE_HZ)]) / 8_000 == pytest.approx(0.5, rel=0.05)


def test_six_channels_that_are_loud_together_are_not_clipped(tmp_path):
    sound, _ = heard(write_sound(tmp_path / "a.wav", [1.9 * tone(48_000)] * 6, 48_000))
    assert 0.98 < np.abs(sound).max() <= 1
    assert np.mean(np.abs(sound) > 0.98) < 0.2, "a sine, and no square"


def test_16_khz_mono_is_taken_as_it_is(tmp_path):
    path = write_wav(tmp_path / "a.wav")
    with wave.open(str(path)) as original:
        assert read_speech(path) == original.readframes(10**6)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.wav", None, "There is no file"),
        ("text.wav", b"not a sound at all", "is not a sound file"),
        ("empty.wav", b"", "is not a sound file"),
    ],
)
def test_what_cannot_be_heard_is_said(tmp_path, name, content, words):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SoundUnreadable, match=words):
        read_speech(path)


def riff(samples, *, kind, channels=1):
    """A WAV file of a format number, as no library would write it."""
    block = channels * samples.itemsize
    head = struct.pack(
        "<HHIIHH", kind, channels, 16_000, 16_000 * block, block, 8 * samples.itemsize
    )
    sizes = [struct.pack("<I", size) for size in (36 + samples.nbytes, 16, samples.nbytes)]
    return b"".join(
        [b"RIFF", sizes[0], b"WAVEfmt ", sizes[1], head, b"data", sizes[2], samples.tobytes()]
    )


def test_a_codec_that_nobody_knows_is_said(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(riff(np.ones(800, "<i2"), kind=0x1234))
    with pytest.raises(SoundUnreadable, match="is not a sound file: there is no decoder for it"):
        read_speech(path)


@pytest.mark.parametrize("channels", [9, 17, 64])
def test_channels_without_names_are_mixed(tmp_path, channels):
    tone = (8_000 * np.sin(np.arange(1_600) / 6)).astype("<i2")
    path = tmp_path / "a.wav"
    path.write_bytes(riff(np.repeat(tone, channels), kind=1, channels=channels))
    assert np.abs(np.frombuffer(read_speech(path), "<i2") - tone).max() <= 1


@pytest.mark.parametrize("width", ["<f4", "<f8"])
def test_numbers_that_are_none_are_no_noise(tmp_path, width):
    samples = np.full(1_600, 0.25, width)
    samples[::7] = np.nan
    path = tmp_path / "a.wav"
    path.write_bytes(riff(samples, kind=3))
    heard = np.frombuffer(read_speech(path), "<i2")
    assert set(heard.tolist()) == {0, 8_192}


def test_a_colon_in_a_name_is_no_protocol(tmp_path, monkeypatch):
    write_wav(tmp_path / "http:a.wav")
    monkeypatch.chdir(tmp_path)
    assert len(read_speech(Path("http:a.wav"))) == 16_000


def test_silence_of_no_length_and_folders_are_said(tmp_path):
    with pytest.raises(SoundUnreadable, match="no sound in it"):
        read_speech(write_wav(tmp_path / "a.wav", seconds=0))
    with pytest.raises(SoundUnreadable, match="is not a file"):
        read_speech(tmp_path)


def test_another_rate_may_be_asked_for(tmp_path):
    path = write_wav(tmp_path / "a.wav")
    assert abs(len(read_speech(path, 24_000)) // 2 - 12_000) <= 20


def tone(rate_hz=16_000, seconds=1.0, hz=TONE_HZ):
    """float32 ``[n]``, half the full scale."""
    return 0.5 * np.sin(2 * math.pi * hz * np.arange(int(rate_hz * seconds)) / rate_hz)


def write_sound(path, channels, rate_hz, *, codec="pcm_s16le"):
    """``channels``: float arrays of one length."""
    pcm = (np.stack(channels, axis=1) * 32_767).astype(np.int16)
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(channels)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate_hz, layout=layout)
        frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout=layout)
        frame.sample_rate, frame.pts = rate_hz, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def heard(path):
    """What is read, float32 ``[n]``, and the warnings."""
    warnings = []
    pcm = read_speech(path, warn=warnings.append)
    return np.frombuffer(pcm, "<i2") / 32_768, warnings


def joined(path, *parts):
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def overwritten(path, at, size):
    content = bytearray(path.read_bytes())
    start = int(at * len(content))
    content[start : start + size] = np.random.default_rng(3).bytes(size)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("ending", "codec", "rates_hz"),
    [
        ("mp3", "libmp3lame", (22_050, 44_100)),
        ("aac", "aac", (44_100, 22_050)),
    ],
)
def test_pieces_of_two_formats_are_read_to_the_end(tmp_path, ending, codec, rates_hz):
    before, after = rates_hz
    first = write_sound(tmp_path / f"a.{ending}", [tone(before)], before, codec=codec)
    second = write_sound(tmp_path / f"b.{ending}", [tone(after)] * 2, after, codec=codec)

    sound, warnings = heard(joined(tmp_path / f"both.{ending}", first, second))

    assert len(sound) / 16_000 == pytest.approx(2.0, abs=0.15)
    for part in np.array_split(sound, 4):
        spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
        assert np.argmax(spectrum) * 16_000 / len(part) == pytest.approx(TONE_HZ, abs=8)
    changes = [line for line in warnings if "changes" in line]
    assert len(changes) == 1
    assert f"from {before} Hz mono to {after} Hz stereo at 1." in changes[0]


def test_joined_pieces_of_one_format_are_one(tmp_path):
    piece = write_sound(tmp_path / "a.ogg", [tone(48_000)], 48_000, codec="libopus")

    sound, warnings = heard(joined(tmp_path / "both.ogg", piece, piece))

    assert len(sound) / 16_000 == pytest.approx(2.0, abs=0.05)
    assert warnings == []


@pytest.mark.parametrize("codecs", [("libopus", "libopus"), ("flac", "flac"), ("libopus", "flac")])
def test_a_chain_of_ogg_streams_is_read_to_its_end(tmp_path, codecs):
    before, after = codecs
    first = write_sound(tmp_path / "a.ogg", [tone(48_000)], 48_000, codec=before)
    second = write_sound(tmp_path / "b.ogg", [tone(48_000, hz=800)] * 2, 48_000, codec=after)

    sound, warnings = heard(joined(tmp_path / "both.ogg", first, second, first))

    assert len(sound) / 16_000 == pytest.approx(3.0, abs=0.05)
    for part, hz in zip(np.array_split(sound, 3), (TONE_HZ, 800, TONE_HZ), strict=True):
        spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
        assert np.argmax(spectrum) * 16_000 / len(part) == pytest.approx(hz, abs=8)
    assert [line.partition("changes ")[2] for line in warnings] == [
        "from 48000 Hz mono to 48000 Hz stereo at 1.0 s.",
        "from 48000 Hz stereo to 48000 Hz mono at 2.0 s.",
    ]


def test_a_link_that_cannot_be_read_costs_what_is_in_it(tmp_path):
    first = write_sound(tmp_path / "a.ogg", [tone(48_000)], 48_000, codec="libopus")
    second = write_sound(tmp_path / "b.ogg", [tone(48_000)], 48_000, codec="libopus")
    content = second.read_bytes().replace(b"OpusHead", b"NotAHead")
    second.write_bytes(content)

    sound, warnings = heard(joined(tmp_path / "all.ogg", first, second, first))

    assert len(sound) / 16_000 == pytest.approx(2.0, abs=0.05)
    assert len(warnings) <= 1


@pytest.mark.parametrize(
    ("ending", "codec"), [("mp3", "libmp3lame"), ("flac", "flac"), ("aac", "aac")]
)
def test_damage_costs_what_is_damaged(tmp_path, ending, codec):
    path = write_sound(tmp_path / f"a.{ending}", [tone(seconds=4)], 16_000, codec=codec)

    sound, warnings = heard(overwritten(path, 0.5, 700))

    assert 2.5 < len(sound) / 16_000 < 4.2
    assert np.abs(sound[-8_000:]).max() > 0.3
    assert len(warnings) == 1
    assert "is damaged at " in warnings[0]


@pytest.mark.parametrize("ending", ["flac", "mp3", "wav", "ogg"])
def test_a_file_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path, ending):
    codec = {"mp3": "libmp3lame", "wav": "pcm_s16le", "ogg": "libopus"}.get(ending, ending)
    path = write_sound(tmp_path / f"a.{ending}", [tone(seconds=4)], 16_000, codec=codec)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])

    sound, _ = heard(path)

    assert 1.5 < len(sound) / 16_000 < 3.0


def test_a_side_that_is_inverted_does_not_silence_the_other(tmp_path):
    noise = np.random.default_rng(5).normal(0, 0.02, 16_000)
    path = write_sound(tmp_path / "a.wav", [tone(), -tone() + noise], 16_000)

    sound, warnings = heard(path)

    assert np.abs(sound).max() > 0.4
    assert len(warnings) == 1
    assert "inverted" in warnings[0]


@pytest.mark.parametrize("right", [tone(), tone(hz=630), np.zeros(16_000), 0.1 * tone()])
def test_other_stereo_is_mixed(tmp_path, right):
    sound, warnings = heard(write_sound(tmp_path / "a.wav", [tone(), right], 16_000))

    assert warnings == []
    assert sound == pytest.approx((tone() + right) / 2, abs=1e-3)


def test_a_whole_file_has_no_warning(tmp_path):
    for ending, codec in (("mp3", "libmp3lame"), ("flac", "flac"), ("ogg", "libopus")):
        path = write_sound(tmp_path / f"a.{ending}", [tone(24_000)], 24_000, codec=codec)
        assert heard(path)[1] == []
