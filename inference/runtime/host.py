"""The host: all sessions of a process, one clock, one engine.

Theory of operation
-------------------
Everything that is due stands in one `DeadlineQueue`: a session's tick (plan the next frame), a
frame, or the moment to stop waiting for the engine. Sessions are spread over the 40 ms, so that
they do not all burst at once, but on a grid of 5 ms, so that one wake-up serves many. Long work
runs in the pools of the `pipeline`.

The host depends on neither Django nor Channels: messages go out through ``deliver`` and come in
through `Host.submit`, which never blocks. A fault in one session ends that session, tells its
gateway, and leaves the others alone.

A claim is answered with an offer. The session counts from then on, but an offer that the gateway
does not accept within `OFFER_S` is withdrawn. A claim may arrive twice: it is answered again, and
otherwise ignored.
"""

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from inference.assets.clips import AvatarClips, PictureCache
from inference.assets.library import AvatarLibrary
from inference.core_turns import CoreTurns
from inference.engines.access import EngineAccess
from inference.errors import AvatarError
from inference.media.profile import DEFAULT_PROFILE, VideoProfile
from inference.messages import (
    ActionStart,
    AudioChunk,
    ClipChange,
    LayerMessage,
    ListeningChange,
    SessionAccepted,
    SessionClaimed,
    SessionEnded,
    SessionRefused,
    SessionStart,
    SessionStop,
    SpeechEnd,
    SpeechInterrupt,
)
from inference.metrics import FrameMetrics
from inference.runtime.avatar_cache import AvatarCache, OpenAvatar
from inference.runtime.capacity import Capacity
from inference.runtime.clock import Clock
from inference.runtime.deadlines import DeadlineQueue
from inference.runtime.host_report import HostReport
from inference.runtime.learned_places import OBSERVE_EVERY_S, LearnedPlaces
from inference.runtime.live_stream import LiveStream, Outcome, TakeOutcome
from inference.runtime.mouth_pace import MouthPace
from inference.runtime.pipeline import Pipeline
from inference.runtime.session import WorkerSession
from inference.runtime.speech_queue import SpeechQueue
from inference.runtime.worker_outbox import Deliver, HandOver, WorkerOutbox
from inference.timing import FRAME_S, GRID_S

log = logging.getLogger(__name__)

GATEWAY_SILENCE_S = 15.0
"""A gateway that was silent for so long is gone: it sends `SessionAlive` far more often."""

OFFER_S = 1.0
"""An offer that was not accepted for so long is withdrawn: the gateway answers within a round trip
of the channel layer, or its client is gone."""

COUNT_EVERY_S = FRAME_S
"""How old the number of speaking sessions may be that frames report."""

DRAIN_S = 3.0
"""How long `Host.drain` may take."""

_ORIGINS = round(FRAME_S / GRID_S)


@dataclass(frozen=True, slots=True, eq=False)
class _Hosted:
    """A session, and where its messages go."""

    session: WorkerSession
    clips: AvatarClips
    outbox: WorkerOutbox


