"""One session in a worker: its frames are planned, made and sent.

Theory of operation
-------------------
A frame is planned shortly before it is due, by as much as the engine needs (`planner`), and waits
until it leaves for the gateway (`frame_queue`). In between the session's live stream (`pipeline`)
makes its mouth and its picture, and that may take too long:

* A frame whose mouth is not there shortly before it is due is *cut off*: an utterance that was to
  begin is planned again, a frame later; else another mouth stands in (`concealment`).
* An interrupt takes back every frame with speech that has not left, and plans it again from the
  state before. Where an encoder had already seen such a picture, the next is an IDR.
* Where frames leave late, some mouths are not even begun (`mouth_pace`).
* Frames that have been due for more than a second are given up, sound put back, and the numbers
  jump to now.

Pure: time is an argument, and the work is done by the live stream.
"""

import logging
import math
import zlib
from collections.abc import Callable
from typing import Protocol

from inference.assets.clip_index import ClipIndex, ClipRequest, resolve_clip
from inference.media.types import AudioWindow
from inference.messages import (
    ActionStart,
    AudioChunk,
    ClipChange,
    LayerMessage,
    ListeningChange,
    SessionAccepted,
    SessionStart,
    SpeechEnd,
    SpeechFailed,
    SpeechInterrupt,
    SpeechInterrupted,
    SpeechSkipped,
    VideoFrame,
)
from inference.metrics import FrameMetrics
from inference.runtime.concealment import StartDelay
from inference.runtime.frame_queue import FrameQueue, PlannedFrame
from inference.runtime.live_stream import Encoded, MouthLate, NotEncoded, OpenStream, Outcome
from inference.runtime.mouth import Mouth
from inference.runtime.planner import Planner
from inference.runtime.speech_queue import SpeechQueue
from inference.runtime.timeline import FramePlan, IsReady, Source
from inference.timing import FrameClock

log = logging.getLogger(__name__)

RESERVED_S = 1.0
"""A place that was reserved and not used for so long is free again."""
MAX_LATE_S = 1.0
"""A frame later than this is given up."""
GIVEN_UP_LOGGED_EVERY_S = 60.0
"""A session that keeps giving up is logged so often; the metrics count every frame."""
START_FRAMES = 4
"""So far behind the last planned frame is about the first with a mouth when speech has come."""


class ClipFrames(Protocol):
    """A clip as a session sees it."""

    def access_unit(self, index: int) -> bytes:
        """Return one frame, as it was encoded at preparation."""

    def is_idr(self, index: int) -> bool:
        """Say whether that frame stands alone."""


class SessionClips(Protocol):
    """An avatar's clips as a session sees them."""

    @property
    def index(self) -> ClipIndex:
        """What there is."""

    def __getitem__(self, name: str) -> ClipFrames:
        """Return one of them."""


class Pace(Protocol):
    """How many mouths the process makes, as a session sees it."""

    @property
    def every(self) -> int:
        """Of so many mouths one is made."""

    def frame_sent(self, lateness_s: float, now_s: float) -> None:
        """Count a frame that was sent, so late."""


class SpeechCapacity(Protocol):
    """The capacity of the process as a session sees it."""

    def frame_sent(self, lateness_s: float, now_s: float, *, is_repeated: bool = False) -> None:
        """Count a frame that was sent, so late."""


