"""A session observed in the background: every frame measured, decoded, and recorded if wanted.

Needs PyAV: ``talking-avatar[video]``.
"""

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Self

from talking_avatar.client import AvatarClient
from talking_avatar.decoding import AccessUnitDecoder
from talking_avatar.events import Closed, Event, Frame, ServerError
from talking_avatar.measurement import Measurement, StreamReport
from talking_avatar.recording import Recording

SELDOM_S = 10.0
"""A server that was too busy for some mouths once in so much speech did well enough."""


class Observation:
    """Takes all events of an entered client, as a context manager, and reports on the stream."""

    def __init__(
        self,
        client: AvatarClient,
        *,
        recording: Recording | None = None,
        is_paced: bool = True,
        on_event: Callable[[Event], None] = lambda event: None,
    ) -> None:
        """Prepare.

        Args:
            client: The session; nothing else takes its events.
            recording: Where the stream is written.
            is_paced: Speech is sent as it is spoken; otherwise no latency is reported.
            on_event: Called with every event, after it was counted.
        """
        self._problems: list[str] = []
        self._late: list[str] = []
        self._client = client
        self._recording = recording
        self._on_event = on_event
        self._measurement = Measurement(is_paced=is_paced)
        self._decoder = AccessUnitDecoder()
        self._observing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._observing = asyncio.create_task(self._observe())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._observing is not None, "it was entered"
        self._observing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._observing

    @property
    def is_open(self) -> bool:
        """Whether events still come."""
        return self._observing is not None and not self._observing.done()

    @property
    def problems(self) -> list[str]:
        """Sentences on what went wrong."""
        return [*self._problems, *([] if self._is_seldom_late else self._late)]

    @property
    def warnings(self) -> list[str]:
        """Sentences on what was not as it should be, but seldom: mouths that were late."""
        return list(self._late) if self._is_seldom_late else []

    @property
    def _is_seldom_late(self) -> bool:
        return len(self._late) * SELDOM_S <= self._measurement.speech_s

    async def wait(self, seconds: float) -> None:
        """Wait until the time is over or the session ends."""
        assert self._observing is not None, "it was entered"
        await asyncio.wait([self._observing], timeout=seconds)

    def report(self) -> StreamReport:
        """Return what the stream was like so far."""
        return self._measurement.report(self._client.init_sent_s)

    async def _observe(self) -> None:
        async for event in self._client.events():
            self._take(event)
            self._on_event(event)

    def _take(self, event: Event) -> None:
        match event:
            case Frame():
                self._take_frame(event)
            case ServerError():
                self._measurement.add_error(event.code)
                is_late = event.details.get("reason") == "engine_late"
                (self._late if is_late else self._problems).append(f"The server reported {event}")
            case Closed():
                self._problems.append(f"The stream ended: {event}.")
            case _:
                pass

    def _take_frame(self, frame: Frame) -> None:
        self._measurement.add_frame(frame)
        # A millisecond or two of the loop; the next frame is 40 ms away, and stamped on arrival.
        self._decoder.decode(frame.data)
        self._measurement.decode_errors = self._decoder.errors
        if self._recording:
            self._recording.add_frame(frame)