class Host:
    """The sessions of a process. Construct it, then run `run` as a task."""

    def __init__(
        self,
        *,
        engine: EngineAccess,
        library: AvatarLibrary,
        clock: Clock,
        deliver: Deliver,
        media_pool: Executor,
        turns: CoreTurns,
        name: str,
        profile: VideoProfile = DEFAULT_PROFILE,
        cache: PictureCache | None = None,
        end_of_speech_ms: int = 240,
        hand_over: HandOver = lambda channel, message: False,
        speech_share: float = 0.0,
        places: int | LearnedPlaces | None = None,
        cpu_s: Callable[[], float] = time.process_time,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._deliver = deliver
        self._hand_over = hand_over
        self._name = name
        self._end_of_speech_ms = end_of_speech_ms
        self._deadlines = DeadlineQueue(clock)
        self._avatars = AvatarCache(
            engine=engine,
            library=library,
            cache=cache or PictureCache(),
            profile=profile,
            pool=media_pool,
            in_use=lambda: [hosted.clips for hosted in self._hosted.values()],
        )
        self._pipeline = Pipeline(
            engine=engine,
            media_pool=media_pool,
            turns=turns,
            profile=profile,
            deadlines=self._deadlines,
        )
        self._places = places
        """How many sessions can speak at once, where the engine does not know; None: not known."""
        self._cpu_s = cpu_s
        """Processor time of this process."""
        self._capacity = Capacity(self._engine_places, speech_share=speech_share)
        self._pace = MouthPace()
        self.channel = ""
        """Where this worker takes messages of its own, claims included; empty: not known."""
        self.has_channel = asyncio.Event()
        """It was known at least once."""
        self._speaking = 0
        self._speaking_at_s = -math.inf
        self._hosted: dict[str, _Hosted] = {}
        """By claim id."""
        self._opening: set[str] = set()
        """Claim ids whose avatars are being opened."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._past = FrameMetrics()
        self._is_draining = False

    async def run(self) -> None:
        """Keep time, until cancelled."""
        self._observe_cost(self._clock.now_s(), self._cpu_s(), self._frame_counts())
        await self._deadlines.run()

    def _observe_cost(self, now_s: float, cpu_s: float, counts: tuple[int, int]) -> None:
        """From now on, have the places corrected by what sessions cost."""
        places = self._places
        if not isinstance(places, LearnedPlaces):
            return

        def observe(now_s: float) -> None:
            cpu_now_s, (speaking, others) = self._cpu_s(), self._frame_counts()
            places.observe(
                cpu_now_s - cpu_s,
                speaking=speaking - counts[0],
                others=others - counts[1],
                is_late=self._capacity.is_late(now_s),
            )
            self._observe_cost(now_s, cpu_now_s, (speaking, others))

        self._deadlines.at(now_s + OBSERVE_EVERY_S, observe)

    def _frame_counts(self) -> tuple[int, int]:
        """How many frames were sent, with speech and without."""
        every = [self._past, *(session.metrics for session in self._sessions())]
        speaking = sum(metrics.spoken for metrics in every)
        return speaking, sum(metrics.sent for metrics in every) - speaking

    async def drain(self) -> None:
        """End all sessions, so that their gateways claim again, and send what is on its way.

        Takes at most `DRAIN_S`.
        """
        self._is_draining = True
        for session in self._sessions():
            self._end(session, SessionEnded(claim_id=session.start.claim_id, reason="drain"))
        if self._tasks:
            _, unfinished = await asyncio.wait(self._tasks, timeout=DRAIN_S)
            if unfinished:
                log.warning("not all sessions could be given back in %.0f s", DRAIN_S)
            for task in unfinished:
                task.cancel()

    def report(self) -> HostReport:
        now_s = self._clock.now_s()
        self._count_speaking(now_s)
        totals = FrameMetrics()
        for metrics in (self._past, *(session.metrics for session in self._sessions())):
            totals.add(metrics)
        return HostReport(
            len(self._hosted),
            self._engine.name,
            self._engine.state(),
            self._engine.waiting,
            totals,
            places=self._engine_places(),
            speaking=self._speaking - self._engine.speaking_elsewhere,
            speaking_elsewhere=self._engine.speaking_elsewhere,
            calls=self._engine.calls,
            encoding=self._pipeline.encoding,
            is_behind=self._capacity.is_late(now_s),
            is_late=self._capacity.is_very_late(now_s),
        )

    def _engine_places(self) -> int | None:
        if (learned := self._engine.capacity) is not None:
            return learned
        return self._places.places if isinstance(self._places, LearnedPlaces) else self._places

    def _may_speak(self, now_s: float) -> bool:
        """Whether a session more may begin to speak, by a count that may be a moment old."""
        return self._capacity.may_speak(self._speaking, now_s)

    def _count_speaking(self, now_s: float) -> None:
        """Count the sessions that hold a place, with those of other processes."""
        own = sum(session.holds_place(now_s) for session in self._sessions())
        self._engine.report_speaking(own)
        self._speaking = own + self._engine.speaking_elsewhere
        self._speaking_at_s = now_s

    def reserve_place(self, claim_id: str) -> bool:
        """Whether a session of this process may begin to speak; if so, it has a place."""
        hosted = self._hosted.get(claim_id)
        if hosted is None:
            return True  # it ended here: the worker that takes it next decides
        now_s = self._clock.now_s()
        if not hosted.session.holds_place(now_s):
            self._count_speaking(now_s)
            if not self._capacity.may_speak(self._speaking, now_s):
                return False
        hosted.session.reserve_place(now_s)
        self._count_speaking(now_s)
        return True

    def _sessions(self) -> list[WorkerSession]:
        return [hosted.session for hosted in self._hosted.values()]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def claim(self, start: SessionStart, *, worker_channel: str) -> None:
        """Offer to take a session. Never blocks.

        Args:
            start: The claim.
            worker_channel: Where the gateway is to send its messages.
        """
        if self._is_draining or start.claim_id in self._opening:
            return
        hosted = self._hosted.get(start.claim_id)
        if hosted is not None:  # delivered twice
            hosted.outbox.put(self._offer(hosted.session))
            return
        refusal = self._capacity.refusal(
            len(self._hosted) + len(self._opening), self._clock.now_s(), is_new=start.is_new
        )
        if refusal is not None:
            self._spawn(self._refuse(start, "capacity", refusal))
            return
        self._opening.add(start.claim_id)
        self._spawn(self._open(start, worker_channel))

    def abandon(self, worker_channel: str) -> None:
        """``worker_channel`` is read no more: end its sessions, so that they are claimed again."""
        for session in self._sessions():
            if session.worker_channel == worker_channel:
                self._end(session, SessionEnded(claim_id=session.start.claim_id, reason="error"))

    def submit(self, message: LayerMessage) -> None:
        """Take any other message from a gateway. Never blocks, never raises."""
        hosted = self._hosted.get(message.claim_id)
        if hosted is None:
            return  # of an earlier claim, or of a session that ended here
        session = hosted.session
        session.last_message_s = self._clock.now_s()
        self._guarded(session, partial(self._take, session, message), session.last_message_s)

    def _take(self, session: WorkerSession, message: LayerMessage, now_s: float) -> None:
        match message:
            case SessionAccepted():
                self._accept(session, message, now_s)
            case SessionStop():
                self._end(session, None)
            case AudioChunk():
                session.push_audio(message, now_s)
            case SpeechEnd():
                session.end_speech(message)
            case ClipChange():
                session.change_clip(message)
            case ListeningChange():
                session.change_listening(message)
            case ActionStart():
                session.start_action(message)
            case SpeechInterrupt():
                session.interrupt(message, now_s)

    async def _open(self, start: SessionStart, worker_channel: str) -> None:
        """Open the avatar and make the offer, or refuse with the reason."""
        try:
            opened = await self._avatars.open(start.avatar_folder, start.avatar_version)
        except AvatarError as error:
            log.warning("session %s: %s", start.session_id, error, extra=start.log_fields)
            await self._refuse(start, "avatar", str(error))
        except Exception as error:
            log.exception(
                "session %s: the avatar could not be opened",
                start.session_id,
                extra=start.log_fields,
            )
            await self._refuse(start, "avatar", repr(error))
        else:
            if self._is_draining:
                await self._refuse(start, "capacity", "the worker is draining")
            else:
                self._make_offer(start, opened, worker_channel)
        finally:
            self._opening.discard(start.claim_id)

    def _make_offer(self, start: SessionStart, opened: OpenAvatar, worker_channel: str) -> None:
        outbox = WorkerOutbox(start, self._deliver, self._hand_over)
        session = self._make_session(start, opened, outbox, worker_channel)
        self._hosted[start.claim_id] = _Hosted(session, opened.clips, outbox)
        self._spawn(outbox.send_all(on_loss=session.require_idr))
        outbox.put(self._offer(session))
        session.last_message_s = self._clock.now_s()
        self._deadlines.at(
            session.last_message_s + OFFER_S, lambda _: self._withdraw_offer(session)
        )

    def _make_session(
        self, start: SessionStart, opened: OpenAvatar, outbox: WorkerOutbox, worker_channel: str
    ) -> WorkerSession:
        def open_stream(take: TakeOutcome) -> LiveStream:
            def take_guarded(outcome: Outcome, now_s: float) -> None:
                self._guarded(session, partial(take, outcome), now_s)

            return self._pipeline.open_stream(
                start.claim_id, opened.clips, opened.avatar, take_guarded
            )

        speech = SpeechQueue(
            self._engine.context,
            end_of_speech_ms=self._end_of_speech_ms,
            late_audio=start.late_audio,
        )
        session = WorkerSession(
            start,
            opened.clips,
            speech,
            open_stream,
            outbox.put,
            worker_channel=worker_channel,
            lead_s=lambda: self._engine.lead_s,
            is_ready=partial(self._engine.is_ready, opened.avatar),
            capacity=self._capacity,
            pace=self._pace,
            may_speak=self._may_speak,
        )
        return session

    def _offer(self, session: WorkerSession) -> SessionClaimed:
        return SessionClaimed(
            claim_id=session.start.claim_id,
            worker_channel=session.worker_channel,
            worker=self._name,
            engine=self._engine.name,
            is_lipsync_ready=self._engine.state().is_healthy,
        )

    def _withdraw_offer(self, session: WorkerSession) -> None:
        if not session.is_streaming and session.start.claim_id in self._hosted:
            log.info(
                "session %s: the offer was not accepted",
                session.start.session_id,
                extra=self._log_fields(session),
            )
            self._end(session, SessionEnded(claim_id=session.start.claim_id, reason="drain"))

    async def _refuse(
        self, start: SessionStart, reason: Literal["avatar", "capacity"], message: str
    ) -> None:
        outbox = WorkerOutbox(start, self._deliver, self._hand_over)
        outbox.put(SessionRefused(claim_id=start.claim_id, reason=reason, message=message))
        outbox.close()
        await outbox.send_all(on_loss=lambda: None)

    def _accept(self, session: WorkerSession, accepted: SessionAccepted, now_s: float) -> None:
        if not session.is_streaming:
            session.start_streaming(accepted, self._free_origin(now_s), now_s)
            self._schedule_next(session)
            self._watch_gateway(session)

    def _watch_gateway(self, session: WorkerSession) -> None:
        """End the session once its gateway has been silent for too long.

        A session must not outlive a gateway that died.
        """

        def check(now_s: float) -> None:
            if session.start.claim_id not in self._hosted:
                return
            if now_s - session.last_message_s < GATEWAY_SILENCE_S:
                self._watch_gateway(session)
                return
            log.warning(
                "session %s: gateway timed out",
                session.start.session_id,
                extra=self._log_fields(session),
            )
            self._end(session, None)

        self._deadlines.at(session.last_message_s + GATEWAY_SILENCE_S, check)

    def _free_origin(self, now_s: float) -> float:
        """Return the moment of the grid, from the last one on, when the fewest others are due."""
        taken = Counter(
            round(session.clock.origin_s / GRID_S) % _ORIGINS
            for session in self._sessions()
            if session.is_streaming
        )
        first = math.floor(now_s / GRID_S + 1e-6)
        return GRID_S * min(
            range(first, first + _ORIGINS), key=lambda step: (taken[step % _ORIGINS], step)
        )

    def _end(self, session: WorkerSession, farewell: LayerMessage | None) -> None:
        hosted = self._hosted.pop(session.start.claim_id, None)
        if hosted is None:
            return
        session.stop()
        if farewell is not None:
            hosted.outbox.put(farewell)
        hosted.outbox.close()
        self._past.add(session.metrics)

    def _tick(self, session: WorkerSession, now_s: float) -> None:
        if session.start.claim_id not in self._hosted:
            return
        if now_s - self._speaking_at_s >= COUNT_EVERY_S:
            self._count_speaking(now_s)
        self._guarded(session, partial(self._plan, session), now_s)

    def _plan(self, session: WorkerSession, now_s: float) -> None:
        session.tick(now_s)
        self._schedule_next(session)

    def _schedule_next(self, session: WorkerSession) -> None:
        """Send what was just planned when it is due, and plan what follows in time."""
        flush = partial(self._guarded, session, session.flush)
        self._deadlines.at(session.newest_due_s, flush)
        self._deadlines.at(session.next_tick_s, partial(self._tick, session))

    def _log_fields(self, session: WorkerSession) -> dict[str, str]:
        return {**session.start.log_fields, "engine": self._engine.name}

    def _guarded(self, session: WorkerSession, step: Callable[[float], None], now_s: float) -> None:
        """Take a step; at a fault end this session alone, so that its gateway claims again."""
        try:
            step(now_s)
        except Exception:
            log.exception(
                "session %s: ended by a fault",
                session.start.session_id,
                extra=self._log_fields(session),
            )
            self._end(session, SessionEnded(claim_id=session.start.claim_id, reason="error"))
