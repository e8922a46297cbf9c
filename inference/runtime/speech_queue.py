"""Speech of one session: PCM in, frame-aligned windows with context out.

Theory of operation
-------------------
Chunks arrive in any size and at any pace; frames want exactly 640 samples each. The queue keeps the
samples under the *position* that the door gave them (their index among all samples accepted in the
session) and cuts them into utterances:

* An utterance begins with the first sample after silence. Its frames are aligned to that sample.
* It ends when less than a frame is left and nothing arrived for ``end_of_speech_ms``; what is left
  then is padded with zeros. The next utterance begins at the true, unpadded end.
* A jump in the positions (an interrupt, or audio lost on the way) ends it too.

A frame is ready when its own samples and the engine's look-ahead are there. It does not wait for
look-ahead that is a frame time overdue: what is missing then counts as zeros. An utterance's first
frame is held back until all that it needs is ``START_MARGIN_S`` old: a client that sends in step
with the clock, give or take a few ms, then never runs dry right after the start.

Pure: time is an argument, in seconds of the caller's monotonic clock.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto

import numpy as np

from inference.media.types import AudioContext, AudioWindow
from inference.timing import BYTES_PER_SAMPLE, FRAME_S, SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

START_MARGIN_S = 0.008
_FULL_SCALE = np.float32(1 / 32768)


class Speech(Enum):
    """What the queue has for the tick that is asked about."""

    SILENT = auto()
    """Nothing to show: no utterance, or one that is not ready to begin."""
    READY = auto()
    """The next frame can be taken."""
    STARVED = auto()
    """In the middle of an utterance, but its next samples have not arrived."""
    ENDED = auto()
    """The utterance is over; said once, then SILENT."""


@dataclass(frozen=True, slots=True, eq=False)
class SpeechFrame:
    """640 samples to be shown: their position, how many of them were received, and their window."""

    position: int
    received: int
    window: AudioWindow
    clip: str | None
    """The clip that the client wants from this frame on; None: no new wish."""

    @property
    def end(self) -> int:
        return self.position + self.received


@dataclass(slots=True)
class _Utterance:
    start: int
    pcm: bytearray = field(default_factory=bytearray)
    arrivals: deque[tuple[int, float]] = field(default_factory=deque)
    """(position after the chunk, when it arrived), ascending."""
    clips: list[tuple[int, str]] = field(default_factory=list)
    """(position from which on, clip wanted), ascending, each unlike the one before."""
    is_closed: bool = False

    @property
    def end(self) -> int:
        return self.start + len(self.pcm) // BYTES_PER_SAMPLE

    def arrival_s(self, end: int) -> float:
        """When the samples before ``end`` had all arrived."""
        return next(when for position, when in self.arrivals if position >= end)

    def samples(self, begin: int, end: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        """Samples at positions ``begin`` to ``end``, zeros where there are none."""
        window = np.zeros(end - begin, np.float32)
        first, last = max(begin, self.start), min(end, self.end)
        if first < last:
            # a copy: a view would forbid the bytearray to grow
            received = np.frombuffer(
                bytes(
                    memoryview(self.pcm)[
                        (first - self.start) * BYTES_PER_SAMPLE : (last - self.start)
                        * BYTES_PER_SAMPLE
                    ]
                ),
                "<i2",
            )
            window[first - begin : last - begin] = received * _FULL_SCALE
        return window


class SpeechQueue:
    """See the module. One per session; not thread-safe."""

    def __init__(self, context: AudioContext, *, end_of_speech_ms: int = 240) -> None:
        self._context = context
        self._look_ahead_s = context.after / SAMPLE_RATE_HZ
        self._end_of_speech_s = end_of_speech_ms / 1000
        self._utterances: deque[_Utterance] = deque()
        self._cursor = 0
        self._has_begun = False
        self._last_arrival_s = 0.0

    @property
    def queued_samples(self) -> int:
        """Samples received and not yet taken."""
        if not self._utterances:
            return 0
        return sum(u.end - u.start for u in self._utterances) - (
            self._cursor - self._utterances[0].start
        )

    def push(self, position: int, pcm: bytes, now_s: float, clip: str | None = None) -> None:
        """Append a chunk: s16le ``pcm`` whose first sample has index ``position``.

        Samples that are already there (sent again after a hand-over) are ignored.
        """
        last = self._utterances[-1] if self._utterances else None
        if last is not None and position < last.end:
            pcm = pcm[(last.end - position) * BYTES_PER_SAMPLE :]
            position = last.end
        if not pcm:
            return
        if last is None or last.is_closed or position != last.end:
            if last is None:
                self._cursor = position
            else:
                last.is_closed = True
            last = _Utterance(start=position)
            self._utterances.append(last)
        if clip is not None and (not last.clips or last.clips[-1][1] != clip):
            last.clips.append((position, clip))
        last.pcm += pcm
        last.arrivals.append((last.end, now_s))
        self._last_arrival_s = now_s

    def interrupt(self) -> None:
        """Forget everything; what comes next is a new utterance."""
        self._utterances.clear()
        self._has_begun = False

    def poll(self, now_s: float) -> Speech:
        """What there is to show at ``now_s``. READY promises that `take` succeeds."""
        if not self._utterances:
            return Speech.SILENT
        current = self._utterances[0]
        left = current.end - self._cursor
        is_quiet = now_s - self._last_arrival_s >= self._end_of_speech_s
        if left < SAMPLES_PER_FRAME and is_quiet:
            current.is_closed = True
        if current.is_closed and left <= 0:
            had_begun, self._has_begun = self._has_begun, False
            self._utterances.popleft()
            if self._utterances:
                self._cursor = self._utterances[0].start
            return Speech.ENDED if had_begun else self.poll(now_s)
        if self._is_ready(current, left, now_s):
            return Speech.READY
        return Speech.STARVED if self._has_begun else Speech.SILENT

    def _is_ready(self, current: _Utterance, left: int, now_s: float) -> bool:
        if current.is_closed:
            return left > 0
        if left < SAMPLES_PER_FRAME:
            return False
        own_end = self._cursor + SAMPLES_PER_FRAME
        if now_s - current.arrival_s(own_end) >= self._look_ahead_s + FRAME_S:
            return True
        if left < SAMPLES_PER_FRAME + self._context.after:
            return False
        age_s = now_s - current.arrival_s(own_end + self._context.after)
        return self._has_begun or age_s >= START_MARGIN_S

    def take(self) -> SpeechFrame:
        """The next frame of the current utterance, padded with zeros at its end."""
        current, begin = self._utterances[0], self._cursor
        window = current.samples(
            begin - self._context.before, begin + SAMPLES_PER_FRAME + self._context.after
        )
        wishes = [clip for at, clip in current.clips if begin <= at < begin + SAMPLES_PER_FRAME]
        self._has_begun = True
        self._cursor = min(begin + SAMPLES_PER_FRAME, current.end)
        self._forget_taken(current)
        return SpeechFrame(
            position=begin,
            received=self._cursor - begin,
            window=AudioWindow(window, frames=1),
            clip=wishes[-1] if wishes else None,
        )

    def put_back(self, frame: SpeechFrame, *, is_first: bool) -> None:
        """Undo the latest `take`; ``is_first``: that frame began its utterance."""
        self._cursor = frame.position
        self._has_begun = not is_first

    def _forget_taken(self, current: _Utterance) -> None:
        """Drop what lies further back than the context, now and then; two seconds stay for undo."""
        while current.arrivals and current.arrivals[0][0] < self._cursor:
            current.arrivals.popleft()
        keep_from = self._cursor - self._context.before - 2 * SAMPLE_RATE_HZ
        surplus = keep_from - current.start
        if surplus > 25 * SAMPLES_PER_FRAME:
            del current.pcm[: surplus * BYTES_PER_SAMPLE]
            current.start = keep_from
