"""The queue by itself: what leaves it when, and which frames need what."""

from dataclasses import replace

import pytest

from inference.assets.clip_index import ClipInfo
from inference.media.types import AudioWindow
from inference.runtime.frame_queue import FrameQueue, PlannedFrame
from inference.runtime.speech_queue import Speech, SpeechFrame
from inference.runtime.timeline import Timeline

REPERTOIRE = {"idle_0": ClipInfo("idle_0", "idle", 50, frozenset({0, 25}), (25, 50))}
SPEECH = SpeechFrame(position=0, received=640, window=AudioWindow(None, 1), clip=None)


def slot(
    frame: int, access_unit: bytes | None = b"", *, speech: SpeechFrame | None = None
) -> PlannedFrame:
    """Frame ``frame``, due as many seconds after nought; None: it is not encoded yet."""
    before = Timeline.start(REPERTOIRE, frame=frame)
    _, plan = before.advance(REPERTOIRE, Speech.READY if speech else Speech.SILENT)
    return PlannedFrame(
        plan=plan,
        before=before,
        due_s=frame,
        deadline_s=frame,
        speech=speech,
        access_unit=access_unit,
    )


def outbox_of(*slots: PlannedFrame) -> FrameQueue:
    outbox = FrameQueue()
    for one in slots:
        outbox.put(one)
    return outbox


def test_slots_leave_in_order_when_they_are_due_and_ready():
    first, second, third = slot(1), slot(2, None), slot(3)
    outbox = outbox_of(first, second, third)
    assert outbox.take_due(0.9) is None
    assert outbox.take_due(5.0) is first
    assert outbox.take_due(5.0) is None, "the second one is not ready, so the third one waits"
    second.access_unit = b""
    assert outbox.take_due(5.0) is second
    assert outbox.take_due(2.9) is None
    assert outbox.take_due(3.0) is third
    assert outbox.take_due(9.0) is None


def test_how_late_it_is_is_reported_by_the_oldest():
    assert FrameQueue().lateness_s(99.0) == 0
    outbox = outbox_of(slot(1, None), slot(2))
    assert outbox.lateness_s(4.5) == pytest.approx(3.5)
    assert outbox.lateness_s(0.5) < 0


def test_a_slot_is_dropped_with_all_behind_it():
    slots = [slot(n) for n in range(4)]
    outbox = outbox_of(*slots)
    assert outbox.drop_from(slots[2]) == slots[2:]
    assert [one.is_dropped for one in slots] == [False, False, True, True]
    assert outbox.newest is slots[1]
    assert outbox.drop_from(outbox.oldest) == slots[:2]
    assert outbox.drop_from(outbox.oldest) == []


def test_the_first_with_speech_is_found():
    assert outbox_of(slot(0), slot(1)).first_spoken is None
    spoken = slot(1, speech=SPEECH)
    assert outbox_of(slot(0), spoken, slot(2, speech=SPEECH)).first_spoken is spoken


def test_an_engine_makes_the_mouths_of_live_frames_that_have_sound():
    assert slot(0, speech=SPEECH).needs_mouth
    assert not slot(0).needs_mouth, "a clip's own access unit"
    one = slot(0, speech=SPEECH)
    one.speech = None
    assert not one.needs_mouth, "nothing was spoken yet"
    one.spoken_before = SPEECH.window
    assert one.needs_mouth


def test_a_stretch_begins_where_the_frame_before_needed_no_encoder():
    first = slot(0, speech=SPEECH)
    assert first.begins_stretch
    assert not slot(0).begins_stretch
    after, plan = first.before.advance(REPERTOIRE, Speech.READY)
    _, following = after.advance(REPERTOIRE, Speech.READY)
    assert not replace(first, plan=following, before=after).begins_stretch
    assert plan.must_be_idr
