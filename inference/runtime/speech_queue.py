"""Speech of one session: PCM in, frame-aligned windows with context out.

Theory of operation
-------------------
Chunks arrive in any size and at any pace; frames need exactly 640 samples each. The queue keeps the
samples under the *position* that the gateway gave them (their index among all samples accepted in
the session) and cuts them into utterances:

* An utterance begins with the first sample after silence. Its frames are aligned to that sample.
* It ends when less than a frame is left and nothing arrived for ``end_of_speech_ms``, or when the
  client ends it; the remainder is padded with zeros. The next utterance begins at the true,
  unpadded end.
* A jump in the positions (an interrupt, or audio lost on the way) ends it too.

A frame is ready when its own samples and the engine's look-ahead are there. It does not wait for
look-ahead that is a frame time overdue: what is missing then counts as zeros. An utterance's first
frame is held back until all that it needs is ``START_MARGIN_S`` old: a client that sends in step
with the clock, give or take a few ms, then never runs dry right after the start.

*Late speech.* A gap (a lost worker, an overloaded one, a client that was held up) makes everything
after it late. `due_times` says when a chunk is due; an utterance is *live* while its chunks arrive
no more than `LIVE_S` before that. Live speech that is shown over `PAUSE_LATE_S` after it was due is
brought back into step where nobody hears it, by leaving out all but `KEPT_PAUSE_S` of a pause; over
`LATE_S`, with ``late_audio="drop"``, at once. Speech sent ahead of time is never shortened.

Pure: time is an argument, in seconds of the caller's monotonic clock.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from inference.assets.clip_index import ClipRequest
from inference.media.types import AudioContext, AudioWindow
from inference.messages import LateAudio
from inference.runtime.due_times import LIVE_S, DueTimes
from inference.timing import BYTES_PER_SAMPLE, FRAME_S, SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

START_MARGIN_S = 0.008

LATE_S = 0.5
"""Delay from which on live speech is dropped, where that is wanted."""
PAUSE_LATE_S = 0.16
"""Delay from which on pauses of live speech are shortened. A short one, too, makes a conversation
slower as long as it lasts: an utterance that never ends would keep what its first frame waited."""
IN_STEP_S = 0.1
"""Delay that is left then: the usual one."""
MIN_PAUSE_S = 0.2
KEPT_PAUSE_S = 0.12
PAUSE_LEVEL = 32_768 * 10 ** (-45 / 20)
"""RMS below which 10 ms are silent: -45 dB of full scale."""
_BLOCK = SAMPLE_RATE_HZ // 100
_AHEAD_FRAMES = 3
"""Sound of so many frames is there: it is sent faster than it is shown."""
KEPT_SAMPLES = 2 * SAMPLE_RATE_HZ
"""What was taken is kept for so long, to be undone: frames wait no longer until they are sent."""


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
    clip: ClipRequest | None
    """The clip requested from this frame on; None: no new request."""
    skipped: int = 0
    """Samples before it that were left out because they were late."""

    @property
    def end(self) -> int:
        return self.position + self.received


@dataclass(slots=True)
class _Chunk:
    end: int
    """Position after its last sample."""
    arrived_s: float
    due_s: float
    """When its first sample was due."""
    start: int

    @property
    def duration_s(self) -> float:
        return (self.end - self.start) / SAMPLE_RATE_HZ

    @property
    def is_live(self) -> bool:
        """Whether it arrived when it was due, and not ahead of time."""
        return self.due_s - self.arrived_s <= LIVE_S

    def lateness_s(self, position: int, now_s: float) -> float:
        """How late one of its samples would be shown now."""
        return now_s - self.due_s - (position - self.start) / SAMPLE_RATE_HZ


@dataclass(slots=True)
class _Utterance:
    start: int
    pcm: bytearray = field(default_factory=bytearray)
    chunks: deque[_Chunk] = field(default_factory=deque)
    """Ascending."""
    clips: list[tuple[int, ClipRequest]] = field(default_factory=list)
    """(position from which on, clip requested), ascending, each unlike the one before."""
    is_closed: bool = False

    @property
    def end(self) -> int:
        return self.start + len(self.pcm) // BYTES_PER_SAMPLE

    def arrival_s(self, end: int) -> float:
        """When the samples before ``end`` had all arrived."""
        return next(chunk.arrived_s for chunk in self.chunks if chunk.end >= end)

    def chunk_at(self, position: int) -> _Chunk | None:
        """Return the chunk that a sample came with; None if it has not come."""
        return next((chunk for chunk in self.chunks if chunk.end > position), None)

    def samples(self, begin: int, end: int) -> NDArray[np.int16]:
        """Return samples at positions ``begin`` to ``end``, zeros where there are none.

        Bytes are copied, not arrays: numpy lets go of the GIL for that, and the event loop, which
        takes a window for each frame, then waits milliseconds for the pools to give it back.
        """
        first, last = max(begin, self.start), min(end, self.end)
        if first >= last:
            return np.zeros(end - begin, np.int16)
        offset = (first - self.start) * BYTES_PER_SAMPLE
        pcm: bytes | bytearray = self.pcm[offset : offset + (last - first) * BYTES_PER_SAMPLE]
        if last - first < end - begin:
            lead, rest = first - begin, end - last
            pcm = b"".join((bytes(lead * BYTES_PER_SAMPLE), pcm, bytes(rest * BYTES_PER_SAMPLE)))
        return np.frombuffer(pcm, "<i2")


class SpeechQueue:
    """The speech of one session; see the module. Not thread-safe."""

    def __init__(
        self,
        context: AudioContext,
        *,
        end_of_speech_ms: int = 240,
        late_audio: LateAudio = "keep",
    ) -> None:
        """Start without speech.

        Args:
            context: How much sound around a frame the engine needs.
            end_of_speech_ms: How long nothing arrives until an utterance ends.
            late_audio: What happens to live speech after a gap.
        """
        self._context = context
        self._look_ahead_s = context.after / SAMPLE_RATE_HZ
        self._end_of_speech_s = end_of_speech_ms / 1000
        self._utterances: deque[_Utterance] = deque()
        self._ended: deque[_Utterance] = deque()
        """Those that ended lately: frames of them may be undone. Ascending."""
        self._late_audio = late_audio
        self._cursor = 0
        self._has_begun = False
        self._last_arrival_s = 0.0
        self._due_times = DueTimes(may_be_microphone=late_audio == "drop")
        self._skipped = 0

    def push(
        self, position: int, pcm: bytes, now_s: float, clip: ClipRequest | None = None
    ) -> None:
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
                self._skipped = 0
            else:
                last.is_closed = True
            last = _Utterance(start=position)
            self._utterances.append(last)
        if clip is not None and (not last.clips or last.clips[-1][1] != clip):
            last.clips.append((position, clip))
        if (shown_by_s := self._due_times.take_back(now_s)) is not None:
            self._bring_forward(shown_by_s)
        due_s = self._due_times.due(now_s, len(pcm) / (BYTES_PER_SAMPLE * SAMPLE_RATE_HZ))
        start = last.end
        last.pcm += pcm
        last.chunks.append(_Chunk(end=last.end, arrived_s=now_s, due_s=due_s, start=start))
        self._last_arrival_s = now_s

    def _bring_forward(self, shown_by_s: float) -> None:
        """All that came was to be shown by then: it was due so much earlier."""
        for utterance in reversed(self._utterances):
            for chunk in reversed(utterance.chunks):
                chunk.due_s = min(chunk.due_s, shown_by_s - chunk.duration_s)
                shown_by_s = chunk.due_s

    def end_utterance(self, position: int) -> None:
        """Complete the utterance that reaches to ``position``: nothing of it is awaited."""
        for utterance in self._utterances:
            if utterance.end == position:
                utterance.is_closed = True

    def interrupt(self) -> None:
        """Forget everything; what comes next is a new utterance."""
        self._utterances.clear()
        self._ended.clear()
        self._has_begun = False
        self._due_times.interrupt()
        self._skipped = 0

    @property
    def has_speech(self) -> bool:
        """Whether an utterance waits or is being shown."""
        return bool(self._utterances)

    def skip_late(self, now_s: float) -> None:
        """Leave out late speech, as the module says; to be called before `poll`."""
        if not self._utterances:
            return
        current = self._utterances[0]
        chunk = current.chunk_at(self._cursor)
        if chunk is None or not (chunk.is_live and current.chunks[-1].is_live):
            return
        lateness_s = chunk.lateness_s(self._cursor, now_s)
        if lateness_s <= PAUSE_LATE_S:
            return
        surplus = round((lateness_s - IN_STEP_S) * SAMPLE_RATE_HZ)
        if self._late_audio == "keep" or lateness_s <= LATE_S:
            surplus = min(surplus, self._pause(current) - round(KEPT_PAUSE_S * SAMPLE_RATE_HZ))
        # A frame is left that carries the report.
        surplus = min(surplus, current.end - self._cursor - SAMPLES_PER_FRAME)
        if surplus > 0:
            self._cursor += surplus
            self._skipped += surplus

    def _pause(self, current: _Utterance) -> int:
        """Return samples of silence from the cursor on; 0 if they are no pause."""
        available = (current.end - self._cursor) // _BLOCK * _BLOCK
        if available < MIN_PAUSE_S * SAMPLE_RATE_HZ:
            return 0
        loud = is_loud(current.samples(self._cursor, self._cursor + available))
        silent = int(np.argmax(loud)) if loud.any() else len(loud)
        pause = silent * _BLOCK
        return pause if pause >= MIN_PAUSE_S * SAMPLE_RATE_HZ else 0

    def poll(self, now_s: float) -> Speech:
        """Return what can be shown at ``now_s``. READY promises that `take` succeeds."""
        if not self._utterances:
            return Speech.SILENT
        current = self._utterances[0]
        left = current.end - self._cursor
        is_quiet = now_s - self._last_arrival_s >= self._end_of_speech_s
        if left < SAMPLES_PER_FRAME and is_quiet:
            current.is_closed = True
        if current.is_closed and left <= 0:
            had_begun, self._has_begun = self._has_begun, False
            self._ended.append(self._utterances.popleft())
            while self._ended[0].end < self._cursor - KEPT_SAMPLES:
                self._ended.popleft()
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

    def can_be_planned_earlier(self) -> bool:
        """Whether the next frames could be taken a frame earlier than until now, unnoticed.

        They are there already, or the sound is a pause: of that a frame more is not heard.
        """
        if not self._utterances:
            return True
        current = self._utterances[0]
        left = current.end - self._cursor
        if current.is_closed or left >= _AHEAD_FRAMES * SAMPLES_PER_FRAME + self._context.after:
            return True
        begin = current.end - round(MIN_PAUSE_S * SAMPLE_RATE_HZ)
        return begin >= current.start and not is_loud(current.samples(begin, current.end)).any()

    def take(self) -> SpeechFrame:
        """Return the next frame of the current utterance, padded with zeros at its end."""
        current, begin = self._utterances[0], self._cursor
        window = current.samples(
            begin - self._context.before, begin + SAMPLES_PER_FRAME + self._context.after
        )
        skipped, self._skipped = self._skipped, 0
        # What was requested under samples that were left out holds for those that follow.
        since, until = begin - skipped, begin + SAMPLES_PER_FRAME
        requests = [clip for at, clip in current.clips if since <= at < until]
        self._has_begun = True
        self._cursor = min(until, current.end)
        self._forget_taken(current)
        return SpeechFrame(
            position=begin,
            received=self._cursor - begin,
            window=AudioWindow(window, frames=1),
            clip=requests[-1] if requests else None,
            skipped=skipped,
        )

    def unread(self, frame: SpeechFrame, *, is_first: bool) -> None:
        """Undo the latest takes back to ``frame``; ``is_first``: it began its utterance."""
        while self._ended and self._ended[-1].end > frame.position:
            self._utterances.appendleft(self._ended.pop())
        self._cursor = frame.position
        self._skipped = frame.skipped
        self._has_begun = not is_first

    def _forget_taken(self, current: _Utterance) -> None:
        """Drop what is further back than the context, now and then; some stays for undo."""
        while current.chunks and current.chunks[0].end < self._cursor:
            current.chunks.popleft()
        keep_from = self._cursor - self._context.before - KEPT_SAMPLES
        surplus = keep_from - current.start
        if surplus > 25 * SAMPLES_PER_FRAME:
            del current.pcm[: surplus * BYTES_PER_SAMPLE]
            current.start = keep_from


def is_loud(samples: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Say of each whole 10 ms of samples at 16 kHz whether there is more than silence."""
    blocks = samples[: len(samples) // _BLOCK * _BLOCK].reshape(-1, _BLOCK)
    power = np.mean(np.square(blocks, dtype=np.float32), axis=1)
    loud: NDArray[np.bool_] = np.sqrt(power) >= PAUSE_LEVEL
    return loud
