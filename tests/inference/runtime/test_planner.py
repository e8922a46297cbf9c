"""From speech and requests to slots, and back."""

import numpy as np
import pytest

from inference.assets.clip_index import ClipInfo, ClipRequest
from inference.media.types import AudioContext
from inference.runtime.frame_queue import PlannedFrame
from inference.runtime.mouth import Mouth
from inference.runtime.planner import MIN_RENDER_S, Planner
from inference.runtime.speech_queue import SpeechQueue
from inference.runtime.timeline import Cursor, Source
from inference.timing import ENCODING_S

REPERTOIRE = {
    shape.name: shape
    for shape in (
        ClipInfo("idle_0", "idle", 100, frozenset(range(0, 100, 25)), (100,)),
        ClipInfo("idle_1", "idle", 50, frozenset({0, 25}), (25, 50)),
        ClipInfo("action_1", "action", 50, frozenset({0, 25}), (50,)),
    )
}
FRAME_S, LEAD_S = 0.04, 0.03


@pytest.fixture
def planner() -> Planner:
    speech = SpeechQueue(AudioContext(before=0, after=0), end_of_speech_ms=240)
    planner = Planner(REPERTOIRE, speech, lead_s=lambda: LEAD_S)
    planner.begin(frame=100, due_s=10.0, base=ClipRequest("idle_0"))
    return planner


def hear(planner: Planner, frames: int, position: int = 0) -> None:
    planner.push_audio(position, bytes(1_280 * frames), 9.0, None)


def plan(planner: Planner, frames: int) -> list[PlannedFrame]:
    return [planner.plan(planner.next_tick_s) for _ in range(frames)]


def test_frames_are_planned_before_they_are_due_and_cut_off_in_time(planner: Planner) -> None:
    assert planner.next_tick_s == pytest.approx(10.0 - LEAD_S)
    slot = planner.plan(planner.next_tick_s)
    assert (slot.plan.frame, slot.due_s) == (100, pytest.approx(10.0))
    assert slot.deadline_s == pytest.approx(10.0 - ENCODING_S)
    assert planner.newest_due_s == pytest.approx(10.0)
    assert planner.next_tick_s == pytest.approx(10.0 + FRAME_S - LEAD_S)


def test_the_engine_gets_some_time_also_when_planning_is_late(planner: Planner) -> None:
    assert planner.plan(10.2).deadline_s == pytest.approx(10.2 + MIN_RENDER_S)


def test_speech_that_is_there_is_taken_frame_by_frame(planner: Planner) -> None:
    hear(planner, 2)
    slots = plan(planner, 3)
    assert [slot.speech and slot.speech.position for slot in slots] == [0, 640, None]
    assert [slot.plan.mouth for slot in slots] == [Mouth.SPEAKING, Mouth.SPEAKING, Mouth.EASING]


def test_what_is_taken_back_is_planned_again_with_its_speech(planner: Planner) -> None:
    plan(planner, 1)
    hear(planner, 3)
    first = plan(planner, 3)
    planner.rollback(first, was_encoded=False)
    again = plan(planner, 3)
    assert [slot.plan for slot in again] == [slot.plan for slot in first]
    assert [slot.speech.position for slot in again] == [0, 640, 1_280]


def test_after_a_picture_that_the_encoder_saw_the_next_must_stand_alone(planner: Planner) -> None:
    plan(planner, 1)
    hear(planner, 3)
    slots = plan(planner, 3)
    planner.rollback(slots[1:], was_encoded=True)
    assert planner.plan(planner.next_tick_s).plan.must_be_idr


def test_an_utterance_that_cannot_begin_waits_a_frame(planner: Planner) -> None:
    hear(planner, 1)
    (slot,) = plan(planner, 1)
    assert slot.plan.begins_utterance
    planner.rollback([slot], was_encoded=False)
    silent = planner.plan_in_silence(planner.next_tick_s)
    assert (silent.plan.frame, silent.plan.source, silent.speech) == (100, Source.CLIP, None)
    (slot,) = plan(planner, 1)
    assert slot.plan.begins_utterance
    assert slot.speech.position == 0


def test_an_interrupt_forgets_what_was_taken_back(planner: Planner) -> None:
    hear(planner, 10)
    slots = plan(planner, 4)
    planner.rollback(slots[2:], was_encoded=False)
    planner.interrupt()
    again = plan(planner, 2)
    assert [slot.plan.mouth for slot in again] == [Mouth.EASING, Mouth.CLOSED]
    assert [slot.speech for slot in again] == [None, None]


def test_requests_outlive_what_is_taken_back(planner: Planner) -> None:
    slots = plan(planner, 2)
    planner.change_clip(ClipRequest("idle_1"))
    planner.start_action("action_1", "v1.1")
    planner.rollback(slots, was_encoded=False)
    assert planner.wanted_clip == "action_1"
    seen = [slot.plan.cursor.clip for slot in plan(planner, 150)]
    assert seen[-1] == "idle_1"
    assert "action_1" in seen


def test_where_the_clip_is_while_it_needs_no_pictures(planner: Planner) -> None:
    assert planner.idle_cursor is None
    plan(planner, 3)
    assert planner.idle_cursor == Cursor("idle_0", 2)
    hear(planner, 1)
    plan(planner, 1)
    assert planner.idle_cursor is None


