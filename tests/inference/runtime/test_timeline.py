"""The timeline's laws: order, seams, bounds."""

import itertools
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.assets.clip_index import ClipInfo, ClipRequest
from inference.runtime.mouth import Mouth
from inference.runtime.speech_queue import Speech
from inference.runtime.timeline import (
    FADE_STEPS,
    MAX_WAIT,
    Cursor,
    FramePlan,
    Source,
    Timeline,
)

REPERTOIRE = {
    shape.name: shape
    for shape in (
        ClipInfo("idle_0", "idle", 100, frozenset(range(0, 100, 25)), tuple(range(25, 101, 25))),
        ClipInfo("idle_1", "idle", 60, frozenset({0, 25, 50}), (20, 40, 60)),
        ClipInfo("speaking_0", "speaking", 75, frozenset({0, 25, 50}), (25, 50, 75)),
        ClipInfo("action_1", "action", 60, frozenset({0, 25, 50}), (60,)),
    )
}
SILENT, READY, STARVED, ENDED = Speech.SILENT, Speech.READY, Speech.STARVED, Speech.ENDED


def run(timeline: Timeline, cues: Iterable[Speech]) -> tuple[Timeline, list[FramePlan]]:
    plans = []
    for cue in cues:
        timeline, plan = timeline.advance(REPERTOIRE, cue)
        plans.append(plan)
    return timeline, plans


def idle(base: str | None = None, frames: int = 10) -> Timeline:
    timeline, _ = run(
        Timeline.start(REPERTOIRE, base=ClipRequest(base) if base else None), [SILENT] * frames
    )
    return timeline


def test_idle_is_the_clips_own_access_units_for_ever() -> None:
    _, plans = run(Timeline.start(REPERTOIRE, base=ClipRequest("idle_0")), [SILENT] * 250)
    assert [plan.frame for plan in plans] == list(range(250))
    assert [plan.cursor for plan in plans] == [Cursor("idle_0", n % 100) for n in range(250)]
    assert {plan.source for plan in plans} == {Source.CLIP}


def test_speech_is_seen_at_once_and_starts_with_an_idr() -> None:
    _, plans = run(idle(), [READY, READY])
    assert [plan.source for plan in plans] == [Source.LIVE] * 2
    assert [plan.must_be_idr for plan in plans] == [True, False]
    assert plans[0].cursor == Cursor("idle_0", 10)
    assert [plan.begins_utterance for plan in plans] == [True, False]
    assert {plan.state for plan in plans} == {"speaking"}


def test_the_mouth_eases_shut_and_the_clip_is_entered_at_its_idr() -> None:
    timeline, plans = run(idle("idle_0"), [READY] * 5 + [ENDED] + [SILENT] * 20)
    eased = [plan for plan in plans if plan.mouth is Mouth.EASING]
    assert [plan.frame for plan in eased] == [15, 16]
    assert eased[0].strength > eased[1].strength > 0
    first_clip = next(plan for plan in plans[1:] if plan.source is Source.CLIP)
    assert first_clip.cursor == Cursor("idle_0", 25)
    assert timeline.mouth.phase is Mouth.CLOSED


def test_late_sound_holds_the_mouth_on_the_running_clip() -> None:
    _, plans = run(idle(), [READY, STARVED, STARVED, READY])
    assert [plan.mouth for plan in plans] == [
        Mouth.SPEAKING,
        Mouth.HOLDING,
        Mouth.HOLDING,
        Mouth.SPEAKING,
    ]
    assert [plan.cursor.index for plan in plans] == [10, 11, 12, 13]
    assert [plan.begins_utterance for plan in plans] == [True, False, False, False]


def test_speech_brings_a_speaking_clip_unless_a_clip_was_chosen() -> None:
    _, plans = run(idle(), [READY] * 40)
    assert plans[-1].cursor.clip == "speaking_0"
    timeline = idle().change_clip(ClipRequest("idle_1"))
    _, plans = run(timeline, [READY] * 60)
    assert plans[-1].cursor.clip == "idle_1"


