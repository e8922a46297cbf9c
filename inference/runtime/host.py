"""The host: all sessions of a process, one clock, one engine.

Theory of operation
-------------------
Whatever is due stands in one `deadlines`: a session's tick (plan the next frame), a frame, or a
slot's
cut-off (stop waiting for the engine). Sessions are spread over the 40 ms, so that they do not all
burst at once. What takes time happens in the pools of the `pipeline`.

The host knows nothing of Django or Channels: messages go out through ``deliver`` and come in
through `Host.submit`, which never blocks. A fault in one session ends that session, says so to its
door, and leaves the others alone.
"""

import asyncio
import logging
import sys
from collections import Counter
from collections.abc import Coroutine, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from inference.assets.clips import PictureCache
from inference.assets.library import AvatarLibrary
from inference.engines.base import Engine, EngineState
from inference.errors import AvatarError
from inference.media.profile import DEFAULT_PROFILE, VideoProfile
from inference.messages import (
    ActionStart,
    AudioChunk,
    ClipChange,
    LayerMessage,
    SessionAccepted,
    SessionClaimed,
    SessionEnded,
    SessionRefused,
    SessionStart,
    SessionStop,
    SpeechInterrupt,
)
from inference.metrics import FrameMetrics
from inference.runtime.avatar_cache import AvatarCache
from inference.runtime.clock import Clock
from inference.runtime.deadlines import DeadlineQueue
from inference.runtime.pipeline import Pipeline
from inference.runtime.session import WorkerSession
from inference.runtime.speech_queue import SpeechQueue
from inference.runtime.worker_outbox import Deliver, WorkerOutbox
from inference.timing import FRAME_S

log = logging.getLogger(__name__)

DOOR_SILENCE_S = 15.0
"""A door that has said nothing for so long is gone: it says `SessionAlive` far more often."""

SWITCH_INTERVAL_S = 0.001
"""How long a pool thread may keep the GIL from the loop."""

_ORIGIN_SLOTS = 8


@dataclass(frozen=True, slots=True)
class HostReport:
    """What the host is doing, for /health, the log and benchmarks."""

    sessions: int
    engine: str
    engine_state: EngineState
    waiting_jobs: int
    totals: FrameMetrics

    def __str__(self) -> str:
        text = f"{self.sessions} sessions, {self.waiting_jobs} jobs waiting: {self.totals}"
        return f"{text}; {self.engine_state.message}" if self.engine_state.message else text


