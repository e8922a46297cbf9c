"""One session in a worker: its frames are planned, made and sent.

Theory of operation
-------------------
A frame is planned shortly before it is due, by as much as the engine needs (`planner`),
and is in a slot until it leaves for the gateway (`frame_queue`). In between its mouth and its
picture are made, and that may take too long:

* A slot whose engine result is not there shortly before it is due is *cut off*: an utterance that
  was to begin is planned again, a frame later; else another mouth stands in (`concealment`).
* An interrupt takes back every slot with speech that has not left, and plans those frames again
  from the state before them. Where an encoder had already seen such a picture, the next is an IDR.
* Frames that have been due for more than a second are given up, sound put back, and the numbers
  jump to now.

Everything here runs on the host's event loop; the work itself is done in the pipeline's pools.
"""

import logging
import zlib
from collections.abc import Callable
from typing import Protocol

from inference.assets.clip_index import ClipRequest, resolve_clip
from inference.assets.clips import AvatarClips
from inference.engines.base import LoadedAvatar
from inference.media.encoder import Encoder
from inference.media.types import AudioWindow, Patch
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
from inference.runtime.concealment import ErrorConcealment
from inference.runtime.frame_queue import FrameQueue, Phase, PlannedFrame
from inference.runtime.mouth import Mouth
from inference.runtime.planner import Planner
from inference.runtime.speech_queue import SpeechQueue
from inference.runtime.timeline import IsReady, Source
from inference.timing import FrameClock

log = logging.getLogger(__name__)

RESERVED_S = 1.0
"""A place that was reserved and not used for so long is free again."""
MAX_LATE_S = 1.0
"""A frame later than this is given up."""


class RenderPipeline(Protocol):
    """The pipeline as a session sees it."""

    def render(self, session: "WorkerSession", slot: PlannedFrame) -> None:
        """Have the engine make the slot's mouth.

        Answered by `WorkerSession.on_rendered` or `WorkerSession.on_render_failed`; when the time
        for that is over, `WorkerSession.deadline_missed` is called.
        """

    def withdraw(self, slot: PlannedFrame) -> None:
        """Withdraw the slot's mouth: it is no longer wanted."""

    def encode(self, session: "WorkerSession", slot: PlannedFrame) -> None:
        """Make the slot's picture and encode it; answered by `WorkerSession.on_encoded`."""

    def decode_ahead(self, session: "WorkerSession", clip: str, index: int) -> None:
        """Have the pictures around ``index`` decoded before they are needed."""


class SpeechCapacity(Protocol):
    """The capacity of the process as a session sees it."""

    def frame_sent(self, lateness_s: float, now_s: float, *, is_repeated: bool = False) -> None:
        """Count a frame that was sent, so late."""


