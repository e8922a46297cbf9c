"""A stretch of voice that the server shows as one utterance.

It ends when the synthesizer ends it, when the format changes, when it is interrupted, and when the
synthesizer paused for so long that all of it was shown: then the mouth is to close, and what comes
later is another utterance.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

DRY_S = 0.1
"""How long everything may have been shown before a segment ends; the server waits for 240 ms."""
POLL_S = 0.03


class Segment:
    """Voice as it comes, for `talking_avatar.AvatarClient.speak`."""

    def __init__(self, sample_rate: int, is_dry: Callable[[], bool]) -> None:
        """Begin.

        Args:
            sample_rate: Of the voice, Hz; one channel.
            is_dry: Whether all voice that came was shown.
        """
        self.sample_rate = sample_rate
        self.is_open = True
        """Whether more voice may be added."""
        self._is_dry = is_dry
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue()

    def add(self, audio: bytes) -> None:
        """More voice came."""
        self._pieces.put_nowait(audio)

    def end(self) -> None:
        """No more voice comes."""
        if self.is_open:
            self.is_open = False
            self._pieces.put_nowait(None)

    async def pieces(self, on_dry: Callable[[], None]) -> AsyncIterator[bytes]:
        """The voice.

        Args:
            on_dry: Called when the synthesizer paused for too long; it is to end the segment.
        """
        dry_for_s = 0.0
        while True:
            try:
                async with asyncio.timeout(POLL_S):
                    piece = await self._pieces.get()
            except TimeoutError:
                dry_for_s = dry_for_s + POLL_S if self._is_dry() else 0.0
                if dry_for_s >= DRY_S and self.is_open:
                    on_dry()
                continue
            if piece is None:
                return
            dry_for_s = 0.0
            yield piece
