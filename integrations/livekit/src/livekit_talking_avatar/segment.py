"""One segment of an agent's speech: what of it was sent to the server, and what was heard.

A copy of the voice stays here. Frames of the server say which 40 ms they show, so their voice is
cut from the copy: nothing is lost with frames that are left out, and what the server cannot say
can still be heard.

An agent may pause within a segment for longer than the server waits for more. Then the server ends
the utterance, and what comes later is another one of the same segment, from where the first ended.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

FRAME_MS = 40


@dataclass(slots=True)
class _Utterance:
    start: int
    """Where it begins in the segment's voice, in bytes."""
    sent: int
    """Up to where it was sent."""
    first_ms: int | None = None
    """Position of its first frame in the session's speech."""


class Segment:
    """The voice of one segment: s16le, mono."""

    def __init__(self, sample_rate: int) -> None:
        """Begin with nothing.

        Args:
            sample_rate: Of the voice, Hz.
        """
        self.over = asyncio.Event()
        """Set when it was heard to its end, or cleared."""
        self.is_ended = False
        """No more voice comes."""
        self.is_detached = False
        """The server says no more of it."""
        self._sample_rate = sample_rate
        self._pcm = bytearray()
        self._heard = 0
        self._said = 0
        """Where the next utterance begins."""
        self._unstarted: deque[_Utterance] = deque()
        self._sending: _Utterance | None = None
        self._shown: _Utterance | None = None
        self._shown_id = ""
        self._news = asyncio.Event()

    @property
    def heard(self) -> int:
        """How many bytes were given to the room."""
        return self._heard

    @property
    def is_waiting(self) -> bool:
        """Whether voice has come that was not heard."""
        return self._heard < len(self._pcm)

    @property
    def is_complete(self) -> bool:
        """Whether all that will ever come was heard."""
        return self.is_ended and not self.is_waiting

    def push(self, pcm: bytes) -> None:
        """More voice came."""
        self._pcm += pcm
        self._news.set()

    def end(self) -> None:
        """No more voice comes."""
        self.is_ended = True
        self._news.set()

    def detach(self) -> None:
        """Send nothing more to the server."""
        self.is_detached = True
        self._news.set()

    # To the server.

    async def wait_for_more(self) -> bool:
        """Wait for voice that was not sent; False: there is none, and none will come."""
        while not self.is_detached:
            if self._said < len(self._pcm):
                return True
            if self.is_ended:
                return False
            self._news.clear()
            await self._news.wait()
        return False

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the voice of the next utterance, as it comes."""
        utterance = _Utterance(self._said, self._said)
        self._sending = utterance
        self._unstarted.append(utterance)
        while not self.is_detached:
            if utterance.sent < len(self._pcm):
                piece = bytes(self._pcm[utterance.sent :])
                utterance.sent = len(self._pcm)
                yield piece
                continue
            if self.is_ended:
                return
            self._news.clear()
            await self._news.wait()

    def settle(self, played_ms: int) -> None:
        """Settle the utterance of `pieces`: what was not played of it belongs to the next one."""
        assert self._sending is not None, "it was sent"
        self._said = self._played_to(self._sending, played_ms)

    # From the server.

    def start(self, utterance_id: str) -> None:
        """Start this utterance: the next frames show it."""
        if utterance_id != self._shown_id and self._unstarted:
            self._shown, self._shown_id = self._unstarted.popleft(), utterance_id

    def show(self, position_ms: int) -> bytes:
        """Take a frame that shows speech.

        Args:
            position_ms: Of the frame in all speech of the session.

        Returns:
            The voice up to the frame's end that was not heard yet.
        """
        utterance = self._shown
        if utterance is None:
            return b""
        if utterance.first_ms is None:
            utterance.first_ms = position_ms
        shown = self._bytes(position_ms - utterance.first_ms + FRAME_MS)
        return self._take(min(utterance.start + shown, utterance.sent))

    def finish(self, utterance_id: str, played_ms: int) -> bytes:
        """End an utterance; returns the voice that was played and not heard yet."""
        if self._shown is None or utterance_id != self._shown_id:
            return b""
        utterance, self._shown = self._shown, None
        return self._take(self._played_to(utterance, played_ms))

    def rest(self) -> bytes:
        """All voice that was not heard; it counts as heard."""
        return self._take(len(self._pcm))

    def _take(self, to: int) -> bytes:
        taken = bytes(self._pcm[self._heard : to])
        self._heard = max(self._heard, to)
        return taken

    def _played_to(self, utterance: _Utterance, played_ms: int) -> int:
        # Milliseconds are rounded down: less than one that is missing was played.
        at = utterance.start + self._bytes(played_ms)
        return utterance.sent if at + self._bytes(1) >= utterance.sent else at

    def _bytes(self, ms: int) -> int:
        return 2 * round(ms * self._sample_rate / 1_000)