def test_after_a_stall_the_numbers_jump_behind_the_one_that_is_due(planner: Planner) -> None:
    plan(planner, 2)
    assert planner.skip_to_due_frame(12.01) == 49
    slot = planner.plan(12.01)
    assert slot.plan.frame == 151
    assert slot.plan.must_be_idr
    assert planner.skip_to_due_frame(12.01) == 0


class Talk:
    """Sound that comes while frames are planned, each when it is to be, on a clock of the test's.

    ``chunks``: when each 40 ms come, and whether they are loud.
    """

    def __init__(self, chunks: list[tuple[float, bool]], after_ms: int = 80) -> None:
        context = AudioContext(before=0, after=16 * after_ms)
        self.lead_s = LEAD_S
        self.planner = Planner(
            REPERTOIRE, SpeechQueue(context, end_of_speech_ms=240), lead_s=lambda: self.lead_s
        )
        self.planner.begin(frame=0, due_s=10.0, base=ClipRequest("idle_0"))
        self._chunks = chunks
        self._position = 0
        self.leads: list[float] = []
        """Of each frame."""

    def until(self, end_s: float) -> list[PlannedFrame]:
        slots = []
        while (now_s := self.planner.next_tick_s) < end_s:
            while self._chunks and self._chunks[0][0] <= now_s:
                came_s, is_loud = self._chunks.pop(0)
                pcm = np.full(640, 8_000 if is_loud else 3, "<i2").tobytes()
                self.planner.push_audio(self._position, pcm, came_s, None)
                self._position += 640
            slots.append(self.planner.plan(now_s))
            self.leads.append(round(slots[-1].due_s - now_s, 6))
        return slots


def in_step(seconds: float, *, quiet: range = range(0)) -> list[tuple[float, bool]]:
    count = round(seconds / FRAME_S)
    return [(11.013 + n * FRAME_S, n not in quiet) for n in range(count)]


def held(slots: list[PlannedFrame]) -> int:
    return sum(slot.plan.mouth is Mouth.HOLDING for slot in slots)


def spoken(slots: list[PlannedFrame]) -> list[int]:
    return [slot.speech.position // 640 for slot in slots if slot.speech is not None]


@pytest.mark.parametrize("lead_s", [0.02, 0.06, 0.11])
def test_an_utterance_has_the_lead_that_the_engine_needs_when_it_begins(lead_s: float) -> None:
    talk = Talk(in_step(1.0))
    talk.until(10.9)
    talk.lead_s = lead_s
    slots = talk.until(13.0)
    assert spoken(slots) == list(range(25))
    assert talk.leads[-1] == pytest.approx(lead_s)
    assert len({frame.plan.frame for frame in slots}) == len(slots)


@pytest.mark.parametrize("lead_s", [0.02, 0.06])
def test_while_a_microphone_is_spoken_into_the_lead_stays(lead_s: float) -> None:
    """A frame that is planned earlier would find no sound, and its mouth would have to wait."""
    talk = Talk(in_step(3.0))
    before = talk.until(12.0)
    talk.lead_s = lead_s
    after = talk.until(14.0)
    assert set(talk.leads) == {LEAD_S}
    assert spoken(before + after) == list(range(len(spoken(before + after))))
    later = talk.until(15.5)
    assert held(before + after) == 0
    assert talk.leads[-1] == pytest.approx(lead_s)
    assert spoken(before + after + later) == list(range(75))


def test_sound_that_is_sent_ahead_lets_the_lead_grow_at_once_and_nothing_waits() -> None:
    talk = Talk([(11.0 + n * 0.01, True) for n in range(100)])
    before = talk.until(12.0)
    talk.lead_s = 0.09
    after = talk.until(16.0)
    assert talk.leads[len(before) : len(before) + 3] == [LEAD_S, 0.07, 0.09]
    talk.lead_s = LEAD_S
    assert held(before + after) == 0
    assert spoken(before + after) == list(range(100))


def test_in_a_pause_of_an_open_microphone_the_lead_grows_and_only_silence_waits() -> None:
    pause = range(40, 52)
    talk = Talk(in_step(4.0, quiet=pause))
    before = talk.until(12.0)
    talk.lead_s = 0.06
    after = talk.until(15.5)
    slots = before + after
    assert spoken(slots) == list(range(100))
    # Not the last ones, which wait for look-ahead that does not come.
    ending = next(n for n, slot in enumerate(slots) if slot.speech and slot.speech.end > 95 * 640)
    starved = [n for n in range(ending) if slots[n].plan.mouth is Mouth.HOLDING]
    assert len(starved) <= 1
    for number in starved:
        assert slots[number - 1].speech.position // 640 in pause
        assert slots[number + 1].speech.position // 640 in pause
    grown_at = slots[talk.leads.index(0.06)]
    assert grown_at.speech is None or grown_at.speech.position // 640 in pause


def test_within_an_utterance_the_lead_never_shrinks() -> None:
    talk = Talk([(11.0, True)] * 50)
    talk.until(12.0)
    talk.lead_s = 0.01
    talk.until(12.8)
    assert set(talk.leads) == {LEAD_S}
    talk.until(15.0)
    assert talk.leads[-1] == pytest.approx(0.01)
