"""A session's link to its worker: finding one, following it, replacing it.

Theory of operation
-------------------
`inference.messages` describes the protocol between a gateway and a worker; this is the gateway's
half.

*Searching* is done by `claims.ClaimLoop`. The first worker that answers is accepted, any other is
sent `SessionStop`.

*Streaming.* Speech goes to the worker through `incoming_speech.SpeechFeed`, frames go to the client
through `outgoing_video.FrameRelay`. Frames are the worker's heartbeat: without one for `SILENCE_S`
it counts as lost, and the search begins again from what the gateway knows: the frame that is due by
the clock of those that came, the first sample that was not shown, the base clip, an action that has
not ended. Messages of an earlier claim are dropped.
"""

import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol

from inference.assets.clip_index import ClipRequest
from inference.messages import (
    ActionForm,
    ActionStart,
    AudioChunk,
    ClipChange,
    LayerMessage,
    ListeningChange,
    SessionAccepted,
    SessionAlive,
    SessionClaimed,
    SessionEnded,
    SessionRefused,
    SessionStart,
    SessionStop,
    SpeechEnd,
    SpeechFailed,
    SpeechInterrupted,
    SpeechSkipped,
    VideoFrame,
)
from inference.timing import audio_timestamp_ms
from streaming.protocol.errors import CloseCode, ClosingError, ProtocolError
from streaming.protocol.server_messages import SessionWarning, WarningFields
from streaming.session.claims import ClaimLoop
from streaming.session.clip_choice import Avatar
from streaming.session.context import SessionContext
from streaming.session.effects import FlushSpeech, SendToWorker
from streaming.session.outgoing_video import FrameRelay
from streaming.session.session_speech import SessionSpeech
from streaming.session.timers import Timer

log = logging.getLogger(__name__)

SILENCE_S = 1.0
FAULTS_WITHIN_S = 60.0
MAX_FAULTS = 6
"""So many faults of workers within `FAULTS_WITHIN_S` end the session: the next would fail too."""
FIRST_BACK_OFF_S = 0.25
MAX_BACK_OFF_S = 5.0
ALIVE_EVERY_S = 5.0
LATE_TIMER_S = 0.1
AUDIO_RETRY_S = 0.1
INTERRUPT_ANSWER_S = 1.0
ACTION_WITHIN_FRAMES = 100
"""An action of which so many frames show nothing is not going to begin: a message was lost."""

ReservePlace = Callable[[SessionClaimed], bool | None]
"""Whether a worker has a place to speak, which is then taken; None: it is elsewhere, and its frames
say so."""


class LinkObserver(Protocol):
    """What a link reports to its session."""

    def on_first_worker(self, worker: SessionClaimed) -> None:
        """Begin with the session's first accepted worker."""


