"""What a session does with speech: accept it, follow it to the screen, tell the client of both.

It joins the parts that `incoming_speech`, `utterances` and `sound_track` describe: a chunk is
checked, converted to 16 kHz, queued in the window, and counted to its utterance; a frame that shows
speech acknowledges it, and starts or finishes utterances.

An utterance that the client does not end itself ends when all its speech was shown and no chunk
came for ``end_of_speech_s``. The worker pads and ends it by the same rule and its own clock; if the
two disagree for a moment, the positions of the frames still say exactly what was played.

Pure: time is an argument.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from inference.assets.clip_index import ClipRequest
from inference.messages import AudioChunk, LayerMessage, VideoFrame
from inference.timing import (
    BYTES_PER_SAMPLE,
    FRAME_MS,
    SAMPLE_RATE_HZ,
    SAMPLES_PER_FRAME,
    SAMPLES_PER_MS,
    audio_timestamp_ms,
    frame_timestamp_ms,
)
from streaming.protocol.client_messages import SpeechChunk
from streaming.protocol.errors import ProtocolError
from streaming.protocol.server_messages import (
    FrameSound,
    Interrupted,
    InterruptedFields,
    SpeechFinished,
    SpeechFinishedFields,
    SpeechStarted,
    SpeechStartedFields,
)
from streaming.session.context import SessionContext
from streaming.session.incoming_speech import (
    KEPT_SHOWN,
    InterruptAnswer,
    SharedRoom,
    SpeechFeed,
    SpeechInput,
    SpeechWindow,
    samples_at_16_khz,
)
from streaming.session.sound_track import SoundTrack
from streaming.session.timers import Timer
from streaming.session.utterance_spans import UtteranceSpans
from streaming.session.utterances import (
    MAX_UNFINISHED,
    Finished,
    Started,
    UtteranceEvent,
    Utterances,
)

MAX_ANSWERS_KEPT = 8
"""Of interrupts, for a client that did not receive them."""
MAX_ENDS_SHOWN = KEPT_SHOWN // SAMPLES_PER_FRAME + 1
TAIL_S = 0.06
"""Seconds without a chunk until the resampler's last 5 ms are sent, as if the utterance ended."""


RETRY_WHEN_NO_PLACE_MS = 1_000
NEVER_SHARED_S = 2
"""So much speech of a session may wait whatever waits in others."""


def _too_many_utterances() -> ProtocolError:
    return ProtocolError(
        "RATE_LIMIT_EXCEEDED",
        f"{MAX_UNFINISHED} utterances wait to be shown, and no more may: the chunk was not "
        f"accepted. Send it again in {RETRY_WHEN_NO_PLACE_MS} ms, and longer utterances.",
        reason="utterances",
        retry_after_ms=RETRY_WHEN_NO_PLACE_MS,
    )


def _no_place() -> ProtocolError:
    return ProtocolError(
        "RATE_LIMIT_EXCEEDED",
        "As many avatars speak as this server can carry: the chunk was not accepted. Send it again "
        f"in {RETRY_WHEN_NO_PLACE_MS} ms.",
        reason="speech_capacity",
        retry_after_ms=RETRY_WHEN_NO_PLACE_MS,
    )


