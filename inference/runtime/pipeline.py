"""The way of a live frame through the pools: engine call, picture, access unit.

What takes time happens off the event loop: mouths in the engine, wherever that runs
(`inference.engines.access`), and decoding, pasting and encoding in the media pool; libx264 and
libavcodec free the GIL. Results come back to the loop, which alone touches a session's state.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from functools import partial

from inference import tracing
from inference.assets.clips import AvatarClips
from inference.engines.access import EngineAccess, MouthRequest, MouthResult, failure_reason
from inference.engines.base import RenderRefusal
from inference.media import compositor
from inference.media.encoder import Encoder, is_idr
from inference.media.profile import VideoProfile
from inference.media.types import Picture
from inference.metrics import DurationHistogram
from inference.runtime.clock import Clock
from inference.runtime.deadlines import DeadlineQueue
from inference.runtime.frame_queue import PlannedFrame
from inference.runtime.session import WorkerSession
from inference.runtime.timeline import FramePlan

SessionErrorBoundary = Callable[[WorkerSession], AbstractContextManager[None]]
"""Keeps what goes wrong inside to this session."""


class Pipeline:
    """See the module. Lives on the event loop."""

    def __init__(
        self,
        *,
        engine: EngineAccess,
        media_pool: Executor,
        profile: VideoProfile,
        clock: Clock,
        deadlines: DeadlineQueue,
        guard: SessionErrorBoundary,
    ) -> None:
        self._engine = engine
        self._media_pool = media_pool
        self._profile = profile
        self._clock = clock
        self._deadlines = deadlines
        self._guard = guard
        self._requests: dict[PlannedFrame, MouthRequest] = {}
        self.encoding = DurationHistogram()
        """How long encoding a picture took."""

    def render(self, session: WorkerSession, slot: PlannedFrame) -> None:
        """Have the slot's mouth made; answered by ``on_rendered`` or ``on_render_failed``.

        ``deadline_missed`` is called when the time for that is over, answered or not.
        """
        assert slot.window is not None, "a mouth is held or eased only after it has spoken"
        request = self._requests[slot] = MouthRequest(
            avatar=session.avatar,
            clip=slot.plan.cursor.clip,
            index=slot.plan.cursor.index,
            read_picture=partial(_source_picture, session.clips, slot.plan),
            window=slot.window,
            strength=slot.plan.strength,
            deadline_s=slot.deadline_s,
            trace=tracing.begun.get(session.start.claim_id, "")
            if slot.plan.begins_utterance
            else "",
        )
        self._engine.submit(request, partial(self._take_result, session, slot))

        def deadline_missed(now_s: float) -> None:
            with self._guard(session):
                session.deadline_missed(slot, now_s)

        self._deadlines.at(slot.deadline_s, deadline_missed)

    def withdraw(self, slot: PlannedFrame) -> None:
        """Withdraw the slot's mouth: it is not wanted any more."""
        request = self._requests.pop(slot, None)
        if request is not None:
            self._engine.withdraw(request)

    def _take_result(
        self, session: WorkerSession, slot: PlannedFrame, result: MouthResult | Exception
    ) -> None:
        self._requests.pop(slot, None)
        with self._guard(session):
            if isinstance(result, Exception):
                session.on_render_failed(slot, failure_reason(result))
                return
            if slot.awaits_mouth:
                slot.picture = result.picture
            if isinstance(result.made, RenderRefusal):
                session.on_render_failed(slot, result.made.reason)
            else:
                session.on_rendered(slot, result.made)

    def decode_ahead(self, session: WorkerSession, clip: str, index: int) -> None:
        """Have the pictures around ``index`` decoded before they are needed."""
        wanted = session.clips[clip]
        if not wanted.is_decoded(index):
            future = asyncio.get_running_loop().run_in_executor(
                self._media_pool, wanted.decode_ahead, index
            )
            # The frame that needs the picture will raise the same error and report it.
            future.add_done_callback(lambda done: done.cancelled() or done.exception())

    def encode(self, session: WorkerSession, slot: PlannedFrame) -> None:
        """Make the slot's picture and encode it; answered by ``on_encoded``."""
        if session.encoder is None:
            session.encoder = Encoder(self._profile)
        future = asyncio.get_running_loop().run_in_executor(
            self._media_pool, _make_access_unit, session.clips, session.encoder, slot
        )

        def done(future: "asyncio.Future[tuple[bytes, float]]") -> None:
            with self._guard(session):
                access_unit, took_s = future.result()
                self.encoding.count(took_s)
                session.on_encoded(
                    slot, access_unit, is_idr=is_idr(access_unit), now_s=self._clock.now_s()
                )

        future.add_done_callback(done)


def _make_access_unit(
    clips: AvatarClips, encoder: Encoder, slot: PlannedFrame
) -> tuple[bytes, float]:
    """Return the slot's picture, encoded, and how long encoding took.

    Runs in the media pool, one at a time per session.
    """
    # The engine saw it already, unless there was nothing to render or it was too late.
    picture = _source_picture(clips, slot.plan) if slot.picture is None else slot.picture
    if slot.patch is not None:
        picture = compositor.paste(picture, slot.patch)
    began_s = time.perf_counter()
    access_unit = encoder.encode(picture, idr=slot.plan.must_be_idr)
    return access_unit, time.perf_counter() - began_s


def _source_picture(clips: AvatarClips, plan: FramePlan) -> Picture:
    """Return the clip's picture, mixed with the one left behind while a cross-fade lasts."""
    picture = clips[plan.cursor.clip].picture(plan.cursor.index)
    if plan.fade is None:
        return picture
    outgoing = clips[plan.fade.outgoing.clip].picture(plan.fade.outgoing.index)
    return compositor.cross_fade(outgoing, picture, plan.fade.weight)