def test_the_clip_requested_for_an_utterance_leaves_with_it() -> None:
    timeline = idle(base="idle_0")
    timeline, _plan = timeline.advance(REPERTOIRE, READY, ClipRequest("idle_1"))
    timeline, plans = run(timeline, [READY] * 30)
    assert plans[-1].cursor.clip == "idle_1"
    timeline, plans = run(timeline, [ENDED] + [SILENT] * 30)
    assert plans[-1].cursor.clip == "idle_0"


def test_state_change_under_speech_wins_over_the_utterances_clip() -> None:
    timeline, _ = idle().advance(REPERTOIRE, READY, ClipRequest("idle_1"))
    timeline, _ = run(timeline, [READY] * 30)
    timeline, plans = run(timeline.change_clip(ClipRequest("speaking_0")), [READY] * 30)
    assert plans[-1].cursor.clip == "speaking_0"
    assert plans[-1].mouth is Mouth.SPEAKING


def test_a_change_waits_for_the_exit_and_needs_no_encoder() -> None:
    timeline = idle().change_clip(ClipRequest("idle_1"))
    _, plans = run(timeline, [SILENT] * 30)
    assert [plan.cursor for plan in plans[14:16]] == [Cursor("idle_0", 24), Cursor("idle_1", 0)]
    assert {plan.source for plan in plans} == {Source.CLIP}


def test_without_an_exit_in_time_the_clips_are_cross_faded() -> None:
    timeline, _ = run(Timeline.start(REPERTOIRE, base=ClipRequest("action_1")), [SILENT] * 10)
    _, plans = run(timeline.change_clip(ClipRequest("idle_0")), [SILENT] * 30)
    fades = [plan.fade for plan in plans if plan.fade]
    assert [fade.weight for fade in fades] == [0.25, 0.5, 0.75]
    assert {fade.outgoing for fade in fades} == {Cursor("action_1", 9)}
    assert plans[0].must_be_idr
    assert next(p for p in plans if p.source is Source.CLIP).cursor == Cursor("idle_0", 25)


def test_an_action_runs_once_to_its_end_whatever_is_requested() -> None:
    timeline = idle().start_action("action_1", "v1.0")
    timeline, plans = run(timeline, [SILENT] * 20)
    timeline, more = run(timeline.change_clip(ClipRequest("idle_1")), [SILENT] * 80)
    action = [plan for plan in plans + more if plan.action_progress is not None]
    assert [plan.cursor for plan in action] == [Cursor("action_1", n) for n in range(60)]
    assert action[0].action_progress == 0.0
    assert [p.frame for p in action if p.action_progress == 1.0] == [action[-1].frame]
    assert {(plan.state, plan.action_form) for plan in action} == {("action", "v1.0")}
    assert more[-1].cursor.clip == "idle_1"


def test_an_interrupt_shuts_the_mouth_in_two_frames() -> None:
    timeline, _ = run(idle(), [READY] * 5)
    _, plans = run(timeline.stop_speech(), [SILENT] * 3)
    assert [plan.mouth for plan in plans] == [Mouth.EASING, Mouth.CLOSED, Mouth.CLOSED]


def test_a_lost_access_unit_makes_the_next_one_stand_alone() -> None:
    _, plans = run(idle().require_idr(), [SILENT] * 20)
    assert (plans[0].source, plans[0].must_be_idr) == (Source.LIVE, True)
    assert [p.must_be_idr for p in plans[1:]] == [False] * 19
    assert plans[-1].source is Source.CLIP


def test_rewinding_keeps_the_requests_made_since() -> None:
    before = idle()
    now, _ = run(before, [READY])
    now = now.change_clip(ClipRequest("idle_1")).start_action("action_1", "v1.1")
    back = now.rewind(before)
    assert (back.frame, back.base) == (before.frame, ClipRequest("idle_1"))
    assert back.action == now.action


