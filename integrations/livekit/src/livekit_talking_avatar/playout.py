"""When each picture and each piece of voice goes to the room. Pure: no clock, no task.

A track's audio source plays what it is given at once and without pause, so it is kept a little
ahead: voice leaves `LEAD_S` before it is due, and speech begins when so much of it has come. That
covers a network that is uneven by one frame. A picture that shows voice leaves when its voice is
played, so that a stall delays both alike; other pictures leave `LEAD_S` after they came, and are
left out where that would keep the stream behind.
"""

import math
from collections import deque
from dataclasses import dataclass, field

FRAME_S = 0.04
LEAD_S = 0.04
MAX_LATE_S = 0.08
"""A picture without voice that is later than this is left out if another one has come."""
MAX_SILENT = 4
"""How many pictures without voice are kept for a consumer that does not take them."""


@dataclass(frozen=True, slots=True)
class Voice:
    """Some voice: s16le, mono."""

    pcm: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture: I420, the planes one after another."""

    i420: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SegmentEnd:
    """All voice of the segment was played."""


@dataclass(slots=True)
class _Waiting:
    picture: Picture
    due_s: float | None
    """None until its voice has left."""
    is_silent: bool


@dataclass(slots=True)
class _WaitingVoice:
    voice: Voice
    came_s: float
    picture: _Waiting | None


class Playout:
    """The queue between a session with the server and a room. All times are of one clock."""

    def __init__(self, sample_rate: int) -> None:
        """Begin with nothing.

        Args:
            sample_rate: Of all voice, Hz.
        """
        self._bytes_per_s = 2 * sample_rate
        self._voice: deque[_WaitingVoice] = deque()
        self._voice_bytes = 0
        self._pictures: deque[_Waiting] = deque()
        self._voice_end_s = 0.0
        """When the room has played all voice that left."""
        self._is_ending = False

    def add(self, picture: Picture, voice: bytes, now_s: float) -> None:
        """Add a picture with the voice that it shows; empty: it shows none."""
        if not voice:
            silent = [one for one in self._pictures if one.is_silent]
            if len(silent) >= MAX_SILENT:
                self._pictures.remove(silent[0])
            self._pictures.append(_Waiting(picture, now_s + LEAD_S, is_silent=True))
            return
        waiting = _Waiting(picture, None, is_silent=False)
        self._pictures.append(waiting)
        self.add_voice(voice, now_s, waiting)

    def add_voice(self, voice: bytes, now_s: float, picture: _Waiting | None = None) -> None:
        """Voice came; ``picture`` shows the end of it, None: no picture shows it."""
        size = 2 * round(FRAME_S * self._bytes_per_s / 2)
        pieces = [Voice(voice[at : at + size]) for at in range(0, len(voice), size)]
        self._voice.extend(_WaitingVoice(piece, now_s, None) for piece in pieces[:-1])
        self._voice.extend(_WaitingVoice(piece, now_s, picture) for piece in pieces[-1:])
        self._voice_bytes += len(voice)

    def end_segment(self) -> None:
        """No more voice comes: `SegmentEnd` follows when all of it was played."""
        self._is_ending = True

    def clear(self, now_s: float) -> None:
        """Drop the voice that has not left, and the end of its segment."""
        self._voice.clear()
        self._voice_bytes = 0
        self._is_ending = False
        for waiting in self._pictures:
            if waiting.due_s is None:
                waiting.due_s, waiting.is_silent = now_s, True

    def next(self, now_s: float) -> Voice | Picture | SegmentEnd | float:
        """Return what leaves now.

        Otherwise it is the time until which nothing does (inf: until more is added).
        """
        voice_due_s = self._voice_due_s(now_s)
        if voice_due_s <= now_s:
            return self._take_voice(now_s)
        self._skip_late(now_s)
        picture_due_s = math.inf
        if self._pictures and (due_s := self._pictures[0].due_s) is not None:
            picture_due_s = due_s
        if picture_due_s <= now_s:
            return self._pictures.popleft().picture
        end_due_s = self._voice_end_s if self._is_ending and not self._voice else math.inf
        if end_due_s <= now_s:
            self._is_ending = False
            return SegmentEnd()
        return min(voice_due_s, picture_due_s, end_due_s)

    def _voice_due_s(self, now_s: float) -> float:
        if not self._voice:
            return math.inf
        if self._voice_end_s > now_s:
            return self._voice_end_s - LEAD_S
        if self._is_ending or self._voice_bytes > LEAD_S * self._bytes_per_s:
            return now_s
        return self._voice[0].came_s + LEAD_S

    def _take_voice(self, now_s: float) -> Voice:
        taken = self._voice.popleft()
        self._voice_bytes -= len(taken.voice.pcm)
        self._voice_end_s = max(self._voice_end_s, now_s) + len(taken.voice.pcm) / self._bytes_per_s
        if taken.picture is not None:
            taken.picture.due_s = self._voice_end_s - FRAME_S
        return taken.voice

    def _skip_late(self, now_s: float) -> None:
        while len(self._pictures) > 1:
            head = self._pictures[0]
            if not head.is_silent or head.due_s is None or head.due_s >= now_s - MAX_LATE_S:
                return
            self._pictures.popleft()
