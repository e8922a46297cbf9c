"""The host: all sessions of a process, one clock, one engine.

Theory of operation
-------------------
A single loop sleeps until something is due: a session's tick (plan the next frame), a frame, or a
slot's cut-off (stop waiting for the engine). Deadlines are absolute; the loop never
sleeps for "a period", so lateness does not add up. Sessions are spread over the 40 ms, so that they
do not all burst at once. What takes time happens in the pools of the `pipeline`.

The host knows nothing of Django or Channels: messages go out through ``deliver`` and come in
through `Host.submit`, which never blocks. A fault in one session ends that session, says so to its
door, and leaves the others alone.
"""

import asyncio
import heapq
import itertools
import logging
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from inference.audio import SpeechQueue
from inference.clips import AvatarClips, PictureCache
from inference.clock import Clock
from inference.counters import Counters
from inference.engines.base import Engine, EngineState, LoadedAvatar
from inference.errors import AvatarError
from inference.hosted import HostedSession
from inference.library import AvatarLibrary
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
from inference.pipeline import Pipeline
from inference.profile import DEFAULT_PROFILE, VideoProfile
from inference.slots import Slot
from inference.timing import FRAME_S

log = logging.getLogger(__name__)

DOOR_SILENCE_S = 15.0
"""A door that has said nothing for so long is gone: it says `SessionAlive` far more often."""

SWITCH_INTERVAL_S = 0.001
"""How long a pool thread may keep the GIL from the loop."""

_ORIGIN_SLOTS = 8

Deliver = Callable[[str, LayerMessage], Awaitable[None]]
"""Send a message to a door's channel; raises if it could not be handed over."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An avatar in memory, shared by its sessions."""

    clips: AvatarClips
    avatar: LoadedAvatar