class WorkerLink:
    """The worker of one session; ``worker`` is None while one is searched.

    Every method puts its effects into the context's outbox.
    """

    def __init__(
        self,
        context: SessionContext,
        *,
        reply_channel: str,
        avatar: Avatar,
        speech: SessionSpeech,
        frames: FrameRelay,
        observer: LinkObserver,
        new_id: Callable[[], str],
        base_clip: ClipRequest | None = None,
        reserve_place: ReservePlace = lambda worker: None,
    ) -> None:
        """Without a worker, until `search`.

        Args:
            context: The session's.
            reply_channel: Where workers answer.
            avatar: What the worker is to show.
            speech: What the worker is to say.
            frames: Where its frames go.
            observer: Told of the first worker.
            new_id: Makes claim ids.
            base_clip: The clip to begin with; None: the avatar's first idle clip.
            reserve_place: Asks a worker of this process for a place to speak.
        """
        self.avatar = avatar
        self.worker: SessionClaimed | None = None
        """The accepted one, while it streams."""
        self.last_worker: SessionClaimed | None = None
        self._context = context
        self._reply_channel = reply_channel
        self._speech = speech
        self._frames = frames
        self._observer = observer
        self._claims = ClaimLoop(
            write_claim=self._write_claim,
            outbox=context.outbox,
            timers=context.timers,
            new_id=new_id,
        )
        self._is_over = False
        self._faults: deque[float] = deque()
        """When workers ended the session by a fault, lately."""
        self._base_clip = base_clip
        self._action: tuple[str, ActionForm] | None = None
        self._action_due_frame: int | None = None
        """The last frame that need not show the action; None: no frame came since it was sent."""
        self._is_listening = False
        self._reserve_place = reserve_place
        self._may_speak = True
        speech.may_speak = self.may_speak

    def may_speak(self) -> bool:
        """Whether an utterance may begin: its worker has a place, or there is none yet."""
        if self.worker is None:
            return True
        is_reserved = self._reserve_place(self.worker)
        return self._may_speak if is_reserved is None else is_reserved

    @property
    def queued_ms(self) -> int:
        """Speech accepted and not shown."""
        return audio_timestamp_ms(self._speech.window.queued)

    @property
    def has_action(self) -> bool:
        """An action was accepted and its last frame has not come."""
        return self._action is not None

    @property
    def is_waiting(self) -> bool:
        """No worker took the session in time."""
        return self.worker is None and not self._is_over and self._claims.is_missed

    def search(self, now_s: float) -> None:
        """Begin to look for a worker."""
        self._claims.begin(now_s)

    def flush_speech(self) -> None:
        """Have the worker sent the speech that it may have."""
        if self.worker is not None and self._speech.feed.has_next:
            self._context.outbox.put(FlushSpeech(self.worker.claim_id))

    def change_clip(self, request: ClipRequest) -> None:
        """Change the base clip."""
        self._base_clip = request
        self._send_if_streaming(
            lambda claim_id: ClipChange(
                claim_id=claim_id, clip=request.name, is_chosen=request.is_chosen
            )
        )

    def start_action(self, clip: str, form: ActionForm) -> None:
        """Insert an action clip once."""
        self._action = clip, form
        self._send_action()

    def change_listening(self, *, is_active: bool) -> None:
        """Begin or end listening, as the user begins or stops speaking."""
        self._is_listening = is_active
        self._send_if_streaming(
            lambda claim_id: ListeningChange(claim_id=claim_id, is_active=is_active)
        )

    def interrupt(self, now_s: float, number: int | None) -> None:
        """Drop all speech that was not shown, unless it is the repetition of an interrupt.

        Args:
            now_s: When it came.
            number: As the client counts its interrupts; None: it does not.
        """
        if not self._speech.interrupt(now_s, number):
            return
        if self.worker is None:
            self._speech.on_interrupt_timeout(now_s)
        else:
            self.flush_speech()
            self._context.timers.set(Timer.INTERRUPT, now_s + INTERRUPT_ANSWER_S)

    def detach(self) -> None:
        """Give back the worker of a lost connection, and hold speech."""
        self._send_stop("the connection is lost")
        self._claims.end()
        self.worker = None
        self._speech.detach()

    def resume(self, reply_channel: str, now_s: float) -> None:
        """Continue with a client that is back, on another connection.

        Args:
            reply_channel: Where workers answer from now on.
            now_s: The moment.
        """
        self._reply_channel = reply_channel
        self.search(now_s)

    def end(self) -> None:
        """End with the session."""
        self._send_stop("the session is over")
        self._is_over = True
        self._claims.end()
        self.worker = None

    def on_timer(self, timer: Timer, due_s: float, now_s: float) -> None:
        """One of the link's timers is due."""
        match timer:
            case Timer.NO_WORKER:
                self._context.error(self._claims.miss())
            case Timer.CLAIM:
                self._claims.claim(now_s)
            case Timer.AUDIO:
                self.flush_speech()
            case Timer.INTERRUPT:
                self._speech.on_interrupt_timeout(now_s)
            case Timer.SILENCE:
                self._miss_frame(due_s, now_s)
            case Timer.ALIVE:
                self._context.timers.set(Timer.ALIVE, now_s + ALIVE_EVERY_S)
                self._send_if_streaming(lambda claim_id: SessionAlive(claim_id=claim_id))
            case _:
                raise AssertionError(f"{timer} is not the link's")

    def receive(self, message: LayerMessage, now_s: float) -> None:
        """Receive a message that a worker sent.

        Raises:
            ClosingError: There can be no session.
        """
        if isinstance(message, SessionClaimed):
            self._claimed(message, now_s)
        elif isinstance(message, SessionRefused):
            self._claims.refused(message, now_s)
        elif self.worker is not None and message.claim_id == self.worker.claim_id:
            match message:
                case VideoFrame():
                    self._receive_frame(message, now_s)
                case SpeechInterrupted(generation=generation, position=position):
                    self._speech.confirm_interrupt(generation, position, now_s)
                case SpeechSkipped():
                    self._receive_skip(message)
                case SpeechFailed():
                    self._context.error(_lipsync_failed(message.reason))
                case SessionEnded(reason="error"):
                    self._lose("fault", now_s, after_s=self._back_off_s(now_s))
                case SessionEnded():
                    self._lose(message.reason, now_s)

    def _claimed(self, answer: SessionClaimed, now_s: float) -> None:
        if answer == self.worker:
            return  # the accepted worker's answer, delivered twice
        if not self._claims.claimed(answer):
            stop = SessionStop(claim_id=answer.claim_id, reason="another claim or another worker")
            self._context.outbox.put(SendToWorker(answer.worker_channel, stop))
            return
        log.info(
            "session %s: worker %s, %s", self._context.session_id, answer.worker, answer.engine
        )
        is_first = self.last_worker is None
        self.worker = self.last_worker = answer
        self._frames.begin()
        self._context.timers.set(Timer.SILENCE, now_s + SILENCE_S)
        self._context.timers.set(Timer.ALIVE, now_s + ALIVE_EVERY_S)
        base = self._base_clip
        self._send(
            SessionAccepted(
                claim_id=answer.claim_id,
                next_frame=self._frames.next_frame(now_s),
                next_position=self._speech.window.shown,
                generation=self._speech.feed.generation,
                clip=None if base is None else base.name,
                is_clip_chosen=base is not None and base.is_chosen,
            )
        )
        self._speech.feed.begin()
        if is_first:
            self._observer.on_first_worker(answer)
        self._context.metrics.workers += 1
        if self._is_listening:
            self._send(ListeningChange(claim_id=answer.claim_id, is_active=True))
        self._send_action()
        self.flush_speech()

    def _receive_frame(self, frame: VideoFrame, now_s: float) -> None:
        self._context.timers.set(Timer.SILENCE, now_s + SILENCE_S)
        if self._action is not None:
            self._follow_action(frame)
        self._may_speak = frame.may_speak
        sound = self._speech.begin_frame(frame, now_s)
        self._frames.send(frame, sound, now_s)
        self._speech.end_frame(frame, now_s)
        if frame.position is not None:
            self.flush_speech()

    def _follow_action(self, frame: VideoFrame) -> None:
        """Take note of the action's last frame, or that it must have been lost."""
        if frame.action_progress is not None:
            self._action_due_frame = frame.frame
            if frame.action_progress >= 1:
                self._action = None
        elif self._action_due_frame is None:
            self._action_due_frame = frame.frame + ACTION_WITHIN_FRAMES
        elif frame.frame > self._action_due_frame:
            self._action = None

    def _receive_skip(self, skipped: SpeechSkipped) -> None:
        self._speech.advance_to(skipped.position)
        negotiated = self._context.negotiated
        if negotiated.has_1_2 and negotiated.late_audio == "drop":
            self._context.outbox.to_client(
                SessionWarning(
                    session_id=self._context.session_id,
                    data=WarningFields(
                        reason="audio_dropped", ms=audio_timestamp_ms(skipped.samples)
                    ),
                )
            )
        self.flush_speech()

    def next_for_worker(self, claim_id: str, now_s: float) -> SendToWorker | None:
        """Count as sent, and return, what the worker of this claim is due now; None: nothing."""
        worker = self.worker
        if worker is None or worker.claim_id != claim_id:
            return None
        message = self._speech.next_for_worker(claim_id, now_s)
        return None if message is None else SendToWorker(worker.worker_channel, message)

    def undelivered(self, message: LayerMessage, now_s: float) -> None:
        """Take back a message that could not be sent to its worker.

        Speech can wait; a worker that cannot be sent anything else is lost. Another one learns
        everything from its acceptance.
        """
        if self.worker is None or message.claim_id != self.worker.claim_id:
            return
        if isinstance(message, AudioChunk | SpeechEnd):
            if self._speech.feed.unread(message):
                self._context.timers.set(Timer.AUDIO, now_s + AUDIO_RETRY_S)
        elif not isinstance(message, SessionStop):
            self._lose(f"{message.type} could not be delivered", now_s)

    def _miss_frame(self, due_s: float, now_s: float) -> None:
        if now_s - due_s > LATE_TIMER_S:
            # This process itself was delayed; what came during that time is still to be read.
            self._context.timers.set(Timer.SILENCE, now_s + LATE_TIMER_S)
            return
        self._send_stop("no frame came")
        self._lose("no frame came", now_s)

    def _back_off_s(self, now_s: float) -> float:
        """How long to wait after a fault of the worker before the next claim."""
        while self._faults and now_s - self._faults[0] > FAULTS_WITHIN_S:
            self._faults.popleft()
        self._faults.append(now_s)
        count = len(self._faults)
        if count >= MAX_FAULTS:
            raise ClosingError(
                "INTERNAL_ERROR",
                f"The session failed {count} times within a minute; it was logged.",
                close_code=CloseCode.INTERNAL_ERROR,
            )
        return 0.0 if count == 1 else min(FIRST_BACK_OFF_S * 2 ** (count - 2), MAX_BACK_OFF_S)

    def _lose(self, why: str, now_s: float, *, after_s: float = 0.0) -> None:
        log.warning("session %s: worker lost: %s", self._context.session_id, why)
        self._context.metrics.workers_lost += 1
        self.worker = None
        self._speech.on_interrupt_timeout(now_s)
        self._context.timers.stop(Timer.SILENCE, Timer.ALIVE, Timer.AUDIO)
        self._speech.feed.rewind()
        self._claims.begin(now_s, after_s=after_s)

    def _write_claim(self, claim_id: str) -> SessionStart:
        assert self._context.session_id is not None, "a link exists after INIT"
        return SessionStart(
            claim_id=claim_id,
            session_id=self._context.session_id,
            reply_channel=self._reply_channel,
            avatar_folder=self.avatar.folder,
            avatar_version=self.avatar.version,
            late_audio=self._context.negotiated.late_audio,
            is_new=self._frames.last_frame < 0,
        )

    def _send(self, message: LayerMessage) -> None:
        assert self.worker is not None, "only a streaming worker is sent messages"
        self._context.outbox.put(SendToWorker(self.worker.worker_channel, message))

    def _send_if_streaming(self, message_of: Callable[[str], LayerMessage]) -> None:
        """Send the message of a claim id; without a worker the acceptance will say it."""
        if self.worker is not None:
            self._send(message_of(self.worker.claim_id))

    def _send_stop(self, reason: str) -> None:
        self._send_if_streaming(lambda claim_id: SessionStop(claim_id=claim_id, reason=reason))

    def _send_action(self) -> None:
        if self._action is not None:
            self._action_due_frame = None
            clip, form = self._action
            self._send_if_streaming(
                lambda claim_id: ActionStart(claim_id=claim_id, clip=clip, form=form)
            )


def _lipsync_failed(reason: str) -> ProtocolError:
    if reason == "engine_late":
        sentence = "The server is too busy to move the mouth in time; the video continues."
    else:
        sentence = f"Lip-sync failed ({reason}); the video continues without it."
    return ProtocolError("PROCESSING_ERROR", sentence, reason=reason)
