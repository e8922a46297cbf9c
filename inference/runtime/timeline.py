"""The timeline of one session: which picture is due next, with which mouth, from which source.

Theory of operation
-------------------
A `Timeline` is a value: the state after the last planned frame. `Timeline.advance` is a pure step
from one to the next that also says what to show (`FramePlan`). Because the state is a value, the
host can plan a frame, drop the plan and plan it again (after an interrupt, or when the engine was
too late for an utterance to begin) by keeping the state from before.

Three layers advance together, once per tick:

*Clips.* The cursor walks through a clip. At its end the clip repeats, if the client chose it;
otherwise another clip of its state follows, often before the end (`variety`). Another clip may be
wanted: the base clip of the last STATE_CHANGE, the clip of the running utterance, or an action. It
takes over at the running clip's next exit, where the picture is near the rest pose that all clips
begin with. If no exit comes within `MAX_WAIT` frames the two clips are cross-faded, at once. An
action runs to its end; nothing interrupts it.

*Mouth.* Closed, speaking, holding because the sound is late, or easing shut:
`inference.runtime.mouth` has the table.

*Source.* An idle mouth needs no encoder: the access units made at preparation are sent as they are
(CLIP). As soon as a picture is altered it is encoded (LIVE). The law of the seam: a clip's access
units may be entered at an IDR only, and live encoding always begins with a forced one. So
CLIP → LIVE happens at once, and LIVE → CLIP waits, encoding unaltered pictures, until the cursor
reaches an IDR.

Pure: no clock, no bytes, no pictures. Chance comes from a seed in the state. The values are structs
of msgspec because each frame of each session makes several: with frozen dataclasses a step takes
five times as long.
"""

import dataclasses
from collections.abc import Callable
from enum import Enum, auto

import msgspec
from msgspec.structs import replace

from inference.assets.clip_index import (
    ClipIndex,
    ClipRequest,
    attentive_clips,
    clips_of,
    first_clip,
)
from inference.assets.manifest import ClipState
from inference.messages import ActionForm
from inference.runtime.mouth import SHUT, Mouth, MouthState
from inference.runtime.speech_queue import Speech
from inference.runtime.variety import Chance, next_play

MAX_WAIT = 23
"""Frames. With the tick of planning and the one of lead, a change is seen within a second."""

FADE_STEPS = 3

IsReady = Callable[[str], bool]
"""Whether the engine can make lips on a clip now."""


class Source(Enum):
    CLIP = auto()
    LIVE = auto()


class Cursor(msgspec.Struct, frozen=True):
    clip: str
    index: int


class Fade(msgspec.Struct, frozen=True):
    """A cross-fade: the picture left behind, and how much of the new one is seen, 0..1."""

    outgoing: Cursor
    weight: float


class Action(msgspec.Struct, frozen=True):
    clip: str
    form: ActionForm
    is_running: bool = False


class FramePlan(msgspec.Struct, frozen=True):
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


