"""The timeline of one session: which picture is due next, with which mouth, from which source.

Theory of operation
-------------------
The avatar's life is three layers, advanced together once per tick by `advance`, a pure step from
one `Timeline` to the next that also says what to show (`FramePlan`). Because the state is a value,
the host can plan a frame, throw the plan away and plan it again (after an interrupt, or when the
engine was too late for an utterance to begin) by keeping the state from before.

*Clips.* The cursor walks through a clip and loops. Another clip may be wanted: the base clip of
the last STATE_CHANGE, the clip of the running utterance, or an action. It takes over at the
running clip's next exit, where the picture is near the rest pose that all clips begin with. If no
exit comes within `MAX_WAIT` frames the two clips are cross-faded, at once. An action runs to its
end and is left by nothing.

*Mouth.* Closed, speaking, holding on the running clip because the sound is late, or easing shut:
`inference.runtime.mouth` has the table.

*Source.* An idle mouth needs no encoder: the access units made at preparation are sent as they are
(CLIP). As soon as a picture is altered it is encoded (LIVE). The law of the seam: a clip's access
units may be entered at an IDR only, and live encoding always begins with a forced one. So
CLIP → LIVE happens at once, and LIVE → CLIP waits, encoding unaltered pictures, until the cursor
reaches an IDR.

Pure: no clock, no bytes, no pictures.
"""

from dataclasses import dataclass, replace
from enum import Enum, auto

from inference.assets.clip_index import ClipIndex, first_clip
from inference.assets.manifest import ClipState
from inference.messages import ActionForm
from inference.runtime import mouth as mouths
from inference.runtime.mouth import Mouth, MouthState
from inference.runtime.speech_queue import Speech

MAX_WAIT = 23
"""Frames. With the tick of planning and the one of lead, a change is seen within a second."""

FADE_STEPS = 3


class Source(Enum):
    CLIP = auto()
    LIVE = auto()


@dataclass(frozen=True, slots=True)
class Cursor:
    clip: str
    index: int


@dataclass(frozen=True, slots=True)
class Fade:
    """A cross-fade: the picture left behind, and how much of the new one is seen, 0..1."""

    outgoing: Cursor
    weight: float


@dataclass(frozen=True, slots=True)
class Action:
    clip: str
    form: ActionForm
    is_running: bool = False


@dataclass(frozen=True, slots=True)
class FramePlan:
    """What frame ``frame`` shows, and where it comes from."""

    frame: int
    source: Source
    cursor: Cursor
    must_be_idr: bool
    mouth: Mouth
    strength: float
    """Of the mouth: 1 speaking or holding, less when easing shut."""
    begins_utterance: bool
    fade: Fade | None
    state: ClipState
    """What the viewer would say the avatar does."""
    action_progress: float | None
    action_form: ActionForm | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """The state after the last planned frame; begin with `begin`."""

    frame: int
    """The number of the next frame."""
    base: str
    """The clip that runs when nobody wants another."""
    is_base_chosen: bool
    """Whether the client ever chose it; else speech brings its own clip."""
    cursor: Cursor | None = None
    source: Source = Source.CLIP
    speech_clip: str | None = None
    action: Action | None = None
    waited: int = 0
    """Frames since another clip has been wanted."""
    mouth: MouthState = mouths.SHUT
    fade: tuple[Cursor, int] | None = None
    """The picture left behind, and the step reached."""
    needs_idr: bool = False


def begin(repertoire: ClipIndex, *, frame: int = 0, base: str | None = None) -> Timeline:
    """A new session, or one taken over from another worker at ``frame``."""
    is_chosen = base is not None and base in repertoire
    return Timeline(
        frame=frame,
        base=base if is_chosen and base else first_clip(repertoire, "idle"),
        is_base_chosen=is_chosen,
    )


def change_clip(timeline: Timeline, clip: str) -> Timeline:
    """STATE_CHANGE: ``clip`` is the base from now on, under speech too."""
    return replace(timeline, base=clip, is_base_chosen=True, speech_clip=None)


def start_action(timeline: Timeline, clip: str, form: ActionForm) -> Timeline:
    """Insert an action; the door sees to it that there is only one at a time."""
    return replace(timeline, action=Action(clip, form))


def stop_speech(timeline: Timeline) -> Timeline:
    """INTERRUPT: what the mouth was saying is gone."""
    return replace(timeline, mouth=mouths.interrupt(timeline.mouth), speech_clip=None)


def rewind(now: Timeline, before: Timeline) -> Timeline:
    """The state ``before`` some frames that are taken back, with what was wished for since."""
    has_new_base = (now.base, now.is_base_chosen) != (before.base, before.is_base_chosen)
    has_new_action = now.action is not None and not now.action.is_running
    return replace(
        before,
        base=now.base,
        is_base_chosen=now.is_base_chosen,
        speech_clip=None if has_new_base else before.speech_clip,
        action=now.action if has_new_action else before.action,
        needs_idr=now.needs_idr or before.needs_idr,
    )


def wanted_clip(timeline: Timeline) -> str:
    """The clip that runs, or will as soon as the running one can be left."""
    if timeline.action:
        return timeline.action.clip
    return timeline.speech_clip or timeline.base


