"""From speech and requests to planned frames: what a session's frames show, and when they are due.

The planner moves the timeline along with what the speech queue has for each tick. The frames that
it plans can be rolled back, newest first, as long as none was sent: then the timeline is again what
it was before them, except for requests made since, and their speech waits again.

How long before it is due a frame is planned is the *lead*: what the engine needs for a mouth, which
grows with the number of sessions that speak. Each utterance has its own. In the midst of
one it grows if the next frames' sound has come, or if the sound is silent: there a mouth that waits
for its sound is not noticed.

Pure: time is an argument.
"""

from collections.abc import Callable, Sequence

from inference.assets.clip_index import ClipIndex, ClipRequest
from inference.messages import ActionForm
from inference.runtime.frame_queue import PlannedFrame
from inference.runtime.speech_queue import Speech, SpeechFrame, SpeechQueue
from inference.runtime.timeline import Cursor, IsReady, Source, Timeline
from inference.timing import ENCODING_S, FRAME_S, FrameClock

MIN_RENDER_S = 0.015
"""The least time the engine gets, also when planning itself was late."""


class Planner:
    """Plans the frames of one session, each shortly before it is due; see the module."""

    def __init__(
        self,
        index: ClipIndex,
        speech: SpeechQueue,
        *,
        lead_s: Callable[[], float],
        seed: int = 0,
        is_ready: IsReady = lambda _: True,
    ) -> None:
        """Plan nothing yet.

        Args:
            index: The avatar's clips.
            speech: The session's.
            lead_s: Tells how long before it is due a frame is to be planned, as things are now.
            seed: The source of chance for clips that are not chosen.
            is_ready: Which clips may follow by chance.
        """
        self.clock = FrameClock(0.0)
        self._index = index
        self._speech = speech
        self._wanted_lead_s = lead_s
        self._lead_s = lead_s()
        self._seed = seed
        self._is_ready = is_ready
        self._timeline = Timeline.start(index, seed=seed)

    def begin(self, *, frame: int, due_s: float, base: ClipRequest | None) -> None:
        """Begin with a frame.

        Args:
            frame: Number of the first frame.
            due_s: When it is due.
            base: The base clip; None for the first idle one.
        """
        seed = self._seed + frame
        self._timeline = Timeline.start(self._index, frame=frame, base=base, seed=seed)
        self.clock = FrameClock(due_s - frame * FRAME_S)

    @property
    def newest_due_s(self) -> float:
        """When the newest planned frame is due."""
        return self.clock.due_s(self._timeline.frame - 1)

    @property
    def next_tick_s(self) -> float:
        """When the next frame is to be planned."""
        return self.clock.due_s(self._timeline.frame) - self._lead_s

    def skip_to_due_frame(self, now_s: float) -> int:
        """Continue with the frame after the one that is due.

        Returns:
            How many frames are left out.
        """
        frame = self.clock.frame_due_at(now_s) + 1
        left_out = max(frame - self._timeline.frame, 0)
        self._timeline = self._timeline.skip_to(frame)
        return left_out

    def plan(self, now_s: float) -> PlannedFrame:
        """Plan the next frame, with the speech that is ready."""
        self._speech.skip_late(now_s)
        speech = self._speech.poll(now_s)
        taken = self._speech.take() if speech is Speech.READY else None
        return self._plan(now_s, speech, taken)

    def plan_in_silence(self, now_s: float) -> PlannedFrame:
        """Plan the next frame as if there were no speech."""
        return self._plan(now_s, Speech.SILENT, None)

    def _plan(self, now_s: float, speech: Speech, taken: SpeechFrame | None) -> PlannedFrame:
        before = self._timeline
        self._timeline, plan = before.advance(
            self._index, speech, taken.clip if taken else None, self._is_ready
        )
        self._follow_load()
        due_s = self.clock.due_s(plan.frame)
        return PlannedFrame(
            plan=plan,
            before=before,
            due_s=due_s,
            deadline_s=max(due_s - ENCODING_S, now_s + MIN_RENDER_S),
            speech=taken,
        )

    def _follow_load(self) -> None:
        """Plan the next frames as long before they are due as the engine needs now.

        Within an utterance a frame is planned no later than the one before it, and earlier only
        where that leaves nothing unheard.
        """
        wanted_s = self._wanted_lead_s()
        if not self._timeline.mouth.phase.is_in_utterance:
            self._lead_s = wanted_s
        elif wanted_s > self._lead_s and self._speech.can_be_planned_earlier():
            self._lead_s = min(wanted_s, self._lead_s + FRAME_S)

    def rollback(self, slots: Sequence[PlannedFrame], *, was_encoded: bool) -> None:
        """Drop these planned frames, the newest ones, in order; their speech waits again.

        Args:
            slots: The frames.
            was_encoded: Whether an encoder saw one of them, so that later pictures may refer to it.
        """
        self._timeline = self._timeline.rewind(slots[0].before)
        if was_encoded:
            self._timeline = self._timeline.require_idr()
        for slot in slots:
            if slot.speech is not None:
                self._speech.unread(slot.speech, is_first=slot.plan.begins_utterance)
                return

    @property
    def wanted_clip(self) -> str:
        """The clip that runs, or will as soon as the running one can be left."""
        return self._timeline.wanted_clip(self._index)

    @property
    def idle_cursor(self) -> Cursor | None:
        """Where the last planned frame was in its clip, if that needed no picture."""
        return self._timeline.cursor if self._timeline.source is Source.CLIP else None

    @property
    def is_live(self) -> bool:
        """Whether frames are made now, or will be for speech that came."""
        return self._timeline.source is not Source.CLIP or self._speech.has_speech

    def push_audio(self, position: int, pcm: bytes, now_s: float, clip: ClipRequest | None) -> None:
        """Speech came.

        Args:
            position: Of its first sample.
            pcm: s16le, 16 kHz, mono.
            now_s: When it came.
            clip: The clip requested under it.
        """
        self._speech.push(position, pcm, now_s, clip)

    def end_speech(self, position: int) -> None:
        """End the utterance at ``position``, without waiting for more audio."""
        self._speech.end_utterance(position)

    def change_clip(self, base: ClipRequest) -> None:
        """STATE_CHANGE."""
        self._timeline = self._timeline.change_clip(base)

    def change_listening(self, *, is_active: bool) -> None:
        """USER_SPEAKING."""
        self._timeline = self._timeline.listen(is_active=is_active)

    def start_action(self, clip: str, form: ActionForm) -> None:
        """Start the action that the client asked for."""
        self._timeline = self._timeline.start_action(clip, form)

    def interrupt(self) -> None:
        """INTERRUPT: speech that was not planned is dropped, and the mouth shuts."""
        self._speech.interrupt()
        self._timeline = self._timeline.stop_speech()

    def require_idr(self) -> None:
        """Start over with an IDR: an access unit was lost on its way to the gateway."""
        self._timeline = self._timeline.require_idr()
