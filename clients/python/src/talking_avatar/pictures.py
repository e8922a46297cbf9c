"""Decoded pictures with their sound, when they are due. Needs PyAV: ``talking-avatar[video]``."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from talking_avatar.client import AvatarClient
from talking_avatar.decoding import AccessUnitDecoder
from talking_avatar.events import Frame, Sound

MAX_LATE_S = 0.5
"""Pictures later than this make the clock start over: the program was suspended."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture."""

    pixels: Any = field(repr=False)
    """RGB, uint8 ``[height, width, 3]``."""
    timestamp_ms: int
    audio_timestamp_ms: int | None
    sound: Sound | None


class PictureDecoder:
    """Decodes the frames of one session, in order; one that is left out may cost the next ones."""

    def __init__(self) -> None:
        self._decoder = AccessUnitDecoder()

    def decode(self, frame: Frame) -> Picture | None:
        """Return the frame's picture.

        It is None if there is none. This takes a few ms and may run in a thread.
        """
        decoded = self._decoder.decode(frame.data)
        if decoded is None:
            return None
        pixels = decoded.to_ndarray(format="rgb24")
        return Picture(pixels, frame.timestamp_ms, frame.audio_timestamp_ms, frame.sound)


async def pictures(client: AvatarClient, *, is_paced: bool = True) -> AsyncIterator[Picture]:
    """Yield the pictures of a session.

    Args:
        client: The session.
        is_paced: Give each when it is due, 40 ms after the one before; otherwise when it comes.
    """
    decoder = PictureDecoder()
    loop = asyncio.get_running_loop()
    origin_s: float | None = None
    async for frame in client.frames():
        picture = decoder.decode(frame)
        if picture is None:
            continue
        if is_paced:
            due_s = frame.timestamp_ms / 1_000
            if origin_s is None or loop.time() - origin_s - due_s > MAX_LATE_S:
                origin_s = loop.time() - due_s
            await asyncio.sleep(max(0.0, origin_s + due_s - loop.time()))
        yield picture
