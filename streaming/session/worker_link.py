"""A session's link to its worker: who has it, what it is told, what comes back.

Theory of operation
-------------------
`inference.messages` tells the protocol between a door and a worker; this is the door's half.

*Searching* is `claims`. The first worker that answers is accepted, any other is told to
stop.

*Performing.* Speech goes to the worker through `feed`, frames go to the client through
`frames`. Frames are the worker's sign of life: without one for `SILENCE_S` it counts as
lost, and the search begins anew from what the door knows: the frame that is due by the clock of
those that came, the first sample that was not shown, the clip of the last STATE_CHANGE, an action
that has not ended. What belongs to an earlier claim is dropped.
"""

import logging
from collections.abc import Callable
from enum import Enum, auto

from inference.messages import (
    ActionForm,
    ActionStart,
    AudioChunk,
    ClipChange,
    LayerMessage,
    SessionAccepted,
    SessionAlive,
    SessionClaimed,
    SessionEnded,
    SessionRefused,
    SessionStart,
    SessionStop,
    SpeechFailed,
    SpeechInterrupted,
    VideoFrame,
)
from streaming.protocol import server_messages as told
from streaming.protocol.errors import ProtocolError
from streaming.session.claims import ClaimLoop
from streaming.session.clip_choice import Avatar, Clip, clip_names, first_clip
from streaming.session.effects import EffectQueue, FlushSpeech, SendToWorker
from streaming.session.feed import SpeechFeed
from streaming.session.frames import FrameRelay
from streaming.session.metrics import SessionMetrics
from streaming.session.timers import Timer, Timers
from streaming.session.window import Window

log = logging.getLogger(__name__)

SILENCE_S = 1.0
ALIVE_EVERY_S = 5.0
LATE_TIMER_S = 0.1
AUDIO_RETRY_S = 0.1
INTERRUPT_ANSWER_S = 1.0


class LinkState(Enum):
    SEARCHING = auto()
    PERFORMING = auto()
    ENDED = auto()


class LinkEvent(Enum):
    ACCEPT = auto()
    LOSE = auto()
    END = auto()


TRANSITIONS: dict[LinkState, dict[LinkEvent, LinkState]] = {
    LinkState.SEARCHING: {
        LinkEvent.ACCEPT: LinkState.PERFORMING,
        LinkEvent.END: LinkState.ENDED,
    },
    LinkState.PERFORMING: {
        LinkEvent.LOSE: LinkState.SEARCHING,
        LinkEvent.END: LinkState.ENDED,
    },
    LinkState.ENDED: {},
}


