"""One conversation from a client's side: say something, see it shown, and know how it went.

A `Conversation` keeps iterating over its client in a task of its own, so that every event is
stamped when it arrives, and hands each to whoever is concerned: measurement, decoder, recording.
"""

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Self

from inference.timing import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME, SAMPLES_PER_MS
from streaming.client.connection import AvatarClient
from streaming.client.decoding import PictureDecoder
from streaming.client.errors import ConnectionLost
from streaming.client.events import Closing, Event, Frame, Interrupted, ServerError
from streaming.client.measurement import Measurement, StreamReport
from streaming.client.recording import Recording

AHEAD_S = 20.0
"""How far speech that need not wait runs ahead; the server queues more, but not without end."""
PATIENCE_S = 5.0
"""How much longer than its own length speech may take to be shown."""


class Conversation:
    """A client that is being listened to, as a context manager around an entered client.

    ``tell`` hears every event after it was taken in. ``problems`` are sentences on what went wrong.
    """

    def __init__(
        self,
        client: AvatarClient,
        *,
        recording: Recording | None = None,
        is_paced: bool = True,
        tell: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self.client = client
        self.problems: list[str] = []
        self.shown_samples = 0
        """All samples before this one were shown, or dropped."""
        self._recording = recording
        self._is_paced = is_paced
        self._tell = tell
        self._measurement = Measurement(is_paced=is_paced)
        self._decoder = PictureDecoder()
        self._news = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._listening is not None
        self._listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._listening

    # ---- what one does in it

    async def say(self, pcm: bytes, *, clip: str | None = None) -> None:
        """Send an utterance as fast as it is spoken; at once if the conversation is not paced."""
        if self._recording:
            self._recording.add_speech(pcm)
        await self.client.speak(pcm, ahead_s=0.0 if self._is_paced else AHEAD_S, clip=clip)

    async def see_it_said(self) -> bool:
        """Wait until the picture has shown all that was sent; False, and a problem, if it does not.

        The time allowed is that of the speech still to be shown, and some patience.
        """
        due = self.client.sent.samples
        allowed_s = (due - self.shown_samples) / SAMPLE_RATE_HZ + PATIENCE_S
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(allowed_s):
                while self.shown_samples < due and self.is_open:
                    self._news.clear()
                    await self._news.wait()
        if self.shown_samples < due:
            missing_s = (due - self.shown_samples) / SAMPLE_RATE_HZ
            self.problems.append(f"The last {missing_s:.1f} s of the speech were never shown.")
        return self.shown_samples >= due

    async def watch(self, seconds: float) -> None:
        """Just look, until the time is over or the connection ends."""
        assert self._listening is not None
        await asyncio.wait([self._listening], timeout=seconds)

    @property
    def is_open(self) -> bool:
        return self._listening is not None and not self._listening.done()

    def report(self) -> StreamReport:
        return self._measurement.report(self.client.sent, self.client.init_sent_s)

    # ---- what it does by itself

    async def _listen(self) -> None:
        try:
            async for event in self.client:
                self._take(event)
                self._tell(event)
            self.problems.append(f"The server ended the stream (code {self.client.close_code}).")
        except ConnectionLost as loss:
            self.problems.append(str(loss))
        finally:
            self._news.set()

    def _take(self, event: Event) -> None:
        match event:
            case Frame():
                self._take_frame(event)
            case Interrupted():
                self.shown_samples = self.client.sent.samples
                self._news.set()
            case ServerError():
                self._measurement.add_error(event.code)
                self.problems.append(f"The server said {event}")
            case Closing(reason=reason) if reason != "client_request":
                self.problems.append(f"The server said goodbye: {reason}.")
            case _:
                pass

    def _take_frame(self, frame: Frame) -> None:
        self._measurement.add_frame(frame)
        # A millisecond or two of the loop; the next frame is 40 ms away, and stamped on arrival.
        self._decoder.decode(frame.access_unit)
        self._measurement.decode_errors = self._decoder.errors
        if self._recording:
            self._recording.add_frame(frame)
        if frame.audio_timestamp_ms is not None:
            # The wire's time is cut to whole milliseconds; the rest is less than one of them.
            end = (frame.audio_timestamp_ms + 1) * SAMPLES_PER_MS - 1 + SAMPLES_PER_FRAME
            self.shown_samples = max(self.shown_samples, min(end, self.client.sent.samples))
            self._news.set()
