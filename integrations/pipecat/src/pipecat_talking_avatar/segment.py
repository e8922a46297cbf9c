"""A stretch of voice that the avatar says as one utterance.

It ends when the synthesizer ends it, when the format changes, and when it is interrupted.
"""

import asyncio
from collections.abc import AsyncIterator


class Segment:
    """Voice as it comes, for `talking_avatar.AvatarClient.speak`."""

    def __init__(self, sample_rate: int) -> None:
        """Begin a segment of one channel at this rate, in Hz."""
        self.sample_rate = sample_rate
        self.is_open = True
        """Whether more voice may be added."""
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue()

    def add(self, audio: bytes) -> None:
        """More voice came."""
        self._pieces.put_nowait(audio)

    def end(self) -> None:
        """No more voice comes."""
        if self.is_open:
            self.is_open = False
            self._pieces.put_nowait(None)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the voice."""
        while (piece := await self._pieces.get()) is not None:
            yield piece
