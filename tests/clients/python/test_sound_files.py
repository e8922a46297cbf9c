import math
import wave

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


def test_silence_of_no_length_and_folders_are_said(tmp_path):
    with pytest.raises(SoundUnreadable, match="no sound in it"):
        read_speech(write_wav(tmp_path / "a.wav", seconds=0))
    with pytest.raises(SoundUnreadable, match="is not a file"):
        read_speech(tmp_path)


def test_another_rate_may_be_asked_for(tmp_path):
    path = write_wav(tmp_path / "a.wav")
    assert abs(len(read_speech(path, 24_000)) // 2 - 12_000) <= 20