@dataclass(frozen=True, slots=True)
class HostReport:
    """What the host is doing, for /health, the log and benchmarks."""

    sessions: int
    engine: str
    engine_state: EngineState
    waiting_jobs: int
    totals: Counters

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
        self._library = library
        self._clock = clock
        self._deliver = deliver
        self._engine_pool = engine_pool
        self._media_pool = media_pool
        self._pipeline = Pipeline(
            engine=engine,
            engine_pool=engine_pool,
            media_pool=media_pool,
            profile=profile,
            clock=clock,
            guard=self._guard,
        )
        self._name = name
        self._profile = profile
        self._cache = cache or PictureCache()
        self._end_of_speech_ms = end_of_speech_ms
        self._sessions: dict[str, HostedSession] = {}
        self._senders: dict[str, tuple[asyncio.Queue[LayerMessage | None], asyncio.Task[None]]] = {}
        self._opened: dict[tuple[str, str], Opened] = {}
        self._agenda: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = itertools.count()
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._past = Counters()
        self._is_draining = False

    # ---- life

    async def load(self) -> None:
        """Load the engine; EngineUnavailable if it cannot run here."""
        await asyncio.get_running_loop().run_in_executor(self._engine_pool, self._engine.load)

    async def run(self) -> None:
        """Keep time, until cancelled."""
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        while True:
            self._wake.clear()
            now_s = self._clock.now_s()
            while self._agenda and self._agenda[0][0] <= now_s:
                _, _, event = heapq.heappop(self._agenda)
                event(now_s)
                now_s = self._clock.now_s()
            await self._clock.wait(self._wake, self._agenda[0][0] if self._agenda else None)

    async def drain(self) -> None:
        """Give all sessions back to their doors and send what is on its way."""
        self._is_draining = True
        for session in list(self._sessions.values()):
            self._end(session, SessionEnded(claim_id=session.start.claim_id, reason="drain"))
        await asyncio.gather(*(task for task in self._tasks), return_exceptions=True)

    def report(self) -> HostReport:
        totals = Counters()
        for counters in (self._past, *(session.counters for session in self._sessions.values())):
            totals.add(counters)
        return HostReport(
            len(self._sessions),
            self._engine.name,
            self._engine.state(),
            self._pipeline.waiting_jobs,
            totals,
        )

    def _at(self, when_s: float, event: Callable[[float], None]) -> None:
        heapq.heappush(self._agenda, (when_s, next(self._order), event))
        if self._agenda[0][0] == when_s:
            self._wake.set()

    def _spawn(self, work: Awaitable[None]) -> None:
        async def run() -> None:
            await work

        task = asyncio.get_running_loop().create_task(run())
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
            now_s = session.heard_s = self._clock.now_s()
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
        reply: LayerMessage
        capacity = self._engine.capacity
        if capacity is not None and len(self._sessions) >= max(capacity, 1):
            reply = SessionRefused(
                claim_id=start.claim_id, reason="capacity", message=f"{capacity} sessions are on"
            )
            await self._deliver(start.reply_channel, reply)
            return
        try:
            opened = await self._open(start)
        except AvatarError as error:
            log.warning("session %s: %s", start.session_id, error)
            reply = SessionRefused(claim_id=start.claim_id, reason="avatar", message=str(error))
            await self._deliver(start.reply_channel, reply)
            return
        speech = SpeechQueue(self._engine.context, end_of_speech_ms=self._end_of_speech_ms)
        session = HostedSession(
            start,
            opened.clips,
            opened.avatar,
            speech,
            self,
            worker_channel=worker_channel,
            lead_s=self._engine.lead_s,
        )
        self._sessions[start.claim_id] = session
        outgoing: asyncio.Queue[LayerMessage | None] = asyncio.Queue()
        sender = asyncio.get_running_loop().create_task(self._send_all(session, outgoing))
        self._senders[start.claim_id] = outgoing, sender
        self._tasks.add(sender)
        sender.add_done_callback(self._tasks.discard)
        reply = SessionClaimed(
            claim_id=start.claim_id,
            worker_channel=worker_channel,
            worker=self._name,
            engine=self._engine.name,
            is_lipsync_ready=self._engine.state().is_well,
        )
        self.send(session, reply)
        session.heard_s = self._clock.now_s()
        self._listen_for(session)

    async def _open(self, start: SessionStart) -> Opened:
        folder = self._library.find(start.avatar_folder)
        key = (start.avatar_folder, start.avatar_version)
        if key not in self._opened:
            loop = asyncio.get_running_loop()
            opened = await loop.run_in_executor(self._media_pool, self._open_folder, folder)
            self._forget_unused_avatars()
            self._opened.setdefault(key, opened)
        return self._opened[key]

    def _open_folder(self, folder: Path) -> Opened:
        clips = AvatarClips(folder, self._cache, profile=self._profile)
        return Opened(clips, self._engine.open_avatar(folder, clips.manifest))

    def _forget_unused_avatars(self) -> None:
        used = {id(session.clips) for session in self._sessions.values()}
        self._opened = {k: o for k, o in self._opened.items() if id(o.clips) in used}

    def _listen_for(self, session: HostedSession) -> None:
        """End the session once its door has been silent for too long, before acceptance or after.

        A session must not live on because a door died, or an answer of ours never reached it.
        """

        def check(now_s: float) -> None:
            if session.start.claim_id not in self._sessions:
                return
            if now_s - session.heard_s < DOOR_SILENCE_S:
                self._listen_for(session)
                return
            log.warning("session %s: its door is gone", session.start.session_id)
            self._end(session, None)

        self._at(session.heard_s + DOOR_SILENCE_S, check)

    def _perform(self, session: HostedSession, accepted: SessionAccepted, now_s: float) -> None:
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

    def _end(self, session: HostedSession, farewell: LayerMessage | None) -> None:
        if self._sessions.pop(session.start.claim_id, None) is None:
            return
        session.stop()
        outgoing, _ = self._senders.pop(session.start.claim_id)
        if farewell is not None:
            outgoing.put_nowait(farewell)
        outgoing.put_nowait(None)
        self._past.add(session.counters)

    async def _send_all(
        self, session: HostedSession, outgoing: "asyncio.Queue[LayerMessage | None]"
    ) -> None:
        while (message := await outgoing.get()) is not None:
            try:
                await self._deliver(session.start.reply_channel, message)
            except Exception as error:  # noqa: BLE001 - a layer raises what its client library does
                log.warning("session %s: not delivered: %r", session.start.session_id, error)
                session.require_idr()

    # ---- ticks

    def _tick(self, session: HostedSession, now_s: float) -> None:
        if session.start.claim_id not in self._sessions:
            return
        with self._guard(session):
            session.tick(now_s)
            self._await_next(session)

    def _await_next(self, session: HostedSession) -> None:
        """Send what was just planned when it is due, and plan what follows in time."""

        def flush(now_s: float) -> None:
            with self._guard(session):
                session.flush(now_s)

        self._at(session.newest_due_s, flush)
        self._at(session.next_tick_s, lambda now_s: self._tick(session, now_s))

    # ---- what sessions ask for (see hosted.Stage)

    def send(self, session: HostedSession, message: LayerMessage) -> None:
        if sender := self._senders.get(session.start.claim_id):
            sender[0].put_nowait(message)

    def render(self, session: HostedSession, slot: Slot) -> None:
        self._pipeline.render(session, slot)

        def cut_off(now_s: float) -> None:
            with self._guard(session):
                session.cut_off(slot, now_s)

        self._at(slot.cut_off_s, cut_off)

    def withdraw(self, slot: Slot) -> None:
        self._pipeline.withdraw(slot)

    def decode_ahead(self, session: HostedSession, clip: str, index: int) -> None:
        self._pipeline.decode_ahead(session, clip, index)

    def encode(self, session: HostedSession, slot: Slot) -> None:
        self._pipeline.encode(session, slot)

    @contextmanager
    def _guard(self, session: HostedSession) -> Iterator[None]:
        """A fault inside belongs to this session alone: it ends, and its door claims anew."""
        try:
            yield
        except Exception:
            log.exception("session %s: ended by a fault", session.start.session_id)
            self._end(session, SessionEnded(claim_id=session.start.claim_id, reason="error"))
