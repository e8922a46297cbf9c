"""Other clients of a server that is attacked: what they notice."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np

from talking_avatar import AvatarClient, Frame, SpeechRefused, as_spoken
from talking_avatar.decoding import AccessUnitDecoder
from talking_avatar.measurement import lateness_s

FRAME_MS = 40
PHRASE_PIECES = 100
PAUSE_PIECES = 25
"""Of 40 ms: who speaks hums for four seconds and is silent for one, into an open microphone."""


@dataclass(slots=True)
class Bystander:
    """One client, and the frames that came."""

    client: AvatarClient
    frames: list[Frame] = field(default_factory=list)
    is_silent: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it falls silent; cleared by who waits for that."""
    has_spoken: bool = False
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def begin(self, *, speaks: bool) -> None:
        """Watch, and speak."""
        self._tasks.append(asyncio.create_task(self.watch()))
        if speaks:
            self._tasks.append(asyncio.create_task(self.speak()))

    async def leave(self) -> None:
        """Stop; the connection is closed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.client.close()

    async def watch(self) -> None:
        """Collect frames until cancelled."""
        async for frame in self.client.frames():
            self.frames.append(frame)

    async def speak(self) -> None:
        """Hum as into a microphone, until cancelled; where it is refused, try it once more."""
        while True:
            with contextlib.suppress(SpeechRefused):
                await self.client.speak(self._microphone())
            await asyncio.sleep(1.0)

    async def _microphone(self) -> AsyncIterator[bytes]:
        samples = np.arange(640)
        hum = (6_000 * np.sin(samples * 2 * np.pi * 5 / 640)).astype(np.int16).tobytes()
        phrase = hum * PHRASE_PIECES + bytes(len(hum) * PAUSE_PIECES)
        number = 0
        async for piece in as_spoken(phrase * 60):
            if number % (PHRASE_PIECES + PAUSE_PIECES) == PHRASE_PIECES:
                self.has_spoken = True
                self.is_silent.set()
            number += 1
            yield piece

    def late_ms(
        self, start: int = 0, end: int | None = None
    ) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        """How late each frame came, measured by the one that came soonest of all."""
        late = lateness_s(
            [frame.timestamp_ms for frame in self.frames],
            [frame.received_s for frame in self.frames],
        )
        return np.array(late[start:end]) * 1_000

    @property
    def missing(self) -> int:
        """Frames that did not come between the first and the last."""
        if not self.frames:
            return 0
        span_ms = self.frames[-1].timestamp_ms - self.frames[0].timestamp_ms
        return span_ms // FRAME_MS + 1 - len(self.frames)

    @property
    def undecodable(self) -> int:
        """Access units that did not decode."""
        decoder = AccessUnitDecoder()
        for frame in self.frames:
            decoder.decode(frame.data)
        return decoder.errors


@asynccontextmanager
async def bystanders(
    address: str, *, speaking: int, idle: int, late_audio: str | None = None
) -> AsyncIterator[list[Bystander]]:
    """Clients that watch and speak while the block runs; the speaking ones come first."""
    async with contextlib.AsyncExitStack() as stack:
        people: list[Bystander] = []
        for number in range(speaking + idle):
            client = AvatarClient(
                address, f"bystander{number}", reconnects=False, late_audio=late_audio
            )
            people.append(Bystander(await stack.enter_async_context(client)))
        for number, person in enumerate(people):
            person.begin(speaks=number < speaking)
        try:
            yield people
        finally:
            for person in people:
                await person.leave()


def p99(people: list[Bystander], marks: list[int] | None = None, *, before: bool = False) -> float:
    """The 99th percentile of all their lateness, ms, before or after the marks."""
    late = [
        person.late_ms(0 if before else mark, mark if before else None)
        for person, mark in zip(people, marks or [0] * len(people), strict=True)
    ]
    return float(np.percentile(np.concatenate(late), 99))
