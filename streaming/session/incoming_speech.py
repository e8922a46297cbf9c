"""A session's speech: from the client's chunks to the worker, kept until it is shown.

Theory of operation
-------------------
A session's accepted samples are numbered from 0, at 16 kHz. Three positions say where each is::

    0 ........ shown ........ sent ........ accepted
      forgotten     in flight      waiting

``accepted``  the number of the next sample that the client sends
``sent``      what is before it was sent to the session's worker
``shown``     what is before it is on its way to the screen, or was dropped by an interrupt

`SpeechWindow` keeps what lies between ``shown`` and ``accepted``, and before ``shown`` as much as a
client that resumes its session may have to be shown again. At most two seconds of it are in
flight, so that a worker never holds more than it needs. When the worker is lost, ``sent`` returns
to ``shown``: what was in flight is sent again, so nothing is shown twice and nothing is lost.

`SpeechFeed` decides what the worker is sent, at the moment when it can be sent, so that an
interrupt always overtakes the speech that it drops. Each interrupt empties the window and raises
the *generation*, by which old speech is recognized everywhere. The client's answer waits for the
worker's, which comes after the last frame of the old speech; without a worker, or if none answers,
the gateway's own account serves.

`SpeechInput` converts the client's chunks to 16 kHz mono.

Pure: no clock, no channel.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter

import numpy as np

from inference.assets.clip_index import ClipRequest
from inference.media.resampling import Resampler, mix_down
from inference.messages import AudioChunk, SpeechEnd, SpeechInterrupt
from inference.timing import (
    BYTES_PER_SAMPLE,
    SAMPLE_RATE_HZ,
    SAMPLES_PER_MS,
    audio_timestamp_ms,
)

MAX_IN_FLIGHT = 2 * SAMPLE_RATE_HZ
MAX_PIECE = SAMPLE_RATE_HZ
KEPT_SHOWN = 5 * SAMPLE_RATE_HZ
"""Samples that were shown and are kept, where a session can be resumed."""

_position = itemgetter(0)


class SpeechInput:
    """Converts the chunks of one session to 16 kHz mono, utterance by utterance."""

    def __init__(self) -> None:
        self._resampler: Resampler | None = None
        self._format: tuple[int, int] | None = None

    def has_format(self, sample_rate: int, channels: int) -> bool:
        """Whether the utterance that is being sent has this format, or none is."""
        return self._format in (None, (sample_rate, channels))

    def convert(self, pcm: bytes, sample_rate: int, channels: int) -> bytes:
        """Convert the next chunk of an utterance.

        Args:
            pcm: s16le, whole samples of all channels.
            sample_rate: In Hz; the same as in the chunks before, see `has_format`.
            channels: 1 or 2.

        Returns:
            s16le, 16 kHz, mono: what can be computed so far.
        """
        if sample_rate == SAMPLE_RATE_HZ and channels == 1:
            self._format = sample_rate, channels
            return pcm
        if self._resampler is None:
            self._resampler = Resampler(sample_rate)
        self._format = sample_rate, channels
        return _bytes_of(self._resampler.push(mix_down(pcm, channels)))

    def flush(self) -> bytes:
        """Return the tail of what was converted; more chunks of the utterance may follow."""
        return b"" if self._resampler is None else _bytes_of(self._resampler.flush())

    def end(self) -> bytes:
        """End the utterance, with its tail. The next chunk begins another one, of any format."""
        tail = self.flush()
        self._resampler = self._format = None
        return tail


def _bytes_of(samples: "np.ndarray[tuple[int], np.dtype[np.int16]]") -> bytes:
    return samples.astype("<i2").tobytes()


def samples_at_16_khz(size_bytes: int, sample_rate: int, channels: int) -> int:
    """How many samples PCM of this size becomes."""
    samples = size_bytes // (BYTES_PER_SAMPLE * channels)
    return -(-samples * SAMPLE_RATE_HZ // sample_rate)


class SpeechWindow:
    """Accepted speech that was not shown yet. Positions are in samples; PCM is s16le, 16 kHz."""

    def __init__(self, *, start: int = 0, kept: int = 0) -> None:
        """Start without speech.

        Args:
            start: Position of the first sample that comes.
            kept: How many samples are kept after they were shown, for `rewind`.
        """
        self.accepted = start
        self.sent = start
        self.shown = start
        self._kept = kept
        self._base = start
        """Position of the first sample that is kept."""
        self._pcm = bytearray()
        # A client may send single samples, so that these have thousands of entries.
        self._requests: list[tuple[int, ClipRequest | None]] = []
        """Where another clip is requested: first sample, request. Ascending; the first one holds
        at the first sample kept."""
        self._arrivals: list[tuple[int, float]] = []
        """When speech came: position after a chunk, moment. Ascending, as far as it is kept."""
        self._ends: list[int] = []
        """Where utterances end that the client ended. Ascending, as far as it is kept."""
        self._sent_end = -1
        """The last of them that was sent to the worker."""

    @property
    def queued(self) -> int:
        """Samples accepted and not shown."""
        return self.accepted - self.shown

    @property
    def has_next(self) -> bool:
        """Whether the worker can be sent something: speech, or the end of an utterance."""
        return (
            self.sent < min(self.accepted, self.shown + MAX_IN_FLIGHT)
            or self._next_end == self.sent
        )

    @property
    def _next_end(self) -> int | None:
        """The first end that the worker was not told."""
        index = bisect_right(self._ends, self._sent_end)
        return self._ends[index] if index < len(self._ends) else None

    def accept(self, pcm: bytes, request: ClipRequest | None, now_s: float = 0.0) -> None:
        """Append speech.

        Args:
            pcm: s16le, 16 kHz, mono.
            request: The clip to play under it; None for no request.
            now_s: When it came.
        """
        if not self._requests or self._requests[-1][1] != request:
            self._requests.append((self.accepted, request))
        self._pcm += pcm
        self.accepted += len(pcm) // BYTES_PER_SAMPLE
        self._arrivals.append((self.accepted, now_s))

    def end_utterance(self) -> None:
        """End the utterance with the last sample accepted."""
        if self.accepted > self.shown and (not self._ends or self._ends[-1] < self.accepted):
            self._ends.append(self.accepted)

    def take(self) -> tuple[int, bytes, ClipRequest | None] | None:
        """Return the next piece of speech, or the end of an utterance; it counts as sent.

        Returns:
            Position of the first sample, PCM, requested clip; no PCM: an utterance ends there.
            None if nothing may be sent now.
        """
        start = self.sent
        end = min(self.accepted, self.shown + MAX_IN_FLIGHT, start + MAX_PIECE)
        if (next_end := self._next_end) is not None:
            if next_end == start:
                self._sent_end = start
                return start, b"", None
            end = min(end, next_end)
        if end <= start:
            return None
        index = bisect_right(self._requests, start, key=_position)
        request = self._requests[index - 1][1] if index else None
        if index < len(self._requests):
            end = min(end, self._requests[index][0])
        self.sent = end
        base = self._base
        piece = self._pcm[(start - base) * BYTES_PER_SAMPLE : (end - base) * BYTES_PER_SAMPLE]
        return start, bytes(piece), request

    def arrived_s(self, position: int) -> float:
        """When the sample at a position that is kept came."""
        index = bisect_right(self._arrivals, position, key=_position)
        return self._arrivals[index][1] if index < len(self._arrivals) else 0.0

    def unread(self, position: int) -> None:
        """Take back the piece at ``position``, which could not be sent: it comes next again."""
        self.sent = max(self.shown, min(self.sent, position))
        self._sent_end = min(self._sent_end, self.sent - 1)

    def acknowledge(self, position: int) -> None:
        """All samples before ``position`` are on their way to the screen."""
        # A padded last frame claims more than there is.
        position = min(position, self.sent)
        if position <= self.shown:
            return
        self.shown = position
        self._forget(position - self._kept)

    def _forget(self, position: int) -> None:
        """Forget what is before ``position``."""
        if position <= self._base:
            return
        del self._pcm[: (position - self._base) * BYTES_PER_SAMPLE]
        self._base = position
        del self._requests[: max(bisect_right(self._requests, position, key=_position) - 1, 0)]
        del self._ends[: bisect_left(self._ends, position)]
        del self._arrivals[: bisect_right(self._arrivals, position, key=_position)]

    def drop(self) -> None:
        """Forget everything queued. The numbering continues."""
        self._pcm.clear()
        self._requests.clear()
        self._ends.clear()
        self._arrivals.clear()
        self._base = self.shown = self.sent = self.accepted

    def rewind(self, shown: int | None = None) -> None:
        """Another worker: send again what was not shown.

        Args:
            shown: Up to here it was, as far as the client knows; None: as far as this side knows.
        """
        if shown is not None:
            self.shown = max(self._base, min(shown, self.shown))
        self.sent = self.shown
        self._sent_end = self.shown - 1

    def truncate(self) -> None:
        """Forget the samples after the last whole millisecond, which a client can name."""
        surplus = self.accepted % SAMPLES_PER_MS
        if surplus and self._base <= self.accepted - surplus:
            self.accepted -= surplus
            del self._pcm[(self.accepted - self._base) * BYTES_PER_SAMPLE :]
            self.shown = min(self.shown, self.accepted)
            self.sent = min(self.sent, self.accepted)


@dataclass(frozen=True, slots=True)
class SharedRoom:
    """What may wait of several sessions together."""

    limit_s: float
    queued_elsewhere: Callable[[], int]
    """Samples that wait in the other sessions."""
    accepted: Callable[[], None] = lambda: None
    """Called when so much waits in this session that the others' room shrinks."""


