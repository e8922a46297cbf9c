"""The way of a live frame off the event loop: mouth, picture, access unit.

Theory of operation
-------------------
A session has one stream (`live_stream`). It submits planned frames and gets back what became of
them through one callback on the event loop.

A frame's mouth is asked of the engine, wherever that runs (`inference.engines.access`). The thread
that has it finishes the picture: it puts the mouth on it and encodes it, and then those behind it
that are ready. So a frame of the CPU engine is one piece of work on one thread, and the loop finds
the result when the frame is due, which costs no wake-up of its own. A frame that needs no mouth, or
does not get one in time, is encoded in the media pool, at once: it takes the next turn on a core.

Mouths may be made in any order. Pictures are encoded one after the other and as planned, because
each refers to the one before; the thread that encodes has the stream to itself, without holding the
lock.
"""

import threading
import time
from collections.abc import Iterable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from inference import tracing
from inference.assets.clips import AvatarClips
from inference.core_turns import CoreTurns
from inference.engines.access import MouthMaker, MouthRequest, MouthResult, failure_reason
from inference.engines.base import LoadedAvatar, RenderRefusal
from inference.media import compositor
from inference.media.encoder import Encoder, is_idr
from inference.media.profile import VideoProfile
from inference.media.types import Patch, Picture
from inference.metrics import DurationHistogram
from inference.runtime.concealment import LastMouth, ShownMouth
from inference.runtime.deadlines import DeadlineQueue
from inference.runtime.frame_queue import PlannedFrame
from inference.runtime.live_stream import (
    Encoded,
    LiveStream,
    MouthLate,
    NotEncoded,
    Outcome,
    TakeOutcome,
)
from inference.runtime.timeline import FramePlan, Source

DECODED_AHEAD = 2
"""Pictures of the clip decoded after the one that is shown: two frames may be in progress."""


class Pipeline:
    """What the live streams of a process share."""

    def __init__(
        self,
        *,
        engine: MouthMaker,
        media_pool: Executor,
        turns: CoreTurns,
        profile: VideoProfile,
        deadlines: DeadlineQueue,
    ) -> None:
        self.engine = engine
        self.media_pool = media_pool
        self.turns = turns
        self.profile = profile
        self.deadlines = deadlines
        self.encoding = DurationHistogram()
        """How long encoding a picture took."""

    def open_stream(
        self, claim_id: str, clips: AvatarClips, avatar: LoadedAvatar, take: TakeOutcome
    ) -> LiveStream:
        """Open the live stream of one session.

        Args:
            claim_id: Of the session.
            clips: Of its avatar.
            avatar: The same as the engine keeps it.
            take: Takes what became of its frames.
        """
        return PooledStream(self, claim_id, clips, avatar, take)


@dataclass(slots=True, eq=False)
class _Picture:
    """A frame that is not encoded yet."""

    frame: PlannedFrame
    request: MouthRequest | None = None
    awaits_mouth: bool = False
    is_late: bool = False
    """The mouth is not waited for any more."""
    source: Picture | None = None
    """The source picture, where the engine has seen it."""
    patch: Patch | None = None
    """The mouth to be pasted over it; None: its own."""
    failure: str | None = None