@pytest.mark.parametrize("frames_after_its_begin", [2, 200])
def test_rewinding_behind_the_begin_of_an_action_lets_it_begin_again(
    frames_after_its_begin: int,
) -> None:
    """An interrupt meets frames that were planned and not sent: of an action the first, or all."""
    before, _ = run(idle(), [READY])
    asked = before.start_action("action_1", "v1.1")
    _, plans = run(asked, [READY] * 30)
    [first, *_] = [number for number, plan in enumerate(plans) if plan.state == "action"]
    now, _ = run(asked, [READY] * (first + frames_after_its_begin))
    assert now.action != asked.action
    back = now.rewind(before)
    assert back.action == asked.action
    assert back.rewind(before).action == asked.action
    _, plans = run(back.stop_speech(), [SILENT] * 30)
    assert "action" in {plan.state for plan in plans}


def test_rewinding_within_an_action_continues_it() -> None:
    asked = idle().start_action("action_1", "v1.1")
    _, plans = run(asked, [SILENT] * 30)
    [first, *_] = [number for number, plan in enumerate(plans) if plan.state == "action"]
    before, _ = run(asked, [SILENT] * (first + 2))
    now, _ = run(before, [SILENT] * 3)
    assert now.rewind(before).action == before.action


MANY = {
    info.name: info
    for info in (
        *(
            ClipInfo(
                f"idle_{n}",
                "idle",
                50 + 25 * n,
                frozenset(range(0, 50 + 25 * n, 25)),
                (50 + 25 * n,),
            )
            for n in range(5)
        ),
        ClipInfo("speaking_0", "speaking", 50, frozenset({0, 25}), (25, 50)),
        ClipInfo("speaking_1", "speaking", 75, frozenset({0, 25, 50}), (25, 50, 75)),
    )
}


def clips_shown(timeline: Timeline, ticks: int, speech: Speech = SILENT) -> list[str]:
    """The clips entered, one after the other."""
    entered = []
    for _ in range(ticks):
        timeline, plan = timeline.advance(MANY, speech)
        if plan.cursor.index == 0:
            entered.append(plan.cursor.clip)
    return entered


@given(st.integers(0, 2**32))
@settings(max_examples=20)
def test_clips_that_nobody_chose_vary(seed: int) -> None:
    entered = clips_shown(Timeline.start(MANY, seed=seed), 25 * 600)
    assert set(entered) == {name for name in MANY if name.startswith("idle")}
    assert all(one != other for one, other in itertools.pairwise(entered))
    frames = {name: entered.count(name) * MANY[name].frames for name in set(entered)}
    assert max(frames.values()) <= 0.45 * sum(frames.values())
    assert 0.25 < entered.count("idle_0") / len(entered) < 0.5


def test_the_same_seed_gives_the_same_life() -> None:
    lives = [clips_shown(Timeline.start(MANY, seed=seed), 5_000) for seed in (1, 1, 2)]
    assert lives[0] == lives[1] != lives[2]


def test_a_chosen_clip_repeats() -> None:
    timeline = Timeline.start(MANY, base=ClipRequest("idle_3"))
    assert set(clips_shown(timeline, 2_000)) == {"idle_3"}


def test_speaking_clips_vary_too_unless_the_client_chose_one() -> None:
    assert set(clips_shown(Timeline.start(MANY), 2_000, READY)) >= {"speaking_0", "speaking_1"}
    timeline, _ = Timeline.start(MANY).advance(MANY, READY, ClipRequest("speaking_1"))
    assert set(clips_shown(timeline, 2_000, READY)) <= {"speaking_1", "idle_0"}


def test_only_clips_that_the_engine_has_ready_follow() -> None:
    timeline = Timeline.start(MANY)
    for _ in range(5_000):
        timeline, plan = timeline.advance(
            MANY, SILENT, is_ready=lambda name: name in {"idle_0", "idle_2"}
        )
        assert plan.cursor.clip in {"idle_0", "idle_2"}


