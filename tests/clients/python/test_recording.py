import math

import av
import numpy as np
import pytest

from inference.media.encoder import Encoder, is_idr
from inference.media.profile import VideoProfile
from talking_avatar import Frame, RecordingFailed
from talking_avatar.events import Sound
from talking_avatar.recording import Recording

PROFILE = VideoProfile(width=64, height=64, preset="ultrafast")


def tone(rate):
    return (8_000 * np.sin(2 * math.pi * 500 * np.arange(rate) / rate)).astype("<i2").tobytes()


def frames(count, *, first=0, speech_from=None, rates=(16_000,), left_out=(), idr_at=()):
    """Speech of a second, from a frame on; at several rates, one after the other."""
    encoder = Encoder(PROFILE)
    rng = np.random.default_rng(2)
    for n in range(count):
        if n in left_out:
            continue
        access_unit = encoder.encode(rng.integers(16, 235, (96, 64), np.uint8), idr=n in idr_at)
        sound, spoken = None, None if speech_from is None else n - speech_from
        if spoken is not None and 0 <= spoken < 25:
            rate = rates[spoken * len(rates) // 25]
            size = rate // 25 * 2
            sound = Sound(rate, tone(rate)[spoken * size : (spoken + 1) * size])
        yield Frame(
            data=access_unit,
            timestamp_ms=(first + n) * 40,
            is_keyframe=is_idr(access_unit),
            sound=sound,
        )


def record(path, some_frames):
    with Recording(path) as recording:
        for frame in some_frames:
            recording.add_frame(frame)
    return recording


def picture_times_s(path):
    with av.open(str(path)) as container:
        return [float(picture.time) for picture in container.decode(video=0)]


def sound_of(path):
    """float32 samples from time 0 on, as a player would give them."""
    with av.open(str(path)) as container:
        sound = np.zeros(48_000 * 20, np.float32)
        for frame in container.decode(audio=0):
            at = round(float(frame.time) * 48_000)
            samples = frame.to_ndarray()[0]
            skipped = max(0, -at)
            sound[at + skipped : at + len(samples)] = samples[skipped:]
        return sound


def test_another_session_continues_where_the_first_ended(tmp_path):
    path = tmp_path / "a.mp4"
    record(path, [*frames(10, first=5), *frames(10, speech_from=0)])
    assert picture_times_s(path) == pytest.approx([n * 0.04 for n in range(20)], abs=1e-4)
    sound = np.abs(sound_of(path))
    assert sound[: 48_000 * 38 // 100].max() < 0.02
    assert sound[48_000 * 42 // 100 : 48_000 * 78 // 100].max() > 0.2


def test_pictures_are_at_their_timestamps_from_zero(tmp_path):
    path = tmp_path / "a.mp4"
    recording = record(path, frames(60, first=100))
    assert recording.pictures == 60
    assert picture_times_s(path) == pytest.approx([n * 0.04 for n in range(60)], abs=1e-4)


def test_a_gap_stays_a_gap(tmp_path):
    path = tmp_path / "a.mp4"
    record(path, frames(50, left_out=range(20, 30), idr_at=(30,)))
    times = picture_times_s(path)
    assert times[19:21] == pytest.approx([0.76, 1.2], abs=1e-4)
    assert len(times) == 40


def test_the_video_begins_at_the_first_idr(tmp_path):
    path = tmp_path / "a.mp4"
    assert record(path, list(frames(30))[3:]).pictures == 5
    assert picture_times_s(path)[0] == 0.0


@pytest.mark.parametrize("rates", [(16_000,), (24_000,), (44_100,), (22_050, 48_000, 8_000)])
def test_speech_is_heard_where_its_frames_are(tmp_path, rates):
    path = tmp_path / "a.mp4"
    record(path, frames(75, speech_from=25, rates=rates))
    energy = np.abs(sound_of(path)[: 75 * 1_920]).reshape(-1, 480).mean(1)  # 10 ms each
    loud = np.flatnonzero(energy > 0.05)
    assert loud[0] / 100 == pytest.approx(1.0, abs=0.011)
    assert (loud[-1] + 1) / 100 == pytest.approx(2.0, abs=0.011)
    assert len(loud) >= 99


def test_sound_keeps_step_across_a_gap(tmp_path):
    path = tmp_path / "a.mp4"
    record(path, frames(75, speech_from=25, left_out=range(5, 15), idr_at=(15,)))
    energy = np.abs(sound_of(path)[: 75 * 1_920]).reshape(-1, 480).mean(1)
    assert np.flatnonzero(energy > 0.05)[0] / 100 == pytest.approx(1.0, abs=0.011)


def test_sound_is_as_long_as_the_picture(tmp_path):
    path = tmp_path / "a.mp4"
    record(path, frames(50))
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert float(video.duration * video.time_base) == pytest.approx(2.0, abs=0.01)
        assert float(audio.duration * audio.time_base) == pytest.approx(2.0, abs=0.07)


def test_no_picture_no_file(tmp_path):
    path = tmp_path / "a.mp4"
    record(path, [])
    assert not path.exists()


def test_a_broken_off_conversation_leaves_a_whole_record(tmp_path):
    path = tmp_path / "a.mp4"
    with pytest.raises(KeyboardInterrupt), Recording(path) as recording:  # noqa: PT012
        for frame in frames(10):
            recording.add_frame(frame)
        raise KeyboardInterrupt
    assert len(picture_times_s(path)) == 10


def test_where_nothing_can_be_written_it_says_so(tmp_path):
    with pytest.raises(RecordingFailed, match=r"no/such/out\.mp4 cannot be written"):
        record(tmp_path / "no" / "such" / "out.mp4", [])