@dataclass(slots=True)
class _Interrupt:
    generation: int
    shown: int
    """Up to here the interrupted speech is on its way to the screen."""
    end: int
    """Up to here it had been accepted."""


@dataclass(frozen=True, slots=True)
class InterruptAnswer:
    """An interrupt is over."""

    generation: int
    position: int
    """The sample after the last one shown of the interrupted speech."""
    dropped_ms: int


class SpeechFeed:
    """What a session's workers are sent of its speech, one worker after the other."""

    def __init__(self, window: SpeechWindow) -> None:
        self.generation = 0
        self._sent_generation = 0
        """The one that the worker knows."""
        self._window = window
        self._interrupts: deque[_Interrupt] = deque()
        """Not confirmed by a worker yet."""

    @property
    def has_next(self) -> bool:
        return self._window.has_next or self._sent_generation != self.generation

    def take(
        self, claim_id: str, now_s: float = 0.0
    ) -> SpeechInterrupt | AudioChunk | SpeechEnd | None:
        """Count as sent, and return, what the worker of this claim is due now; None: nothing."""
        if self._sent_generation != self.generation:
            self._sent_generation = self.generation
            return SpeechInterrupt(claim_id=claim_id, generation=self.generation)
        if (piece := self._window.take()) is None:
            return None
        position, pcm, request = piece
        if not pcm:
            return SpeechEnd(claim_id=claim_id, position=position, generation=self.generation)
        return AudioChunk(
            claim_id=claim_id,
            pcm=pcm,
            position=position,
            generation=self.generation,
            clip=None if request is None else request.name,
            is_clip_chosen=request is None or request.is_chosen,
            age_ms=max(0, round((now_s - self._window.arrived_s(position)) * 1_000)),
        )

    def unread(self, message: AudioChunk | SpeechEnd) -> bool:
        """Take back a message that could not be sent.

        Returns:
            Whether it comes again; False if an interrupt dropped it in the meantime.
        """
        if message.generation != self.generation:
            return False
        self._window.unread(message.position)
        return True

    def shown(self, end: int) -> None:
        """All samples before ``end`` are on their way to the screen."""
        if not self._interrupts:
            self._window.acknowledge(end)
            return
        # Frames that come before a confirmation show the old speech only, whatever the padding of
        # their last one claims.
        first = self._interrupts[0]
        first.shown = max(first.shown, min(end, first.end))

    def begin(self) -> None:
        """Begin with an accepted worker, which knows the generation from the acceptance."""
        self._sent_generation = self.generation

    def rewind(self, shown: int | None = None) -> None:
        """Go back to what was not shown: its worker is lost, and the next one is sent it.

        Args:
            shown: Up to here it was, as far as the client knows; None: as far as this side knows.
        """
        self._window.rewind(shown)

    @property
    def awaits_confirmation(self) -> bool:
        """Whether an interrupt was not answered yet."""
        return bool(self._interrupts)

    def interrupt(self) -> None:
        """Drop everything that was not shown."""
        self.generation += 1
        self._interrupts.append(
            _Interrupt(self.generation, self._window.shown, self._window.accepted)
        )
        self._window.drop()

    def confirm(self, generation: int, position: int) -> list[InterruptAnswer]:
        """Confirm that the worker has shown nothing old from ``position`` on.

        Returns:
            The answer of each interrupt up to ``generation`` that was not answered before.
        """
        if self._interrupts:
            first = self._interrupts[0]
            first.shown = max(first.shown, min(position, first.end))
        return self._answers(generation)

    def on_interrupt_timeout(self) -> list[InterruptAnswer]:
        """As `confirm`, of all interrupts, by the frames that came."""
        return self._answers(self.generation)

    def _answers(self, generation: int) -> list[InterruptAnswer]:
        answers = []
        while self._interrupts and self._interrupts[0].generation <= generation:
            interrupt = self._interrupts.popleft()
            dropped_ms = audio_timestamp_ms(interrupt.end - interrupt.shown)
            answers.append(InterruptAnswer(interrupt.generation, interrupt.shown, dropped_ms))
        return answers
