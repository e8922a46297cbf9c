"""From speech and wishes to slots: what one session's frames show, and when they are due.

The planner moves the timeline along with what the speech queue has for each tick. The slots that it
makes can be taken back, newest first, as long as nobody has seen them: then the timeline is again
what it was before them, but for what was wished for since, and their speech waits again.

Pure: time is an argument.
"""

from collections.abc import Sequence

from inference.assets.clip_index import ClipIndex
from inference.messages import ActionForm
from inference.runtime import timeline as timelines
from inference.runtime.frame_queue import PlannedFrame
from inference.runtime.speech_queue import Speech, SpeechFrame, SpeechQueue
from inference.runtime.timeline import Cursor, Source
from inference.timing import ENCODING_S, FRAME_S, FrameClock

MIN_RENDER_S = 0.015
"""What the engine gets at the least, also when planning itself was late."""


class Planner:
    """One session's. Frames are planned ``lead_s`` before they are due."""

    def __init__(self, repertoire: ClipIndex, speech: SpeechQueue, *, lead_s: float) -> None:
        self.clock = FrameClock(0.0)
        self._repertoire = repertoire
        self._speech = speech
        self._lead_s = lead_s
        self._timeline = timelines.begin(repertoire)

    def begin(self, *, frame: int, due_s: float, clip: str | None) -> None:
        """``frame`` is the first one, due at ``due_s``; ``clip`` is the base the client chose."""
        self._timeline = timelines.begin(self._repertoire, frame=frame, base=clip)
        self.clock = FrameClock(due_s - frame * FRAME_S)

    # ---- when

    @property
    def newest_due_s(self) -> float:
        """When the newest planned frame is due."""
        return self.clock.due_s(self._timeline.frame - 1)

    @property
    def next_tick_s(self) -> float:
        """When the next frame is to be planned."""
        return self.clock.due_s(self._timeline.frame) - self._lead_s

    def skip_to_due_frame(self, now_s: float) -> int:
        """Go on with the frame after the one that is due; how many are left out."""
        frame = self.clock.frame_due_at(now_s) + 1
        left_out = max(frame - self._timeline.frame, 0)
        self._timeline = timelines.skip_to(self._timeline, frame)
        return left_out

    # ---- what

    def plan(self, now_s: float) -> PlannedFrame:
        """The next frame, with the speech that is ready."""
        speech = self._speech.poll(now_s)
        taken = self._speech.take() if speech is Speech.READY else None
        return self._plan(now_s, speech, taken)

    def plan_in_silence(self, now_s: float) -> PlannedFrame:
        """The next frame, as if there were no speech."""
        return self._plan(now_s, Speech.SILENT, None)

    def _plan(self, now_s: float, speech: Speech, taken: SpeechFrame | None) -> PlannedFrame:
        before = self._timeline
        self._timeline, plan = timelines.advance(
            before, self._repertoire, speech, taken.clip if taken else None
        )
        due_s = self.clock.due_s(plan.frame)
        return PlannedFrame(
            plan=plan,
            before=before,
            due_s=due_s,
            deadline_s=max(due_s - ENCODING_S, now_s + MIN_RENDER_S),
            speech=taken,
        )

    def take_back(self, slots: Sequence[PlannedFrame]) -> None:
        """Forget these slots, the newest ones, in order; their speech waits again."""
        self._timeline = timelines.rewind(self._timeline, slots[0].before)
        if any(slot.was_seen_by_encoder for slot in slots):
            self._timeline = timelines.require_idr(self._timeline)
        for slot in slots:
            if slot.speech is not None:
                self._speech.put_back(slot.speech, is_first=slot.plan.begins_utterance)
                return

    # ---- where the clips are

    @property
    def wanted_clip(self) -> str:
        """The clip that runs, or will as soon as the running one can be left."""
        return timelines.wanted_clip(self._timeline)

    @property
    def idle_cursor(self) -> Cursor | None:
        """Where the last planned frame was in its clip, if that needed no picture."""
        return self._timeline.cursor if self._timeline.source is Source.CLIP else None

    # ---- what the door tells

    def hear(self, position: int, pcm: bytes, now_s: float, clip: str | None) -> None:
        """Speech, s16le, from sample ``position`` on; ``clip``: the one wanted under it."""
        self._speech.push(position, pcm, now_s, clip)

    def change_clip(self, clip: str) -> None:
        self._timeline = timelines.change_clip(self._timeline, clip)

    def start_action(self, clip: str, form: ActionForm) -> None:
        self._timeline = timelines.start_action(self._timeline, clip, form)

    def interrupt(self) -> None:
        """What was heard and not planned is forgotten, and the mouth shuts."""
        self._speech.interrupt()
        self._timeline = timelines.stop_speech(self._timeline)

    def require_idr(self) -> None:
        """An access unit got lost on its way to the door."""
        self._timeline = timelines.require_idr(self._timeline)
