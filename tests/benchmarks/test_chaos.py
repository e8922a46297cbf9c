"""The rules by which a tormented stream is judged, each broken once."""

import pytest

from benchmarks.chaos import Session, broken_progress, inexact_timestamps, lost_sound_ms
from talking_avatar import AvatarClient, Frame, Interrupted


def frame(number=0, sound_ms=None, progress=None):
    return Frame(
        data=b"",
        timestamp_ms=number * 40,
        is_keyframe=False,
        audio_timestamp_ms=sound_ms,
        action_progress=progress,
    )


def session(*events, sent_ms):
    client = AvatarClient("ws://localhost", "me")
    return Session(client, events=list(events), sent_samples=sent_ms * 16)


def test_sound_that_was_shown_is_not_lost():
    whole = [frame(sound_ms=0), frame(sound_ms=40), frame(), frame(sound_ms=70)]
    assert lost_sound_ms(session(*whole, sent_ms=110)) == 0
    assert lost_sound_ms(session(frame(), sent_ms=0)) == 0


@pytest.mark.parametrize(
    ("events", "sent_ms", "lost_ms"),
    [
        ([frame(sound_ms=0), frame(sound_ms=80)], 120, 40 - 1),
        ([frame(sound_ms=0), frame(sound_ms=40)], 200, 120 - 1),
        ([frame(sound_ms=0), frame(sound_ms=0)], 40, 40),
        ([frame(sound_ms=0)], 1_000, 960 - 1),
    ],
)
def test_sound_that_is_missing_or_shown_twice_is_found(events, sent_ms, lost_ms):
    assert lost_sound_ms(session(*events, sent_ms=sent_ms)) == lost_ms


def test_what_an_interrupt_drops_is_not_lost_but_no_more_than_it_says():
    events = [frame(sound_ms=0), Interrupted(500), frame(sound_ms=540)]
    assert lost_sound_ms(session(*events, sent_ms=580)) == 0
    events = [frame(sound_ms=0), Interrupted(400), frame(sound_ms=540)]
    assert lost_sound_ms(session(*events, sent_ms=580)) > 90
    assert lost_sound_ms(session(frame(sound_ms=0), Interrupted(960), sent_ms=1_000)) == 0


def test_timestamps():
    assert inexact_timestamps([frame(5), frame(6), frame(7)]) == []
    assert len(inexact_timestamps([frame(5), frame(7), frame(7), frame(6)])) == 3


@pytest.mark.parametrize(
    ("progress", "broken"),
    [
        ([None, 0.0, 0.5, 1.0, None], 0),
        ([None, 0.25, 1.0, 0.25, 1.0], 0),
        ([0.5, 0.75, None], 1),
        ([0.5, 0.5, 1.0], 1),
        ([0.5, 0.4, 1.0], 1),
        ([None, 1.0, None], 1),
    ],
)
def test_action_progress(progress, broken):
    assert broken_progress([frame(progress=p) for p in progress]) == broken