class PooledStream:
    """Implements `live_stream.LiveStream`."""

    def __init__(
        self,
        pipeline: Pipeline,
        claim_id: str,
        clips: AvatarClips,
        avatar: LoadedAvatar,
        take: TakeOutcome,
    ) -> None:
        self._pipeline = pipeline
        self._claim_id = claim_id
        self._engine = pipeline.engine
        self._clips = clips
        self._avatar = avatar
        self._take = take
        self._lock = threading.Lock()
        """Held for what follows; never while something is made."""
        self._waiting: dict[PlannedFrame, _Picture] = {}
        """Frames that no encoder has seen, in order."""
        self._is_encoding = False
        self._has_ended = True
        """The stretch is over: the encoder is not needed once nothing waits."""
        # The thread that encodes has these to itself.
        self._encoder: Encoder | None = None
        self._mouth = LastMouth()

    def submit(self, frame: PlannedFrame, *, repeats_mouth: bool = False) -> None:
        picture = _Picture(frame)
        picture.awaits_mouth = frame.needs_mouth and not repeats_mouth
        picture.is_late = frame.needs_mouth and repeats_mouth
        if picture.awaits_mouth:
            picture.request = self._request(frame)
        with self._lock:
            self._waiting[frame] = picture
            self._has_ended = False
        if picture.request is None:
            self._encode_ready()
            return
        self._engine.submit(picture.request, partial(self._mouth_made, picture))
        self._pipeline.deadlines.at(frame.deadline_s, partial(self._look_at_deadline, picture))

    def _request(self, frame: PlannedFrame) -> MouthRequest:
        assert frame.window is not None, "a mouth is held or eased only after it has spoken"
        cursor = frame.plan.cursor
        return MouthRequest(
            avatar=self._avatar,
            clip=cursor.clip,
            index=cursor.index,
            read_picture=partial(self._source_picture, frame.plan),
            window=frame.window,
            strength=frame.plan.strength,
            deadline_s=frame.deadline_s,
            trace=tracing.begun.get(self._claim_id, "") if frame.plan.begins_utterance else "",
        )

    def _look_at_deadline(self, picture: _Picture, now_s: float) -> None:
        if picture.awaits_mouth:
            self._take(MouthLate(picture.frame), now_s)

    def cut_off(self, frame: PlannedFrame) -> None:
        with self._lock:
            picture = self._waiting.get(frame)
            if picture is None or not picture.awaits_mouth:
                return
            picture.awaits_mouth, picture.is_late = False, True
        self._withdraw_request(picture)
        self._encode_ready()

    def withdraw(self, frames: Iterable[PlannedFrame]) -> bool:
        withdrawn, was_encoded = [], False
        with self._lock:
            for frame in frames:
                picture = self._waiting.pop(frame, None)
                if picture is None:
                    was_encoded |= frame.plan.source is Source.LIVE
                else:
                    picture.awaits_mouth = False
                    withdrawn.append(picture)
        for picture in withdrawn:
            self._withdraw_request(picture)
        return was_encoded

    def _withdraw_request(self, picture: _Picture) -> None:
        if picture.request is not None:
            self._engine.withdraw(picture.request)

    def end_stretch(self) -> None:
        with self._lock:
            self._has_ended = True
            self._let_encoder_go()

    def _let_encoder_go(self) -> None:
        """Free its memory, where it is not needed. The lock is held."""
        if self._has_ended and not self._waiting and not self._is_encoding:
            self._encoder = None

    def decode_ahead(self, clip: str, index: int) -> None:
        wanted = self._clips[clip]
        if not wanted.is_decoded(index):
            # The frame that needs the picture will raise the same error and report it.
            self._pipeline.media_pool.submit(wanted.decode_ahead, index)

    def _encode_ready(self) -> None:
        """Have encoded what is ready."""
        if self._is_next_ready():
            self._pipeline.media_pool.submit(self._encode_urgent)

    def _is_next_ready(self) -> bool:
        with self._lock:
            if self._is_encoding or not self._waiting:
                return False
            return not next(iter(self._waiting.values())).awaits_mouth

    # What follows runs in pools.

    def _encode_urgent(self) -> None:
        with self._pipeline.turns.turn(is_urgent=True):
            self._encode_all()

    def _mouth_made(self, picture: _Picture, result: MouthResult | Exception) -> None:
        """The engine answered: finish the picture."""
        with self._lock:
            if not picture.awaits_mouth:
                return
            picture.awaits_mouth = False
            if isinstance(result, Exception):
                picture.failure = failure_reason(result)
            else:
                picture.source = result.picture
                if isinstance(result.made, RenderRefusal):
                    picture.failure = result.made.reason
                else:
                    picture.patch = result.made
        self._encode_all()

    def _encode_all(self) -> None:
        """Encode what is ready, in order, unless another thread does already."""
        plan: FramePlan | None = None
        while (picture := self._next()) is not None:
            plan = picture.frame.plan
            try:
                outcome: Outcome = self._encode(picture)
            except Exception as error:  # noqa: BLE001 - it ends this session, on the loop
                outcome = NotEncoded(error)
            self._pipeline.deadlines.hand_over(
                partial(self._tell, outcome), by_s=picture.frame.due_s
            )
            with self._lock:
                self._is_encoding = False
                self._let_encoder_go()
        if plan is not None:
            self._decode_following(plan)

    def _decode_following(self, plan: FramePlan) -> None:
        """Decode a picture that will be needed soon.

        Where nobody has done so, each frame decodes one: a whole group at once makes others late.
        """
        with suppress(Exception):  # the frame that needs it will report it
            self._clips[plan.cursor.clip].decode_ahead(plan.cursor.index + DECODED_AHEAD)

    def _next(self) -> _Picture | None:
        with self._lock:
            if self._is_encoding or not self._waiting:
                return None
            frame, picture = next(iter(self._waiting.items()))
            if picture.awaits_mouth:
                return None
            del self._waiting[frame]
            self._is_encoding = True
            return picture

    def _encode(self, picture: _Picture) -> Encoded:
        frame, plan, failure = picture.frame, picture.frame.plan, picture.failure
        source = self._source_picture(plan) if picture.source is None else picture.source
        if failure is not None:
            mouth = self._mouth.give_up()
        elif not picture.is_late:
            mouth = self._mouth.made(picture.patch)
        else:
            mouth = self._mouth.repeat(begins_utterance=plan.begins_utterance)
            if self._mouth.is_given_up:
                failure = "engine_late"
        if self._encoder is None or frame.begins_stretch:
            self._encoder = Encoder(self._pipeline.profile, qp=self._clips.live_qp)
        began_s = time.perf_counter()
        patch = None if mouth is None else _over(source, mouth)
        access_unit = self._encoder.encode(source, patch, idr=plan.must_be_idr)
        return Encoded(
            frame,
            access_unit,
            is_idr=is_idr(access_unit),
            is_repeated=picture.is_late,
            failure=failure,
            took_s=time.perf_counter() - began_s,
        )

    def _source_picture(self, plan: FramePlan) -> Picture:
        """Return the clip's picture, mixed with the one left behind while a cross-fade lasts."""
        picture = self._clips[plan.cursor.clip].picture(plan.cursor.index)
        if plan.fade is None:
            return picture
        outgoing = self._clips[plan.fade.outgoing.clip].picture(plan.fade.outgoing.index)
        return compositor.cross_fade(outgoing, picture, plan.fade.weight)

    # On the event loop again.

    def _tell(self, outcome: Outcome, now_s: float) -> None:
        if isinstance(outcome, Encoded):
            self._pipeline.encoding.count(outcome.took_s)
        self._take(outcome, now_s)


def _over(source: Picture, mouth: ShownMouth) -> Patch:
    if mouth.opacity == 1.0 and not mouth.is_repeated:
        return mouth.patch
    return compositor.mixed(source, mouth.patch, mouth.opacity)