def test_a_listening_avatar_shows_its_calmest_clip_where_none_is_attentive() -> None:
    timeline = Timeline.start(MANY, seed=3)
    for _ in range(60):
        timeline, _ = timeline.advance(MANY, SILENT)
    timeline = timeline.listen(is_active=True)
    for _ in range(30):
        timeline, _ = timeline.advance(MANY, SILENT)
    assert set(clips_shown(timeline, 500)) == {"idle_0"}
    assert len(set(clips_shown(timeline.listen(is_active=False), 2_000))) > 3


def test_a_listening_avatar_turns_attentive_at_the_next_exit_and_back() -> None:
    index = MANY | {
        name: replace(MANY[name], is_attentive=True, exits=(20, MANY[name].frames))
        for name in ("idle_1", "idle_3")
    }
    timeline = Timeline.start(index, seed=3).listen(is_active=True)
    shown = []
    for _ in range(MAX_WAIT + 1 + 1_000):
        timeline, plan = timeline.advance(index, SILENT)
        shown.append(plan.cursor.clip)
    assert set(shown[MAX_WAIT + 1 :]) == {"idle_1", "idle_3"}
    timeline = timeline.listen(is_active=False)
    later = set()
    for _ in range(2_000):
        timeline, plan = timeline.advance(index, SILENT)
        later.add(plan.cursor.clip)
    assert len(later) > 3


def test_a_chosen_clip_and_speech_are_not_changed_by_listening() -> None:
    chosen = Timeline.start(MANY, base=ClipRequest("idle_3")).listen(is_active=True)
    assert set(clips_shown(chosen, 500)) == {"idle_3"}
    speaking = Timeline.start(MANY).listen(is_active=True)
    assert "speaking_1" in clips_shown(speaking, 2_000, READY)


WISHES = st.sampled_from(["nothing"] * 8 + ["change", "action", "interrupt", "lost", "jump"])


@settings(max_examples=200)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(Speech), WISHES, st.sampled_from(sorted(REPERTOIRE))),
        max_size=300,
    )
)
def test_laws_hold_whatever_happens(steps: list[tuple[Speech, str, str]]) -> None:
    timeline = Timeline.start(REPERTOIRE)
    plans: list[FramePlan] = []
    is_fresh = True
    wanted_for = 0
    for speech, wish, clip in steps:
        if wish == "change":
            timeline = timeline.change_clip(ClipRequest(clip))
        elif wish == "action" and timeline.action is None:
            timeline = timeline.start_action("action_1", "v1.1")
        elif wish == "interrupt":
            timeline = timeline.stop_speech()
        elif wish == "lost":
            timeline, is_fresh = timeline.require_idr(), True
        elif wish == "jump":
            timeline, is_fresh = timeline.skip_to(timeline.frame + 30), True
        timeline, plan = timeline.advance(REPERTOIRE, speech)
        at_idr = plan.cursor.index in REPERTOIRE[plan.cursor.clip].idr
        if is_fresh:
            assert plan.must_be_idr or (plan.source is Source.CLIP and at_idr)
        elif plans:
            assert plan.frame == plans[-1].frame + 1
        if plans and plan.source is Source.LIVE and plans[-1].source is Source.CLIP:
            assert plan.must_be_idr
        if plan.source is Source.CLIP:
            assert plan.mouth is Mouth.CLOSED
            assert plan.fade is None
            follows = (
                not is_fresh
                and bool(plans)
                and plans[-1].source is Source.CLIP
                and plans[-1].cursor == Cursor(plan.cursor.clip, plan.cursor.index - 1)
            )
            assert at_idr or follows
        is_running = timeline.action is not None and timeline.action.is_running
        arrived = plan.cursor.clip == timeline.wanted_clip(REPERTOIRE) or is_running
        wanted_for = 0 if arrived else wanted_for + 1
        assert wanted_for <= MAX_WAIT + FADE_STEPS
        assert (speech is READY) == (plan.mouth is Mouth.SPEAKING)
        plans.append(plan)
        is_fresh = False
    for one, two in itertools.pairwise(plans):
        assert two.frame > one.frame
