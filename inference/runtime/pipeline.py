"""The way of a live frame through the pools: engine call, picture, access unit.

What takes time happens here, off the event loop, in two bounded pools. ``engine``: calls that
listen and render for many sessions at once, most urgent first (see `batcher`). ``media``:
decoding, pasting and encoding; libx264 and libavcodec free the GIL. Results come back to the loop,
which alone touches a session's state: a pool thread sees a `_EngineInput`, which does not
change.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass

from inference.assets.clips import AvatarClips
from inference.engines.base import Engine, Features, LoadedAvatar, RenderJob, RenderRefusal
from inference.engines.batcher import Batcher
from inference.errors import InferenceError
from inference.media import compositor
from inference.media.encoder import Encoder, is_idr
from inference.media.profile import VideoProfile
from inference.media.types import AudioWindow, Patch, Picture
from inference.runtime.clock import Clock
from inference.runtime.deadlines import DeadlineQueue
from inference.runtime.frame_queue import PlannedFrame
from inference.runtime.session import WorkerSession
from inference.runtime.timeline import FramePlan

log = logging.getLogger(__name__)

_DECAY = 1.1
"""The estimate is a decaying minimum: each slower call raises it by at most 10 %."""

SessionErrorBoundary = Callable[[WorkerSession], AbstractContextManager[None]]
"""Keeps what goes wrong inside to this session."""


class Pipeline:
    """See the module. Lives on the event loop."""

    def __init__(
        self,
        *,
        engine: Engine,
        engine_pool: Executor,
        media_pool: Executor,
        profile: VideoProfile,
        clock: Clock,
        deadlines: DeadlineQueue,
        guard: SessionErrorBoundary,
    ) -> None:
        self._engine = engine
        self._engine_pool = engine_pool
        self._media_pool = media_pool
        self._profile = profile
        self._clock = clock
        self._deadlines = deadlines
        self._guard = guard
        self._batcher: Batcher[PlannedFrame] = Batcher(concurrency=engine.concurrency)
        self._waiting: dict[PlannedFrame, WorkerSession] = {}
        self._call_s = 0.0
        """The shortest call, lately: underestimating makes a frame late, overestimating skips
        frames that would have made it."""

    @property
    def waiting_jobs(self) -> int:
        return len(self._batcher)

    def render(self, session: WorkerSession, slot: PlannedFrame) -> None:
        """Have the slot's mouth made; answered by ``on_rendered`` or ``on_render_failed``.

        ``deadline_missed`` is called when the time for that is over, answered or not.
        """
        self._waiting[slot] = session
        self._batcher.submit(slot, slot.deadline_s)
        self._start_calls()

        def deadline_missed(now_s: float) -> None:
            with self._guard(session):
                session.deadline_missed(slot, now_s)

        self._deadlines.at(slot.deadline_s, deadline_missed)

    def withdraw(self, slot: PlannedFrame) -> None:
        """The slot's mouth is not wanted any more."""
        if self._waiting.pop(slot, None) is not None:
            self._batcher.withdraw(slot)

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

        def done(future: "asyncio.Future[bytes]") -> None:
            with self._guard(session):
                access_unit = future.result()
                session.on_encoded(
                    slot, access_unit, is_idr=is_idr(access_unit), now_s=self._clock.now_s()
                )

        future.add_done_callback(done)

    def _start_calls(self) -> None:
        while slots := self._batcher.start_call(
            self._engine.max_batch, end_s=self._clock.now_s() + self._call_s
        ):
            sessions = [self._waiting.pop(slot) for slot in slots]
            works = [
                _EngineInput(session.clips, session.avatar, slot, session.features)
                for session, slot in zip(sessions, slots, strict=True)
            ]
            future = asyncio.get_running_loop().run_in_executor(
                self._engine_pool, _call_engine, self._engine, works
            )

            def done(
                future: "asyncio.Future[list[_EngineResult]]",
                sessions: list[WorkerSession] = sessions,
                slots: list[PlannedFrame] = slots,
                began_s: float = self._clock.now_s(),
            ) -> None:
                self._batcher.end_call()
                took_s = self._clock.now_s() - began_s
                self._call_s = min(took_s, _DECAY * self._call_s) if self._call_s else took_s
                self._hand_out(sessions, slots, future)
                self._start_calls()

            future.add_done_callback(done)

    def _hand_out(
        self,
        sessions: list[WorkerSession],
        slots: list[PlannedFrame],
        future: "asyncio.Future[list[_EngineResult]]",
    ) -> None:
        error = future.exception()
        if error is not None:
            log.error(
                "the %s engine failed",
                self._engine.name,
                exc_info=error,
                extra={"engine": self._engine.name},
            )
        for number, (session, slot) in enumerate(zip(sessions, slots, strict=True)):
            with self._guard(session):
                if error is not None:
                    is_ours = isinstance(error, InferenceError)
                    session.on_render_failed(slot, str(error) if is_ours else "engine_failed")
                    continue
                mouth = future.result()[number]
                if slot.awaits_mouth:
                    slot.picture = mouth.picture
                if isinstance(mouth.made, RenderRefusal):
                    session.on_render_failed(slot, mouth.made.reason)
                else:
                    session.on_rendered(slot, mouth.features, mouth.made)


