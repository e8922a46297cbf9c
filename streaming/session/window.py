"""The speech of a session, kept until it is on its way to the screen.

Theory of operation
-------------------
A session's accepted samples are numbered from 0. Four positions, never decreasing but for ``sent``,
say where each of them is::

    0 ........ shown ........ sent ........ accepted
      forgotten     in flight      waiting

``accepted``  the number of the next sample that the client sends
``sent``      what is before it was handed to the session's worker
``shown``     what is before it is on its way to the screen, or was dropped by an interrupt

What lies between ``shown`` and ``accepted`` is kept here. At most two seconds of it are in flight,
so that a worker never holds more than it needs. When the worker is lost, ``sent`` returns to
``shown``: what was in flight is handed on again, nothing twice on the screen and nothing never.
"""

from collections import deque

from inference.timing import BYTES_PER_SAMPLE, SAMPLE_RATE_HZ

MAX_IN_FLIGHT = 2 * SAMPLE_RATE_HZ
MAX_PIECE = SAMPLE_RATE_HZ


class Window:
    """Positions are in samples; PCM is s16le, 16 kHz, mono."""

    def __init__(self) -> None:
        self.accepted = 0
        self.sent = 0
        self.shown = 0
        self._pcm = bytearray()
        self._clips: deque[tuple[int, str | None]] = deque()
        """Where another clip is asked for: first sample, clip. Ascending; the first one holds
        at ``shown``."""

    @property
    def queued(self) -> int:
        """Samples that were accepted and not shown."""
        return self.accepted - self.shown

    @property
    def has_next(self) -> bool:
        return self.sent < min(self.accepted, self.shown + MAX_IN_FLIGHT)

    def accept(self, pcm: bytes, clip: str | None) -> None:
        """Append speech; ``clip`` is the one asked for under it."""
        if not self._clips or self._clips[-1][1] != clip:
            self._clips.append((self.accepted, clip))
        self._pcm += pcm
        self.accepted += len(pcm) // BYTES_PER_SAMPLE

    def take(self) -> tuple[int, bytes, str | None]:
        """Position, PCM and clip of the next piece; it counts as sent. Only if `has_next`."""
        start = self.sent
        end = min(self.accepted, self.shown + MAX_IN_FLIGHT, start + MAX_PIECE)
        clip = None
        for first, asked in self._clips:
            if first > start:
                end = min(end, first)
                break
            clip = asked
        self.sent = end
        base = self.shown
        piece = self._pcm[(start - base) * BYTES_PER_SAMPLE : (end - base) * BYTES_PER_SAMPLE]
        return start, bytes(piece), clip

    def unread(self, position: int) -> None:
        """The piece at ``position`` could not be handed on: it comes next again."""
        self.sent = max(self.shown, min(self.sent, position))

    def acknowledge(self, position: int) -> None:
        """All samples before ``position`` are on their way to the screen."""
        # A padded last frame claims more than there is.
        position = min(position, self.sent)
        if position <= self.shown:
            return
        del self._pcm[: (position - self.shown) * BYTES_PER_SAMPLE]
        self.shown = position
        while len(self._clips) > 1 and self._clips[1][0] <= position:
            self._clips.popleft()

    def drop(self) -> None:
        """Forget all that waits. The numbering goes on."""
        self._pcm.clear()
        self._clips.clear()
        self.shown = self.sent = self.accepted

    def rewind(self) -> None:
        """Another worker: hand on again what was not shown."""
        self.sent = self.shown