class SessionSpeech:
    """The speech of one session, from worker to worker."""

    def __init__(
        self,
        context: SessionContext,
        *,
        max_queued_s: float,
        end_of_speech_s: float,
        start: int = 0,
        is_resumable: bool = False,
    ) -> None:
        """Start without speech.

        Args:
            context: The session's.
            max_queued_s: Seconds of speech that may wait to be shown.
            end_of_speech_s: Seconds without a chunk that end an utterance.
            start: Position of the first sample that comes.
            is_resumable: The client may come back and not have seen what was shown last.
        """
        self.window = SpeechWindow(start=start, kept=KEPT_SHOWN if is_resumable else 0)
        self.feed = SpeechFeed(self.window)
        self.may_speak: Callable[[], bool] = lambda: True
        """Whether an utterance may begin."""
        self.shared_room: SharedRoom | None = None
        """What may wait of this session and others together; None: any amount."""
        self._context = context
        self._max_queued_s = max_queued_s
        self._end_of_speech_s = end_of_speech_s
        self._input = SpeechInput()
        self._utterances = Utterances()
        tracer = context.tracer
        self._spans = None if tracer is None else UtteranceSpans(tracer)
        self._track = SoundTrack(kept=KEPT_SHOWN if is_resumable else 0)
        self._request: ClipRequest | None = None
        self._chunks = 0
        self._last_chunk_s = 0.0
        self._frame = 0
        self._ends_shown: deque[tuple[int, int]] = deque(maxlen=MAX_ENDS_SHOWN)
        """Of the last frames with speech: audio_timestamp, position after its last sample."""
        self._began_s: float | None = None
        """When the first chunk came of an utterance that waits for no other one, until its first
        frame."""
        self._interrupts: deque[tuple[float, int | None]] = deque()
        """When each interrupt came that is not answered yet, and its number."""
        self._newest_interrupt = 0
        """The highest number of one."""
        self._answered: deque[tuple[int, int]] = deque(maxlen=MAX_ANSWERS_KEPT)
        """Numbers of interrupts, and how much they dropped, ms."""
        self._played_to = start
        """Unlike ``window.shown``, an interrupt does not move it to the end of what it drops."""

    # From the client.

    def accept(
        self,
        chunk: SpeechChunk,
        utterance_id: str | None,
        request: ClipRequest | None,
        now_s: float,
    ) -> None:
        """Queue a chunk.

        Args:
            chunk: The client's.
            utterance_id: As the client gave it.
            request: The clip to play under it.
            now_s: When it came.

        Raises:
            ProtocolError: It was not accepted, and why.
        """
        number, self._chunks = self._chunks, self._chunks + 1
        rate, channels = int(chunk.sample_rate), int(chunk.channels)
        samples = samples_at_16_khz(len(chunk.data), rate, channels)
        if not self._input.has_format(rate, channels):
            self._end_utterance()
        continues = self._utterances.continues(utterance_id)
        try:
            if continues:
                self._check_room(samples)
            elif not self._may_begin(utterance_id, samples):
                return
        except ProtocolError as error:
            if not continues:
                self._utterances.not_begun(utterance_id)
            if self._context.negotiated.has_1_2:
                error.details["chunk"] = number
                error.details["utterance_id"] = utterance_id
            raise
        if not continues:
            self._begin_utterance(utterance_id, now_s)
        if "audio" in self._context.negotiated.receive or self._context.audience.is_open:
            self._track.append(
                chunk.data, rate, channels, self.window.accepted, begins=not continues
            )
        self._request = request
        self._last_chunk_s = now_s
        self._queue(self._input.convert(chunk.data, rate, channels))
        if self.shared_room is not None and self._uses_shared_room(0):
            self.shared_room.accepted()
        self._context.timers.set(Timer.SPEECH_TAIL, now_s + TAIL_S)
        self._context.timers.set(Timer.END_OF_SPEECH, now_s + self._end_of_speech_s)

    def _may_begin(self, utterance_id: str | None, samples: int) -> bool:
        """Whether a chunk may begin an utterance; False: it is ignored, the client knows why."""
        if not self._utterances.may_begin(utterance_id):
            return False
        if self._utterances.is_full:
            raise _too_many_utterances()
        self._check_room(samples)
        if not self.may_speak():
            raise _no_place()
        return True

    def _check_room(self, samples: int) -> None:
        queued = self.window.queued
        if queued + samples > self._max_queued_s * SAMPLE_RATE_HZ:
            raise self._full(samples, queued, self._max_queued_s)
        if self.shared_room is not None and self._uses_shared_room(samples):
            room = self.shared_room
            everywhere = queued + room.queued_elsewhere()
            if everywhere + samples > room.limit_s * SAMPLE_RATE_HZ:
                raise self._full(samples, everywhere, room.limit_s, reason="speech_per_subject")

    def _uses_shared_room(self, samples: int) -> bool:
        """Whether with so many more it has more than what is spoken as it is heard."""
        return self.window.queued + samples > NEVER_SHARED_S * SAMPLE_RATE_HZ

    def _full(self, samples: int, queued: int, limit_s: float, **reason: str) -> ProtocolError:
        surplus = queued + samples - int(limit_s * SAMPLE_RATE_HZ)
        details: dict[str, Any] = {
            "queued_ms": audio_timestamp_ms(queued),
            "limit_ms": int(limit_s * 1_000),
            **reason,
        }
        if self._context.negotiated.has_1_2:
            details["retry_after_ms"] = audio_timestamp_ms(surplus)
        whose = " in all sessions of this subject" if reason else ""
        return ProtocolError(
            "RATE_LIMIT_EXCEEDED",
            f"{details['queued_ms']} ms of speech wait to be shown{whose} and this chunk has "
            f"{audio_timestamp_ms(samples)} ms, but at most {details['limit_ms']} ms may wait: it "
            f"was not accepted, send it again in {audio_timestamp_ms(surplus)} ms.",
            **details,
        )

    def _begin_utterance(self, utterance_id: str | None, now_s: float) -> None:
        self._end_utterance()
        if self.window.queued == 0:
            self._began_s = now_s
        start = self.window.accepted
        self._utterances.begin(utterance_id, start)
        if self._spans is not None:
            current = self._utterances.current
            assert current is not None, "it has begun"
            self._spans.begin(current, start, self._context.session_id)

    def _queue(self, pcm: bytes) -> None:
        """Append speech of the current utterance, as 16 kHz mono."""
        self.window.accept(pcm, self._request, self._last_chunk_s)
        self._utterances.extend(self.window.accepted)
        self._context.metrics.samples += len(pcm) // BYTES_PER_SAMPLE

    def end_of_speech(self, utterance_id: str | None) -> None:
        """END_OF_SPEECH: the current utterance ends now.

        Raises:
            ProtocolError: It names an utterance that is not the newest.
        """
        if self._utterances.ends(utterance_id):
            self._end_utterance()
            self._tell(self._utterances.settle(self._played_to))

    def _end_utterance(self) -> None:
        """End the current utterance, here and at the worker."""
        self._flush(self._input.end())
        if self._utterances.current is not None:
            self._utterances.close()
            self.window.end_utterance()

    def _flush(self, tail: bytes) -> None:
        if tail and self._utterances.current is not None:
            self._queue(tail)

    def interrupt(self, now_s: float, number: int | None = None) -> bool:
        """INTERRUPT: drop everything that was not shown.

        A client that lost its connection sends again what was not answered. If that came before,
        its answer is repeated, and speech that was accepted since is kept.

        Args:
            now_s: When it came.
            number: As the client counts its interrupts; None: it does not.

        Returns:
            Whether it came for the first time.
        """
        if number is not None:
            if number <= self._newest_interrupt:
                if all(number != waiting for _, waiting in self._interrupts):
                    self._tell_interrupted(dict(self._answered).get(number, 0))
                return False
            self._newest_interrupt = number
        self._began_s = None
        self._interrupts.append((now_s, number))
        self._input.end()
        self._track.clear()
        self.feed.interrupt()
        self._utterances.drop(self.feed.generation)
        return True

    # Time.

    def on_timer(self, timer: Timer, now_s: float) -> None:
        """SPEECH_TAIL or END_OF_SPEECH is due."""
        if timer is Timer.SPEECH_TAIL:
            self._flush(self._input.flush())
        else:
            self._end_if_silent(now_s)

    def _end_if_silent(self, now_s: float) -> None:
        is_silent = now_s - self._last_chunk_s >= self._end_of_speech_s
        if is_silent and self._utterances.current is not None and self.window.queued == 0:
            self._input.end()
            self._utterances.time_out()
            self._tell(self._utterances.settle(self._played_to))

    # To and from the worker.

    def next_for_worker(self, claim_id: str, now_s: float) -> LayerMessage | None:
        """What the worker of this claim is to be sent now; it counts as sent. None: nothing."""
        message = self.feed.take(claim_id, now_s)
        if self._spans is not None and isinstance(message, AudioChunk):
            return self._spans.marked(message)
        return message

    def begin_frame(self, frame: VideoFrame, now_s: float) -> FrameSound | None:
        """Take a frame: tell the client which utterance starts with it.

        Args:
            frame: The frame; it is sent next.
            now_s: When it came.

        Returns:
            Its sound, if that is kept.
        """
        self._frame = frame.frame
        if frame.position is None:
            return None
        self._ends_shown.append(
            (audio_timestamp_ms(frame.position), frame.position + frame.samples)
        )
        # Frames that come between an interrupt and its confirmation show old speech: it was played.
        events = self._utterances.show(frame.position, frame.position + frame.samples)
        if self._began_s is not None and any(isinstance(event, Started) for event in events):
            self._context.metrics.audio_to_frame.count(now_s - self._began_s)
            self._began_s = None
        self._tell(events)
        return self._track.take(frame.position, frame.samples)

    def end_frame(self, frame: VideoFrame, now_s: float) -> None:
        """Acknowledge the speech of a frame that was sent; an utterance may be finished."""
        if frame.position is not None:
            self.advance_to(frame.position + frame.samples)
        self._end_if_silent(now_s)

    def advance_to(self, position: int) -> None:
        """Speech before ``position`` was shown, or dropped by the worker because it was late."""
        self._played_to = max(self._played_to, position)
        self.feed.shown(position)
        self._tell(self._utterances.settle(self._played_to))

    def confirm_interrupt(self, generation: int, position: int, now_s: float) -> None:
        """Confirm that the worker has shown nothing old from ``position`` on."""
        self._answer(self.feed.confirm(generation, position), now_s)

    def on_interrupt_timeout(self, now_s: float | None) -> None:
        """No worker confirms the interrupts: they are answered by the frames that came.

        Args:
            now_s: The moment; None: the client does not see the answer now.
        """
        self._answer(self.feed.on_interrupt_timeout(), now_s)

    def _answer(self, answers: list[InterruptAnswer], now_s: float | None) -> None:
        for answer in answers:
            came_s, number = self._interrupts.popleft()
            if now_s is not None:
                self._context.metrics.interrupts.count(now_s - came_s)
            self._tell(self._utterances.confirm_drop(answer.generation, answer.position))
            if number is not None:
                self._answered.append((number, answer.dropped_ms))
            self._tell_interrupted(answer.dropped_ms)
        if not self.feed.awaits_confirmation:
            self._context.timers.stop(Timer.INTERRUPT)

    def _tell_interrupted(self, dropped_ms: int) -> None:
        self._context.outbox.to_client(
            Interrupted(
                session_id=self._context.session_id, data=InterruptedFields(dropped_ms=dropped_ms)
            )
        )

    # Resuming.

    def detach(self) -> None:
        """Hold speech while the connection is lost and may come back."""
        self._began_s = None
        self._flush(self._input.flush())
        self.on_interrupt_timeout(None)
        self.window.truncate()
        self._track.truncate(self.window.accepted)
        self._utterances.truncate(self.window.accepted)

    def resume(self, acknowledged_ms: int | None, utterance_id: str | None, now_s: float) -> int:
        """Continue with a client that is back: what it did not see is shown again, with its sound.

        Args:
            acknowledged_ms: ``audio_timestamp`` of the last frame with speech that it received.
            utterance_id: The oldest utterance of which it does not know the end.
            now_s: The moment.

        Returns:
            From where it must send its speech again, ms.
        """
        position = self._end_of_frame(acknowledged_ms)
        self.feed.rewind(position)
        self._played_to = self.window.shown
        self._last_chunk_s = now_s
        self._context.timers.set(Timer.END_OF_SPEECH, now_s + self._end_of_speech_s)
        self._tell(self._utterances.rewind(self.window.shown, utterance_id))
        self._tell(self._utterances.settle(self._played_to))
        return audio_timestamp_ms(self.window.accepted)

    def _end_of_frame(self, audio_timestamp: int | None) -> int:
        """Return the position after the frame with this ``audio_timestamp``."""
        if audio_timestamp is None:
            return 0
        for timestamp, end in reversed(self._ends_shown):
            if timestamp <= audio_timestamp:
                return end
        return (audio_timestamp + FRAME_MS) * SAMPLES_PER_MS

    def end(self) -> None:
        """End with the session."""
        self._tell(self._utterances.finish_all(self._played_to))

    # To the client.

    def _tell(self, events: list[UtteranceEvent]) -> None:
        if self._spans is not None:
            self._spans.happened(events)
        negotiated = self._context.negotiated
        if not negotiated.has_1_2:
            return
        for message in map(self._message_of, events):
            self._context.audience.tell(message)
            if "events" in negotiated.receive:
                self._context.outbox.to_client(message)

    def _message_of(self, event: UtteranceEvent) -> SpeechStarted | SpeechFinished:
        timestamp = frame_timestamp_ms(self._frame)
        match event:
            case Started(utterance_id, position):
                return SpeechStarted(
                    session_id=self._context.session_id,
                    data=SpeechStartedFields(
                        utterance_id=utterance_id,
                        frame_timestamp=timestamp,
                        audio_timestamp=audio_timestamp_ms(position),
                    ),
                )
            case Finished(utterance_id, played_ms, is_interrupted):
                return SpeechFinished(
                    session_id=self._context.session_id,
                    data=SpeechFinishedFields(
                        utterance_id=utterance_id,
                        played_ms=played_ms,
                        interrupted=is_interrupted,
                        frame_timestamp=timestamp,
                    ),
                )