class WorkerLink:
    """One session's. Every method puts what is to be done into the outbox."""

    def __init__(
        self,
        *,
        session_id: str,
        reply_channel: str,
        avatar: Avatar,
        outbox: EffectQueue,
        timers: Timers,
        frames: FrameRelay,
        metrics: SessionMetrics,
        new_id: Callable[[], str],
    ) -> None:
        self.state = LinkState.SEARCHING
        self.avatar = avatar
        self.window = Window()
        self.worker: SessionClaimed | None = None
        """The accepted one, while performing."""
        self.last_worker: SessionClaimed | None = None
        self._session_id = session_id
        self._reply_channel = reply_channel
        self._outbox = outbox
        self._timers = timers
        self._frames = frames
        self._metrics = metrics
        self._search = ClaimLoop(
            write_claim=self._write_claim, outbox=outbox, timers=timers, new_id=new_id
        )
        self._feed = SpeechFeed(self.window)
        self._base_clip: str | None = None
        self._action: tuple[str, ActionForm] | None = None

    @property
    def has_action(self) -> bool:
        """An action was accepted and its last frame has not come."""
        return self._action is not None

    @property
    def is_waiting(self) -> bool:
        """No worker took the session in time."""
        return self.state is LinkState.SEARCHING and self._search.is_missed

    def search(self, now_s: float) -> None:
        """Begin to look for a worker."""
        self._search.begin(now_s)

    # ---- what the client wants

    def accept_speech(self, pcm: bytes, clip: str | None) -> None:
        self.window.accept(pcm, clip)
        self._flush_speech()

    def change_clip(self, clip: Clip) -> None:
        self._base_clip = clip.name
        self._tell_clip(clip.name)

    def start_action(self, clip: Clip, form: ActionForm) -> None:
        self._action = clip.name, form
        self._tell_action(clip.name, form)

    def interrupt(self, now_s: float) -> None:
        self._feed.interrupt()
        if self.worker is None:
            self._answer_interrupts(self._feed.on_interrupt_timeout())
        else:
            self._flush_speech()
            self._timers.set(Timer.INTERRUPT, now_s + INTERRUPT_ANSWER_S)

    def end(self) -> None:
        """The session is over."""
        self._tell_stop("the session is over")
        self._go(LinkEvent.END)
        self._search.end()
        self.worker = None

    # ---- time

    def on_timer(self, timer: Timer, due_s: float, now_s: float) -> None:
        """One of the link's timers is due."""
        match timer:
            case Timer.NO_WORKER:
                self._error(self._search.miss())
            case Timer.CLAIM:
                self._search.claim(now_s)
            case Timer.AUDIO:
                self._flush_speech()
            case Timer.INTERRUPT:
                self._answer_interrupts(self._feed.on_interrupt_timeout())
            case Timer.SILENCE:
                self._miss_frame(due_s, now_s)
            case Timer.ALIVE:
                self._timers.set(Timer.ALIVE, now_s + ALIVE_EVERY_S)
                self._tell_alive()
            case _:
                raise AssertionError(f"{timer} is not the link's")

    # ---- what workers say

    def receive(self, message: LayerMessage, now_s: float) -> None:
        if isinstance(message, SessionClaimed):
            self._claimed(message, now_s)
        elif isinstance(message, SessionRefused):
            self._search.refused(message, now_s)
        elif self.worker is not None and message.claim_id == self.worker.claim_id:
            match message:
                case VideoFrame():
                    self._show(message, now_s)
                case SpeechInterrupted(generation=generation, position=position):
                    self._answer_interrupts(self._feed.confirm(generation, position))
                case SpeechFailed():
                    self._error(_lipsync_failed(message.reason))
                case SessionEnded():
                    self._lose(message.reason, now_s)

    def _claimed(self, answer: SessionClaimed, now_s: float) -> None:
        if answer == self.worker:
            return  # the accepted worker's answer, delivered twice
        if not self._search.claimed(answer):
            stop = SessionStop(claim_id=answer.claim_id, reason="another claim or another worker")
            self._outbox.put(SendToWorker(answer.worker_channel, stop))
            return
        self._go(LinkEvent.ACCEPT)
        log.info("session %s: worker %s, %s", self._session_id, answer.worker, answer.engine)
        self.worker = self.last_worker = answer
        self._frames.begin()
        self._timers.set(Timer.SILENCE, now_s + SILENCE_S)
        self._timers.set(Timer.ALIVE, now_s + ALIVE_EVERY_S)
        self._tell(
            SessionAccepted(
                claim_id=answer.claim_id,
                next_frame=self._frames.next_frame(now_s),
                next_position=self.window.shown,
                generation=self._feed.generation,
                clip=self._base_clip,
            )
        )
        self._feed.begin()
        if self._metrics.workers == 0:
            self._outbox.to_client(self._introduction(answer))
        self._metrics.workers += 1
        if self._action is not None:
            self._tell_action(*self._action)
        self._flush_speech()

    def _introduction(self, worker: SessionClaimed) -> told.InitSuccess:
        avatar = self.avatar
        return told.InitSuccess(
            session_id=self._session_id,
            data=told.InitSuccessFields(
                model_loaded=worker.is_lipsync_ready,
                available_videos=clip_names(avatar),
                default_video=first_clip(avatar, "idle").name,
                engine=worker.engine,
                video=told.VideoDescription(
                    codec=avatar.codec, width=avatar.width, height=avatar.height
                ),
            ),
        )

    def _show(self, frame: VideoFrame, now_s: float) -> None:
        self._timers.set(Timer.SILENCE, now_s + SILENCE_S)
        if frame.action_progress is not None and frame.action_progress >= 1:
            self._action = None
        if frame.position is not None:
            self._feed.shown(frame.position + frame.samples)
            self._flush_speech()
        self._frames.pass_on(frame, now_s)

    # ---- what is handed on

    def next_for_worker(self, claim_id: str) -> SendToWorker | None:
        """What the worker of this claim is to be sent now; it counts as sent. None: nothing."""
        worker = self.worker
        if worker is None or worker.claim_id != claim_id:
            return None
        message = self._feed.take(claim_id)
        return None if message is None else SendToWorker(worker.worker_channel, message)

    def _flush_speech(self) -> None:
        if self.worker is not None and self._feed.has_next:
            self._outbox.put(FlushSpeech(self.worker.claim_id))

    # ---- losing the worker

    def undelivered(self, message: LayerMessage, now_s: float) -> None:
        """Audio can wait; a worker that cannot be told anything else is lost.

        Another one will know all from its claim.
        """
        if self.worker is None or message.claim_id != self.worker.claim_id:
            return
        if isinstance(message, AudioChunk):
            if self._feed.unread(message):
                self._timers.set(Timer.AUDIO, now_s + AUDIO_RETRY_S)
        elif not isinstance(message, SessionStop):
            self._lose(f"{message.type} could not be delivered", now_s)

    def _miss_frame(self, due_s: float, now_s: float) -> None:
        if now_s - due_s > LATE_TIMER_S:
            # This process itself was held up; what came meanwhile is still to be read.
            self._timers.set(Timer.SILENCE, now_s + LATE_TIMER_S)
            return
        self._tell_stop("no frame came")
        self._lose("no frame came", now_s)

    def _lose(self, why: str, now_s: float) -> None:
        self._go(LinkEvent.LOSE)
        log.warning("session %s: lost its worker: %s", self._session_id, why)
        self._metrics.workers_lost += 1
        self.worker = None
        self._answer_interrupts(self._feed.on_interrupt_timeout())
        self._timers.stop(Timer.SILENCE, Timer.ALIVE, Timer.AUDIO)
        self._feed.rewind()
        self.search(now_s)

    # ---- small things

    def _write_claim(self, claim_id: str) -> SessionStart:
        return SessionStart(
            claim_id=claim_id,
            session_id=self._session_id,
            reply_channel=self._reply_channel,
            avatar_folder=self.avatar.folder,
            avatar_version=self.avatar.version,
        )

    def _go(self, event: LinkEvent) -> None:
        before, self.state = self.state, TRANSITIONS[self.state][event]
        log.debug("session %s: %s -> %s", self._session_id, before.name, self.state.name)

    def _tell(self, message: LayerMessage) -> None:
        assert self.worker is not None
        self._outbox.put(SendToWorker(self.worker.worker_channel, message))

    def _tell_alive(self) -> None:
        if self.worker is not None:
            self._tell(SessionAlive(claim_id=self.worker.claim_id))

    def _tell_stop(self, reason: str) -> None:
        if self.worker is not None:
            self._tell(SessionStop(claim_id=self.worker.claim_id, reason=reason))

    def _tell_clip(self, clip: str) -> None:
        if self.worker is not None:
            self._tell(ClipChange(claim_id=self.worker.claim_id, clip=clip))

    def _tell_action(self, clip: str, form: ActionForm) -> None:
        if self.worker is not None:
            self._tell(ActionStart(claim_id=self.worker.claim_id, clip=clip, form=form))

    def _answer_interrupts(self, dropped: list[int]) -> None:
        """Tell the client of each interrupt that is over how many ms of speech it dropped."""
        for dropped_ms in dropped:
            self._outbox.to_client(
                told.Interrupted(
                    session_id=self._session_id,
                    data=told.InterruptedFields(dropped_ms=dropped_ms),
                )
            )
        if not self._feed.awaits_confirmation:
            self._timers.stop(Timer.INTERRUPT)

    def _error(self, error: ProtocolError) -> None:
        self._metrics.errors[error.code] += 1
        self._outbox.error(error, self._session_id)


def _lipsync_failed(reason: str) -> ProtocolError:
    return ProtocolError(
        "PROCESSING_ERROR",
        f"Lip-sync failed ({reason}); the video goes on without it.",
        reason=reason,
    )
