"""What is kept of the sound of speech, and for how long."""

import pytest

from streaming.session.sound_track import SoundTrack
from tests.streaming.fakes import numbered


def track_of(pcm: bytes, *, kept: int = 0, rate: int = 16_000) -> SoundTrack:
    track = SoundTrack(kept)
    track.append(pcm, rate, 1, 0, begins=True)
    return track


def test_each_frame_has_its_own_sound_and_the_last_one_what_is_left():
    pcm = numbered(0, 1_000)
    track = track_of(pcm)
    assert track.take(0, 640).data == pcm[:1_280]
    assert track.take(640, 360).data == pcm[1_280:]


def test_without_a_window_nothing_is_kept_that_was_shown():
    track = track_of(numbered(0, 1_280))
    track.take(0, 640)
    assert track.take(0, 640).data == b""


def test_what_was_shown_is_kept_for_so_long():
    pcm = numbered(0, 6_400)
    track = track_of(pcm, kept=1_280)
    for position in range(0, 3_200, 640):
        track.take(position, 640)
    assert track.take(1_920, 640).data == pcm[3_840:5_120]
    assert track.take(640, 640).data == b"", "that is too long ago"


def test_another_utterance_has_its_own_rate_and_the_one_before_is_kept():
    track = track_of(numbered(0, 640), kept=1_280)
    other = numbered(1, 960)
    track.append(other, 24_000, 1, 640, begins=True)
    assert (track.take(640, 640).sample_rate, track.take(640, 640).data) == (24_000, other)
    assert track.take(0, 640).data == numbered(0, 640)


@pytest.mark.parametrize(("rate", "samples"), [(16_000, 496), (22_050, 684), (48_000, 1_488)])
def test_speech_that_is_sent_again_replaces_what_was_there(rate, samples):
    first, second = numbered(1, rate // 20), numbered(2, rate // 20)
    track = track_of(first, rate=rate)
    track.truncate(496)
    track.append(second, rate, 1, 496, begins=False)
    assert track.take(0, 496).data == first[: samples * 2][: 496 * rate // 16_000 * 2]
    assert track.take(496, 16).data.startswith(
        first[496 * rate // 16_000 * 2 : samples * 2] + second[:2]
    )


def test_an_interrupt_leaves_nothing():
    track = track_of(numbered(0, 640), kept=1_280)
    track.clear()
    assert track.take(0, 640) is None