class WorkerSession:
    """One session; ``start`` is its claim, ``send`` sends its gateway messages in order."""

    def __init__(
        self,
        start: SessionStart,
        clips: AvatarClips,
        avatar: LoadedAvatar,
        speech: SpeechQueue,
        stage: RenderPipeline,
        send: Callable[[LayerMessage], None],
        *,
        worker_channel: str,
        lead_s: float,
        is_ready: IsReady = lambda _: True,
        capacity: SpeechCapacity,
        may_speak: Callable[[float], bool] = lambda now_s: True,
    ) -> None:
        self.start = start
        self.worker_channel = worker_channel
        self.clips = clips
        self.avatar = avatar
        self.metrics = FrameMetrics()
        self.encoder: Encoder | None = None
        self.is_encoding = False
        self.is_streaming = False
        self.last_message_s = 0.0
        """When the gateway's last message came."""
        self._capacity = capacity
        self._may_speak = may_speak
        self._place_until_s = 0.0
        self._pipeline = stage
        self._send = send
        self._planner = Planner(
            clips.index,
            speech,
            lead_s=lead_s,
            seed=zlib.crc32(start.session_id.encode()),
            is_ready=is_ready,
        )
        self._outbox = FrameQueue()
        self._concealment = ErrorConcealment()
        self._spoken: AudioWindow | None = None
        """The sound of the newest planned mouth: held or eased ones show it."""
        self._shown_position = 0
        self._generation = 0
        self._has_reported_failure = False

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
        if self._outbox.lateness_s(now_s) > MAX_LATE_S:
            self._give_up(now_s)
        elif now_s - self.next_tick_s > MAX_LATE_S:
            self.metrics.given_up += self._planner.skip_to_due_frame(now_s)
        self._begin(self._planner.plan(now_s))

    def flush(self, now_s: float) -> None:
        """Send the slots that are due and ready, in order."""
        while (slot := self._outbox.take_due(now_s)) is not None:
            self._send_frame(slot, now_s)

    def _send_frame(self, slot: PlannedFrame, now_s: float) -> None:
        plan = slot.plan
        if plan.source is Source.CLIP:
            self.encoder = None
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
        self.metrics.lateness.count(now_s - slot.due_s)
        self._capacity.frame_sent(now_s - slot.due_s, now_s, is_repeated=slot.has_missed_deadline)
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
        """Give up the outbox, which is too late: start over from its first slot's state, at now."""
        given_up = self._rollback(self._outbox.oldest)
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
        dropped = self._outbox.drop_from(first)
        for slot in dropped:
            self._pipeline.withdraw(slot)
        if dropped:
            self._spoken = dropped[0].spoken_before
            self._planner.rollback(dropped)
        return dropped

    def _begin(self, slot: PlannedFrame) -> None:
        """Have made what a planned slot needs."""
        self._outbox.put(slot)
        slot.spoken_before = self._spoken
        self._spoken = slot.window
        plan, clip, index = slot.plan, slot.plan.cursor.clip, slot.plan.cursor.index
        if plan.source is Source.CLIP:
            slot.access_unit = self.clips[clip].access_unit(index)
            slot.is_idr = self.clips[clip].is_idr(index)
            slot.phase = Phase.READY
            return
        self._pipeline.decode_ahead(self, clip, index + self.clips.manifest.profile.gop)
        if (wanted := self._planner.wanted_clip) != clip:
            self._pipeline.decode_ahead(self, wanted, 0)
        if plan.mouth is Mouth.HOLDING:
            self.metrics.held += 1
        if plan.mouth is Mouth.CLOSED or slot.window is None:
            self._encode(slot, None)
        else:
            self._pipeline.render(self, slot)

    def on_rendered(self, slot: PlannedFrame, patch: Patch | None) -> None:
        """Take a mouth that the engine made."""
        if slot.awaits_mouth:
            self._encode(slot, patch)

    def on_render_failed(self, slot: PlannedFrame, reason: str) -> None:
        """Take a failure of the engine: the base video continues; reported once an utterance."""
        self._report_failure(slot, reason)
        if slot.awaits_mouth:
            self._encode(slot, None)

    def _report_failure(self, slot: PlannedFrame, reason: str) -> None:
        if slot.plan.begins_utterance or not self._has_reported_failure:
            self._has_reported_failure = True
            self._send(SpeechFailed(claim_id=self.start.claim_id, reason=reason))

    def deadline_missed(self, slot: PlannedFrame, now_s: float) -> None:
        """Continue without the engine's mouth: its time for this slot is over."""
        if not slot.awaits_mouth:
            return
        self._pipeline.withdraw(slot)
        if slot.plan.begins_utterance and self._concealment.delay_start():
            dropped = self._rollback(slot)
            self.metrics.delayed_starts += 1
            self._begin(self._planner.plan_in_silence(now_s))
            for _ in dropped[1:]:
                self._begin(self._planner.plan(now_s))
            return
        self.metrics.skipped += 1
        slot.has_missed_deadline = True
        self._encode(slot, None)

    def _encode(self, slot: PlannedFrame, patch: Patch | None) -> None:
        slot.phase, slot.patch = Phase.ENCODING, patch
        self._encode_next()

    def _encode_next(self) -> None:
        if self.is_encoding:
            return
        slot = self._outbox.next_to_encode
        if slot is None:
            return
        if not slot.has_missed_deadline:
            self._concealment.made(slot.patch)
        else:
            if not self._concealment.repeat(begins_utterance=slot.plan.begins_utterance):
                self._report_failure(slot, "engine_late")
            slot.patch = self._concealment.patch
        self.is_encoding = True
        self._pipeline.encode(self, slot)

    def on_encoded(
        self, slot: PlannedFrame, access_unit: bytes, *, is_idr: bool, now_s: float
    ) -> None:
        self.is_encoding = False
        slot.access_unit, slot.is_idr, slot.phase = access_unit, is_idr, Phase.READY
        slot.picture = slot.patch = None
        self._encode_next()
        self.flush(now_s)

    def push_audio(self, chunk: AudioChunk, now_s: float) -> None:
        """Speech came from the gateway."""
        if chunk.generation < self._generation:
            return
        request = self._known_request(chunk.clip, is_chosen=chunk.is_clip_chosen)
        arrived_s = now_s - chunk.age_ms / 1_000
        self._planner.push_audio(chunk.position, chunk.pcm, arrived_s, request)
        if cursor := self._planner.idle_cursor:
            self._pipeline.decode_ahead(self, cursor.clip, cursor.index + 1)

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
        dropped = self._rollback(self._outbox.first_spoken)
        self._planner.interrupt()
        self._concealment.reset()
        for _ in dropped:
            self._begin(self._planner.plan_in_silence(now_s))
        self._has_reported_failure = False
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
        for slot in self._outbox.drop_from(self._outbox.oldest):
            self._pipeline.withdraw(slot)

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