def skip_to(timeline: Timeline, frame: int) -> Timeline:
    """Frames were lost: go on at ``frame``, with a picture that needs none before it."""
    return replace(timeline, frame=max(frame, timeline.frame), needs_idr=True)


def require_idr(timeline: Timeline) -> Timeline:
    """The last access unit planned was never sent: the next must stand alone."""
    return replace(timeline, needs_idr=True)


def advance(
    timeline: Timeline, repertoire: ClipIndex, speech: Speech, clip: str | None = None
) -> tuple[Timeline, FramePlan]:
    """One tick: the state after it, and what its frame shows.

    ``speech``: what the session's queue has for this tick. READY obliges the caller to take that
    frame if the plan's mouth is SPEAKING, which it then always is. ``clip``: the clip that the
    client wants under that utterance.
    """
    was_in_utterance = timeline.mouth.phase.is_in_utterance
    mouth = mouths.advance(timeline.mouth, speech)
    speech_clip = _speech_clip(timeline, repertoire, mouth.phase, clip)
    timeline = replace(timeline, mouth=mouth, speech_clip=speech_clip)
    timeline = _advance_cursor(timeline, repertoire)
    cursor = timeline.cursor
    assert cursor is not None
    timeline, fade = _advance_fade(timeline)
    is_altered = mouth.phase is not Mouth.CLOSED or fade is not None
    source, must_be_idr = _choose_source(
        timeline, is_altered=is_altered, at_idr=cursor.index in repertoire[cursor.clip].idr
    )
    action = timeline.action if timeline.action and timeline.action.is_running else None
    clip_frames = repertoire[cursor.clip].frames
    plan = FramePlan(
        frame=timeline.frame,
        source=source,
        cursor=cursor,
        must_be_idr=must_be_idr,
        mouth=mouth.phase,
        strength=mouth.strength,
        begins_utterance=mouth.phase is Mouth.SPEAKING and not was_in_utterance,
        fade=fade,
        state=_seen_state(action, mouth.phase, repertoire[cursor.clip].state),
        action_progress=_progress(cursor.index, clip_frames) if action else None,
        action_form=action.form if action else None,
    )
    return replace(timeline, frame=timeline.frame + 1, source=source, needs_idr=False), plan


def _speech_clip(
    timeline: Timeline, repertoire: ClipIndex, mouth: Mouth, clip: str | None
) -> str | None:
    """The clip wanted under the running utterance: the client's, else a speaking one, else none."""
    if not mouth.is_in_utterance:
        return None
    if mouth is Mouth.SPEAKING and clip is not None:
        return clip
    if timeline.mouth.phase.is_in_utterance:
        return timeline.speech_clip
    return None if timeline.is_base_chosen else first_clip(repertoire, "speaking")


def _advance_cursor(timeline: Timeline, repertoire: ClipIndex) -> Timeline:
    base = timeline.speech_clip or timeline.base
    action = timeline.action
    if timeline.cursor is None:
        return replace(timeline, cursor=Cursor(base, 0))
    clip = repertoire[timeline.cursor.clip]
    following = timeline.cursor.index + 1
    if action and action.is_running:
        if following < clip.frames:
            return replace(timeline, cursor=Cursor(clip.name, following))
        return replace(timeline, cursor=Cursor(base, 0), action=None, waited=0)

    if (action or base != clip.name) and timeline.fade is None:
        wait = clip.frames_to_exit(following)
        if wait == 0 or timeline.waited + wait > MAX_WAIT:
            fade = None if wait == 0 else (timeline.cursor, 0)
            if action:
                action = replace(action, is_running=True)
                base = action.clip
            return replace(timeline, cursor=Cursor(base, 0), action=action, waited=0, fade=fade)
        timeline = replace(timeline, waited=timeline.waited + 1)
    else:
        timeline = replace(timeline, waited=0)
    return replace(timeline, cursor=Cursor(clip.name, following % clip.frames))


def _advance_fade(timeline: Timeline) -> tuple[Timeline, Fade | None]:
    if timeline.fade is None:
        return timeline, None
    outgoing, step = timeline.fade
    if step == FADE_STEPS:
        return replace(timeline, fade=None), None
    weight = (step + 1) / (FADE_STEPS + 1)
    return replace(timeline, fade=(outgoing, step + 1)), Fade(outgoing, weight)


def _choose_source(timeline: Timeline, *, is_altered: bool, at_idr: bool) -> tuple[Source, bool]:
    """The law of the seam: (source, whether live encoding must make an IDR)."""
    was_live = timeline.source is Source.LIVE
    if not is_altered and (at_idr or not (was_live or timeline.needs_idr)):
        return Source.CLIP, False
    return Source.LIVE, not was_live or timeline.needs_idr


def _seen_state(action: Action | None, mouth: Mouth, clip_state: ClipState) -> ClipState:
    if action:
        return "action"
    return "speaking" if mouth is not Mouth.CLOSED and clip_state == "idle" else clip_state


def _progress(index: int, frames: int) -> float:
    return 1.0 if index + 1 == frames else index / max(frames - 1, 1)