class Host:
    """See the module. Construct, `load`, then keep `run` going as a task."""

    def __init__(
        self,
        *,
        engine: Engine,
        library: AvatarLibrary,
        clock: Clock,
        deliver: Deliver,
        engine_pool: Executor,
        media_pool: Executor,
        name: str,
        profile: VideoProfile = DEFAULT_PROFILE,
        cache: PictureCache | None = None,
        end_of_speech_ms: int = 240,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._deliver = deliver
        self._engine_pool = engine_pool
        self._name = name
        self._end_of_speech_ms = end_of_speech_ms
        self._agenda = DeadlineQueue(clock)
        self._avatars = AvatarCache(
            engine=engine,
            library=library,
            cache=cache or PictureCache(),
            profile=profile,
            pool=media_pool,
            in_use=lambda: [session.clips for session in self._sessions.values()],
        )
        self._pipeline = Pipeline(
            engine=engine,
            engine_pool=engine_pool,
            media_pool=media_pool,
            profile=profile,
            clock=clock,
            deadlines=self._agenda,
            guard=self._guard,
        )
        self._sessions: dict[str, WorkerSession] = {}
        self._outgoing: dict[str, WorkerOutbox] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._past = FrameMetrics()
        self._is_draining = False

    # ---- life

    async def load(self) -> None:
        """Load the engine; EngineUnavailable if it cannot run here."""
        await asyncio.get_running_loop().run_in_executor(self._engine_pool, self._engine.load)

    async def run(self) -> None:
        """Keep time, until cancelled."""
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        await self._agenda.run()

    async def drain(self) -> None:
        """Give all sessions back to their doors and send what is on its way."""
        self._is_draining = True
        for session in list(self._sessions.values()):
            self._end(session, SessionEnded(claim_id=session.start.claim_id, reason="drain"))
        await asyncio.gather(*(task for task in self._tasks), return_exceptions=True)

    def report(self) -> HostReport:
        totals = FrameMetrics()
        for metrics in (self._past, *(session.metrics for session in self._sessions.values())):
            totals.add(metrics)
        return HostReport(
            len(self._sessions),
            self._engine.name,
            self._engine.state(),
            self._pipeline.waiting_jobs,
            totals,
        )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- messages from doors

    def claim(self, start: SessionStart, *, worker_channel: str) -> None:
        """Offer to take a session, whose door is then to use ``worker_channel``. Never blocks."""
        if not self._is_draining:
            self._spawn(self._claim(start, worker_channel))

    def abandon(self, worker_channel: str) -> None:
        """Nobody reads ``worker_channel`` any more: its sessions go back to their doors."""
        for session in list(self._sessions.values()):
            if session.worker_channel == worker_channel:
                self._end(session, SessionEnded(claim_id=session.start.claim_id, reason="error"))

    def submit(self, message: LayerMessage) -> None:
        """Take any other message from a door. Never blocks, never raises."""
        session = self._sessions.get(message.claim_id)
        if session is None:
            return  # of an earlier claim, or one that was ended here
        with self._guard(session):
            now_s = session.last_message_s = self._clock.now_s()
            match message:
                case SessionAccepted():
                    self._perform(session, message, now_s)
                case SessionStop():
                    self._end(session, None)
                case AudioChunk():
                    session.push_audio(message, now_s)
                case ClipChange():
                    session.change_clip(message)
                case ActionStart():
                    session.start_action(message)
                case SpeechInterrupt():
                    session.interrupt(message, now_s)

    async def _claim(self, start: SessionStart, worker_channel: str) -> None:
        """Open the avatar and make the offer; tell the door why if that fails."""
        capacity = self._engine.capacity
        if capacity is not None and len(self._sessions) >= max(capacity, 1):
            await self._refuse(start, "capacity", f"{capacity} sessions are on")
            return
        try:
            opened = await self._avatars.open(start.avatar_folder, start.avatar_version)
        except AvatarError as error:
            log.warning("session %s: %s", start.session_id, error)
            await self._refuse(start, "avatar", str(error))
            return
        outgoing = WorkerOutbox(start, self._deliver)
        session = WorkerSession(
            start,
            opened.clips,
            opened.avatar,
            SpeechQueue(self._engine.context, end_of_speech_ms=self._end_of_speech_ms),
            self._pipeline,
            outgoing.put,
            worker_channel=worker_channel,
            lead_s=self._engine.lead_s,
        )
        self._sessions[start.claim_id] = session
        self._outgoing[start.claim_id] = outgoing
        self._spawn(outgoing.send_all(on_loss=session.require_idr))
        outgoing.put(
            SessionClaimed(
                claim_id=start.claim_id,
                worker_channel=worker_channel,
                worker=self._name,
                engine=self._engine.name,
                is_lipsync_ready=self._engine.state().is_healthy,
            )
        )
        session.last_message_s = self._clock.now_s()
        self._listen_for(session)

    async def _refuse(
        self, start: SessionStart, reason: Literal["avatar", "capacity"], message: str
    ) -> None:
        refusal = SessionRefused(claim_id=start.claim_id, reason=reason, message=message)
        await self._deliver(start.reply_channel, refusal)

    def _listen_for(self, session: WorkerSession) -> None:
        """End the session once its door has been silent for too long, before acceptance or after.

        A session must not live on because a door died, or an answer of ours never reached it.
        """

        def check(now_s: float) -> None:
            if session.start.claim_id not in self._sessions:
                return
            if now_s - session.last_message_s < DOOR_SILENCE_S:
                self._listen_for(session)
                return
            log.warning("session %s: its door is gone", session.start.session_id)
            self._end(session, None)

        self._agenda.at(session.last_message_s + DOOR_SILENCE_S, check)

    def _perform(self, session: WorkerSession, accepted: SessionAccepted, now_s: float) -> None:
        if not session.is_performing:
            session.perform(accepted, self._free_origin(now_s), now_s)
            self._await_next(session)

    def _free_origin(self, now_s: float) -> float:
        """A moment within the next frame time at which the fewest other sessions are due."""
        width_s = FRAME_S / _ORIGIN_SLOTS

        def slot(moment_s: float) -> int:
            return round(moment_s / width_s) % _ORIGIN_SLOTS

        taken = Counter(slot(s.clock.origin_s) for s in self._sessions.values() if s.is_performing)
        moments = [now_s + step * width_s for step in range(_ORIGIN_SLOTS)]
        return min(moments, key=lambda moment_s: (taken[slot(moment_s)], moment_s))

    def _end(self, session: WorkerSession, farewell: LayerMessage | None) -> None:
        if self._sessions.pop(session.start.claim_id, None) is None:
            return
        session.stop()
        outgoing = self._outgoing.pop(session.start.claim_id)
        if farewell is not None:
            outgoing.put(farewell)
        outgoing.close()
        self._past.add(session.metrics)

    # ---- ticks

    def _tick(self, session: WorkerSession, now_s: float) -> None:
        if session.start.claim_id not in self._sessions:
            return
        with self._guard(session):
            session.tick(now_s)
            self._await_next(session)

    def _await_next(self, session: WorkerSession) -> None:
        """Send what was just planned when it is due, and plan what follows in time."""

        def flush(now_s: float) -> None:
            with self._guard(session):
                session.flush(now_s)

        self._agenda.at(session.newest_due_s, flush)
        self._agenda.at(session.next_tick_s, lambda now_s: self._tick(session, now_s))

    @contextmanager
    def _guard(self, session: WorkerSession) -> Iterator[None]:
        """A fault inside belongs to this session alone: it ends, and its door claims anew."""
        try:
            yield
        except Exception:
            log.exception("session %s: ended by a fault", session.start.session_id)
            self._end(session, SessionEnded(claim_id=session.start.claim_id, reason="error"))