class WorkerSession:
    """One session; ``start`` is its claim, ``send`` sends its gateway messages in order."""

    def __init__(
        self,
        start: SessionStart,
        clips: SessionClips,
        speech: SpeechQueue,
        open_stream: OpenStream,
        send: Callable[[LayerMessage], None],
        *,
        worker_channel: str,
        lead_s: Callable[[], float],
        is_ready: IsReady = lambda _: True,
        capacity: SpeechCapacity,
        pace: Pace,
        may_speak: Callable[[float], bool] = lambda now_s: True,
    ) -> None:
        self.start = start
        self.worker_channel = worker_channel
        self.clips = clips
        self.metrics = FrameMetrics()
        self.is_streaming = False
        self.last_message_s = 0.0
        """When the gateway's last message came."""
        self._capacity = capacity
        self._pace = pace
        self._mouths_repeated = 0
        """Since the last one was asked of the engine."""
        self._may_speak = may_speak
        self._place_until_s = 0.0
        self._stream = open_stream(self.take_outcome)
        self._send = send
        self._planner = Planner(
            clips.index,
            speech,
            lead_s=lead_s,
            seed=zlib.crc32(start.session_id.encode()),
            is_ready=is_ready,
        )
        self._frames = FrameQueue()
        self._start_delay = StartDelay()
        self._spoken: AudioWindow | None = None
        """The sound of the newest planned mouth: held or eased ones show it."""
        self._shown_position = 0
        self._generation = 0
        self._has_reported_failure = False
        self._given_up_logged_s = -math.inf

    def holds_place(self, now_s: float) -> bool:
        """Whether the session speaks, or has reserved a place to speak."""
        return self._planner.is_live or now_s < self._place_until_s

    def reserve_place(self, now_s: float) -> None:
        """Hold a place for the speech that comes next."""
        self._place_until_s = now_s + RESERVED_S

    def start_streaming(self, accepted: SessionAccepted, origin_s: float, now_s: float) -> None:
        """Start streaming: the frame that the gateway's acceptance names is due at ``origin_s``."""
        base = self._known_request(accepted.clip, is_chosen=accepted.is_clip_chosen)
        self._planner.begin(frame=accepted.next_frame, due_s=origin_s, base=base)
        self._shown_position = accepted.next_position
        self._generation = accepted.generation
        self.is_streaming = True
        self._begin(self._planner.plan(now_s))

    @property
    def clock(self) -> FrameClock:
        return self._planner.clock

    @property
    def newest_due_s(self) -> float:
        """When `flush` wants to be called: the newest planned frame is due."""
        return self._planner.newest_due_s

    @property
    def next_tick_s(self) -> float:
        """When `tick` wants to be called: the next frame is to be planned."""
        return self._planner.next_tick_s

    def tick(self, now_s: float) -> None:
        """Plan the next frame; skip ahead if more than `MAX_LATE_S` behind."""
        self.flush(now_s)
        if self._frames.lateness_s(now_s) > MAX_LATE_S:
            self._give_up(now_s)
        elif now_s - self.next_tick_s > MAX_LATE_S:
            self.metrics.given_up += self._planner.skip_to_due_frame(now_s)
        self._begin(self._planner.plan(now_s))

    def flush(self, now_s: float) -> None:
        """Send the slots that are due and ready, in order."""
        while (slot := self._frames.take_due(now_s)) is not None:
            self._send_frame(slot, now_s)

    def _send_frame(self, slot: PlannedFrame, now_s: float) -> None:
        plan = slot.plan
        assert slot.access_unit is not None, "it was taken because it is ready"
        if slot.speech is not None:
            self._shown_position = slot.speech.end
            if slot.speech.skipped:
                self.metrics.skipped_samples += slot.speech.skipped
                self._send(
                    SpeechSkipped(
                        claim_id=self.start.claim_id,
                        position=slot.speech.position,
                        samples=slot.speech.skipped,
                    )
                )
            self.metrics.spoken += 1
        self.metrics.sent += 1
        lateness_s = now_s - slot.due_s
        self.metrics.lateness.count(lateness_s)
        self._pace.frame_sent(lateness_s, now_s)
        self._capacity.frame_sent(lateness_s, now_s, is_repeated=slot.is_repeated)
        self._send(
            VideoFrame(
                claim_id=self.start.claim_id,
                frame=plan.frame,
                access_unit=slot.access_unit,
                is_idr=slot.is_idr,
                state=plan.state,
                clip=plan.cursor.clip,
                position=slot.speech.position if slot.speech else None,
                samples=slot.speech.received if slot.speech else 0,
                action_progress=plan.action_progress,
                action_form=plan.action_form,
                may_speak=self.holds_place(now_s) or self._may_speak(now_s),
            ),
        )

    def _give_up(self, now_s: float) -> None:
        """Start over at now, from the state of the first slot that waits: it is too late."""
        given_up = self._rollback(self._frames.oldest)
        if now_s - self._given_up_logged_s >= GIVEN_UP_LOGGED_EVERY_S:
            self._given_up_logged_s = now_s
            log.warning(
                "session %s: frames from %d on were over %.0f s late and are given up",
                self.start.session_id,
                given_up[0].plan.frame,
                MAX_LATE_S,
                extra=self.start.log_fields,
            )
        self.metrics.given_up += self._planner.skip_to_due_frame(now_s)

    def _rollback(self, first: PlannedFrame | None) -> list[PlannedFrame]:
        """Drop ``first`` and all behind it, and return to the state before them."""
        dropped = self._frames.drop_from(first)
        if dropped:
            was_encoded = self._stream.withdraw(dropped)
            self._spoken = dropped[0].spoken_before
            self._planner.rollback(dropped, was_encoded=was_encoded)
        return dropped

    def _begin(self, slot: PlannedFrame) -> None:
        """Have made what a slot needs that was planned."""
        self._frames.put(slot)
        slot.spoken_before = self._spoken
        self._spoken = slot.window
        plan, clip, index = slot.plan, slot.plan.cursor.clip, slot.plan.cursor.index
        if plan.source is Source.CLIP:
            slot.access_unit = self.clips[clip].access_unit(index)
            slot.is_idr = self.clips[clip].is_idr(index)
            if slot.before.source is Source.LIVE:
                self._stream.end_stretch()
            return
        if (wanted := self._planner.wanted_clip) != clip:
            self._stream.decode_ahead(wanted, 0)
        if plan.mouth is Mouth.HOLDING:
            self.metrics.held += 1
        self._stream.submit(slot, repeats_mouth=self._repeats_mouth(plan))

    def _repeats_mouth(self, plan: FramePlan) -> bool:
        """Say whether the process has no time for this mouth."""
        is_needed = plan.begins_utterance or not plan.mouth.is_in_utterance
        if is_needed or self._mouths_repeated + 1 >= self._pace.every:
            self._mouths_repeated = 0
            return False
        self._mouths_repeated += 1
        return True

    def take_outcome(self, outcome: Outcome, now_s: float) -> None:
        """Take what became of a frame from the live stream.

        Raises:
            Exception: There can be no picture: what the stream met ends the session.
        """
        match outcome:
            case Encoded():
                self._on_encoded(outcome, now_s)
            case MouthLate(slot):
                self._on_mouth_late(slot, now_s)
            case NotEncoded(error):
                raise error

    def _on_encoded(self, encoded: Encoded, now_s: float) -> None:
        slot = encoded.frame
        if slot.is_dropped:
            return
        slot.access_unit, slot.is_idr = encoded.access_unit, encoded.is_idr
        slot.is_repeated = encoded.is_repeated
        if encoded.is_repeated:
            self.metrics.skipped += 1
        if slot.plan.begins_utterance:
            self._has_reported_failure = False
        if encoded.failure is not None:
            self._report_failure(encoded.failure)
        if slot.needs_mouth and (encoded.failure is not None or not encoded.is_repeated):
            self._start_delay.reset()
        self.flush(now_s)

    def _report_failure(self, reason: str) -> None:
        """Report, once an utterance, that the base video continues without lips."""
        if not self._has_reported_failure:
            self._has_reported_failure = True
            self._send(SpeechFailed(claim_id=self.start.claim_id, reason=reason))

    def _on_mouth_late(self, slot: PlannedFrame, now_s: float) -> None:
        if not (slot.plan.begins_utterance and self._start_delay.delay()):
            self._stream.cut_off(slot)
            return
        dropped = self._rollback(slot)
        self.metrics.delayed_starts += 1
        self._begin(self._planner.plan_in_silence(now_s))
        for _ in dropped[1:]:
            self._begin(self._planner.plan(now_s))

    def push_audio(self, chunk: AudioChunk, now_s: float) -> None:
        """Speech came from the gateway."""
        if chunk.generation < self._generation:
            return
        request = self._known_request(chunk.clip, is_chosen=chunk.is_clip_chosen)
        arrived_s = now_s - chunk.age_ms / 1_000
        self._planner.push_audio(chunk.position, chunk.pcm, arrived_s, request)
        if cursor := self._planner.idle_cursor:
            self._stream.decode_ahead(cursor.clip, cursor.index + START_FRAMES)

    def end_speech(self, end: SpeechEnd) -> None:
        """End the utterance as the client said."""
        if end.generation == self._generation:
            self._planner.end_speech(end.position)

    def change_clip(self, change: ClipChange) -> None:
        """STATE_CHANGE."""
        request = self._known_request(change.clip, is_chosen=change.is_chosen)
        if request is not None:
            self._planner.change_clip(request)

    def change_listening(self, change: ListeningChange) -> None:
        """USER_SPEAKING."""
        self._planner.change_listening(is_active=change.is_active)

    def start_action(self, action: ActionStart) -> None:
        if clip := self._known_clip(action.clip):
            self._planner.start_action(clip, action.form)

    def interrupt(self, interrupt: SpeechInterrupt, now_s: float) -> None:
        self._generation = interrupt.generation
        dropped = self._rollback(self._frames.first_spoken)
        self._planner.interrupt()
        self._start_delay.reset()
        for _ in dropped:
            self._begin(self._planner.plan_in_silence(now_s))
        self._send(
            SpeechInterrupted(
                claim_id=self.start.claim_id,
                generation=interrupt.generation,
                position=self._shown_position,
            ),
        )

    def stop(self) -> None:
        """Stop the session: nothing more comes out of it."""
        self.is_streaming = False
        self._stream.withdraw(self._frames.drop_from(self._frames.oldest))
        self._stream.end_stretch()

    def require_idr(self) -> None:
        """Start over with an IDR: an access unit was lost on its way to the gateway."""
        self._planner.require_idr()

    def _known_request(self, name: str | None, *, is_chosen: bool) -> ClipRequest | None:
        clip = None if name is None else self._known_clip(name)
        return None if clip is None else ClipRequest(clip, is_chosen=is_chosen)

    def _known_clip(self, name: str) -> str | None:
        """Resolve a name against the manifest, as the gateway did; an unknown one is a bug."""
        try:
            return resolve_clip(self.clips.index, name)
        except KeyError:
            log.error(
                "session %s: no clip %r", self.start.session_id, name, extra=self.start.log_fields
            )
            return None