class Timeline(msgspec.Struct, frozen=True):
    """The state after the last planned frame; the first one is made by `start`."""

    frame: int
    """The number of the next frame."""
    base: ClipRequest
    """What runs without speech and actions."""
    requests: int = 0
    """How many times the client requested a base clip."""
    cursor: Cursor | None = None
    source: Source = Source.CLIP
    speech_clip: ClipRequest | None = None
    """What runs under the current utterance; None: the base clip."""
    action: Action | None = None
    """What runs, or will as soon as the running clip can be left."""
    actions: int = 0
    """How many times the client requested one."""
    requested_action: Action | None = None
    """The latest of them, not begun."""
    is_listening: bool = False
    """The user speaks: the idle avatar shows its attentive clips."""
    leaves_at: int | None = None
    """How many frames of the running clip are seen before another follows by chance; None: all."""
    waited: int = 0
    """Frames since another clip has been wanted."""
    mouth: MouthState = SHUT
    fade: tuple[Cursor, int] | None = None
    """The picture left behind, and the step reached."""
    needs_idr: bool = False
    chance: Chance = msgspec.field(default_factory=Chance)
    """For clips that are not chosen."""

    @classmethod
    def start(
        cls, index: ClipIndex, *, frame: int = 0, base: ClipRequest | None = None, seed: int = 0
    ) -> "Timeline":
        """Return the state of a new session, or of one taken over from another worker at ``frame``.

        Args:
            index: The avatar's clips.
            frame: Number of the first frame.
            base: What runs; None, or a clip the avatar lacks: the first idle clip, not chosen.
            seed: The source of chance.
        """
        if base is None or base.name not in index:
            base = ClipRequest(first_clip(index, "idle"), is_chosen=False)
        return cls(frame=frame, base=base, requests=int(base.is_chosen), chance=Chance(seed))

    def change_clip(self, base: ClipRequest) -> "Timeline":
        """STATE_CHANGE: ``base`` runs from now on, under speech too."""
        return replace(self, base=base, requests=self.requests + 1, speech_clip=None)

    def start_action(self, clip: str, form: ActionForm) -> "Timeline":
        """Insert an action; the gateway admits one at a time."""
        action = Action(clip, form)
        return replace(self, action=action, actions=self.actions + 1, requested_action=action)

    def listen(self, *, is_active: bool) -> "Timeline":
        """USER_SPEAKING."""
        return replace(self, is_listening=is_active)

    def stop_speech(self) -> "Timeline":
        """INTERRUPT: the utterance is dropped."""
        return replace(self, mouth=self.mouth.interrupt(), speech_clip=None)

    def rewind(self, before: "Timeline") -> "Timeline":
        """Return the state before some dropped frames, ``before``, with the requests made since."""
        has_new_base = self.requests != before.requests
        has_new_action = self.actions != before.actions
        return replace(
            before,
            base=self.base if has_new_base else before.base,
            requests=self.requests,
            speech_clip=None if has_new_base else before.speech_clip,
            action=self.requested_action if has_new_action else before.action,
            actions=self.actions,
            requested_action=self.requested_action,
            is_listening=self.is_listening,
            needs_idr=self.needs_idr or before.needs_idr,
        )

    def skip_to(self, frame: int) -> "Timeline":
        """Frames were lost: continue at ``frame``, with a picture that needs none before it."""
        return replace(self, frame=max(frame, self.frame), needs_idr=True)

    def require_idr(self) -> "Timeline":
        """Forget that the last access unit planned was never sent: the next must stand alone."""
        return replace(self, needs_idr=True)

    def wanted_clip(self, index: ClipIndex) -> str:
        """Return the clip that runs, or will as soon as the running one can be left."""
        return self.action.clip if self.action else self._running_base(index).name

    def _running_base(self, index: ClipIndex) -> ClipRequest:
        """Return what runs but for an action."""
        if self.speech_clip is not None:
            return self.speech_clip
        if not self._is_attentive(index):
            return self.base
        names = attentive_clips(index)
        running = self.cursor.clip if self.cursor else ""
        return ClipRequest(running if running in names else names[0], is_chosen=False)

    def _is_attentive(self, index: ClipIndex) -> bool:
        """Whether the user's speech decides what runs."""
        is_idle = index[self.base.name].state == "idle"
        is_free = self.speech_clip is None and not self.base.is_chosen
        return self.is_listening and is_idle and is_free

    def advance(
        self,
        index: ClipIndex,
        speech: Speech,
        clip: ClipRequest | None = None,
        is_ready: IsReady = lambda _: True,
    ) -> "tuple[Timeline, FramePlan]":
        """One tick.

        Args:
            index: The avatar's clips.
            speech: What the session's queue has for this tick. READY obliges the caller to take
                that frame if the plan's mouth is SPEAKING, which it then always is.
            clip: The clip requested under that utterance.
            is_ready: Which clips may follow by chance.

        Returns:
            The state after it, and what its frame shows.
        """
        was_in_utterance = self.mouth.phase.is_in_utterance
        mouth = self.mouth.advance(speech)
        speech_clip = self._next_speech_clip(index, mouth.phase, clip)
        timeline = replace(self, mouth=mouth, speech_clip=speech_clip)
        timeline = timeline._advance_cursor(index, is_ready)
        cursor = timeline.cursor
        assert cursor is not None, "the cursor was advanced"
        timeline, fade = _advance_fade(timeline)
        is_altered = mouth.phase is not Mouth.CLOSED or fade is not None
        source, must_be_idr = _choose_source(
            timeline, is_altered=is_altered, at_idr=cursor.index in index[cursor.clip].idr
        )
        action = timeline.action if timeline.action and timeline.action.is_running else None
        plan = FramePlan(
            frame=timeline.frame,
            source=source,
            cursor=cursor,
            must_be_idr=must_be_idr,
            mouth=mouth.phase,
            strength=mouth.strength,
            begins_utterance=mouth.phase is Mouth.SPEAKING and not was_in_utterance,
            fade=fade,
            state=_seen_state(action, mouth.phase, index[cursor.clip].state),
            action_progress=_progress(cursor.index, index[cursor.clip].frames) if action else None,
            action_form=action.form if action else None,
        )
        return replace(timeline, frame=timeline.frame + 1, source=source, needs_idr=False), plan

    def _next_speech_clip(
        self, index: ClipIndex, mouth: Mouth, clip: ClipRequest | None
    ) -> ClipRequest | None:
        """Return the clip under the running utterance: the client's, a speaking one, or none."""
        if not mouth.is_in_utterance:
            return None
        running = self.speech_clip
        if mouth is Mouth.SPEAKING and clip is not None:
            # A request that leaves the choice to the server does not restart what runs.
            if (
                running is not None
                and not (running.is_chosen or clip.is_chosen)
                and index[running.name].state == index[clip.name].state
            ):
                return running
            return clip
        if self.mouth.phase.is_in_utterance:
            return running
        if self.base.is_chosen:
            return None
        return ClipRequest(first_clip(index, "speaking"), is_chosen=False)

    def _advance_cursor(self, index: ClipIndex, is_ready: IsReady) -> "Timeline":
        base, action = self._running_base(index), self.action
        if self.cursor is None:
            return replace(self, cursor=Cursor(base.name, 0))
        clip = index[self.cursor.clip]
        following = self.cursor.index + 1
        if action and action.is_running:
            if following < clip.frames:
                return replace(self, cursor=Cursor(clip.name, following))
            return replace(self, cursor=Cursor(base.name, 0), action=None, waited=0, leaves_at=None)

        if (action or base.name != clip.name) and self.fade is None:
            wait = clip.frames_to_exit(following)
            if wait == 0 or self.waited + wait > MAX_WAIT:
                fade = None if wait == 0 else (self.cursor, 0)
                entered = base.name
                if action:
                    action = replace(action, is_running=True)
                    entered = action.clip
                return replace(
                    self,
                    cursor=Cursor(entered, 0),
                    action=action,
                    waited=0,
                    fade=fade,
                    leaves_at=None,
                )
            timeline = replace(self, waited=self.waited + 1)
        elif base.name == clip.name and (
            following == clip.frames or (following == self.leaves_at and not base.is_chosen)
        ):
            return self._vary(base, following, index, is_ready)
        else:
            timeline = replace(self, waited=0)
        return replace(timeline, cursor=Cursor(clip.name, following % clip.frames))

    def _vary(
        self, base: ClipRequest, left_at: int, index: ClipIndex, is_ready: IsReady
    ) -> "Timeline":
        """Leave the running clip after ``left_at`` frames: repeat it, or let another follow."""
        state = index[base.name].state
        if base.is_chosen or state == "action":
            return replace(self, cursor=Cursor(base.name, 0), waited=0, leaves_at=None)
        is_attentive = self._is_attentive(index)
        names = attentive_clips(index) if is_attentive else clips_of(index, state)
        names = [name for name in names if is_ready(name)]
        play, chance = next_play(index, names, base.name, left_at, self.chance)
        following = dataclasses.replace(base, name=play.clip)
        timeline = replace(
            self,
            cursor=Cursor(play.clip, play.entered_at),
            waited=0,
            leaves_at=play.leaves_at,
            chance=chance,
        )
        if self.speech_clip is not None:
            return replace(timeline, speech_clip=following)
        return timeline if is_attentive else replace(timeline, base=following)


def _advance_fade(timeline: Timeline) -> tuple[Timeline, Fade | None]:
    if timeline.fade is None:
        return timeline, None
    outgoing, step = timeline.fade
    if step == FADE_STEPS:
        return replace(timeline, fade=None), None
    weight = (step + 1) / (FADE_STEPS + 1)
    return replace(timeline, fade=(outgoing, step + 1)), Fade(outgoing, weight)


def _choose_source(timeline: Timeline, *, is_altered: bool, at_idr: bool) -> tuple[Source, bool]:
    """Apply the law of the seam: (source, whether live encoding must make an IDR)."""
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