@dataclass(frozen=True, slots=True, eq=False)
class _EngineResult:
    """What became of a slot in the engine's pool."""

    features: Features
    made: Patch | RenderRefusal | None
    picture: Picture
    """What it was made for."""


@dataclass(frozen=True, slots=True, eq=False)
class _EngineInput:
    """A slot as a pool thread sees it."""

    clips: AvatarClips
    avatar: LoadedAvatar
    slot: PlannedFrame
    features: Features | None
    """The last ones, for a mouth without new sound."""

    @property
    def window(self) -> AudioWindow | None:
        return self.slot.speech.window if self.slot.speech else None


def _call_engine(engine: Engine, works: list[_EngineInput]) -> list[_EngineResult]:
    """Listen for those that have new sound, then render all. Runs in the engine's pool."""
    windows = [work.window for work in works if work.window is not None]
    features_of = iter(engine.listen(windows) if windows else [])
    features: list[Features] = []
    for work in works:
        latest = work.features if work.window is None else next(features_of)[0]
        assert latest is not None, "a mouth is held or eased only after it has spoken"
        features.append(latest)
    pictures = [_source_picture(work.clips, work.slot.plan) for work in works]
    made = engine.render(
        [
            RenderJob(
                avatar=work.avatar,
                clip=work.slot.plan.cursor.clip,
                index=work.slot.plan.cursor.index,
                picture=picture,
                features=latest,
                strength=work.slot.plan.strength,
            )
            for work, latest, picture in zip(works, features, pictures, strict=True)
        ]
    )
    return [_EngineResult(*each) for each in zip(features, made, pictures, strict=True)]


def _make_access_unit(clips: AvatarClips, encoder: Encoder, slot: PlannedFrame) -> bytes:
    """The slot's picture, encoded. Runs in the media pool, one at a time per session."""
    # The engine saw it already, unless there was nothing to render or it was too late.
    picture = _source_picture(clips, slot.plan) if slot.picture is None else slot.picture
    if slot.patch is not None:
        picture = compositor.paste(picture, slot.patch)
    return encoder.encode(picture, idr=slot.plan.must_be_idr)


def _source_picture(clips: AvatarClips, plan: FramePlan) -> Picture:
    """The clip's picture, mixed with the one left behind while a cross-fade lasts."""
    picture = clips[plan.cursor.clip].picture(plan.cursor.index)
    if plan.fade is None:
        return picture
    outgoing = clips[plan.fade.outgoing.clip].picture(plan.fade.outgoing.index)
    return compositor.cross_fade(outgoing, picture, plan.fade.weight)
