"""The messages to one session's gateway, sent in order however long each takes.

Behind a layer that is too slow for its frames they are left out, a second of them at a time: they
would be late, and more so from frame to frame. All other messages wait.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from inference.messages import LayerMessage, SessionStart, VideoFrame

log = logging.getLogger(__name__)

Deliver = Callable[[str, LayerMessage], Awaitable[None]]
"""Send a message to a gateway's channel; raises if it was not delivered."""
HandOver = Callable[[str, LayerMessage], bool]
"""Hand a message to a gateway of this process; returns whether the channel is one's."""

MAX_FRAMES = 25
"""Frames that wait for the layer: a second of them, after which a gateway claims another worker."""


class WorkerOutbox:
    """A queue, and the loop that drains it. ``start`` names the gateway's channel."""

    def __init__(self, start: SessionStart, deliver: Deliver, hand_over: HandOver) -> None:
        self._start = start
        self._deliver = deliver
        self._hand_over = hand_over
        self._waiting: deque[LayerMessage] = deque()
        self._has_changed = asyncio.Event()
        self._frames = 0
        """How many of those that wait are frames."""
        self._has_gap = False
        self._is_closed = False

    def put(self, message: LayerMessage) -> None:
        """Send a message: at once to a gateway of this process."""
        if self._is_closed:
            return
        if not self._waiting and self._hand_over(self._start.reply_channel, message):
            return
        if isinstance(message, VideoFrame):
            if self._frames == MAX_FRAMES:
                self._leave_frames_out()
            self._frames += 1
        self._waiting.append(message)
        self._has_changed.set()

    def _leave_frames_out(self) -> None:
        log.warning(
            "session %s: %d frames were left out: the channel layer is too slow",
            self._start.session_id,
            self._frames,
            extra=self._start.log_fields,
        )
        others = [message for message in self._waiting if not isinstance(message, VideoFrame)]
        self._waiting = deque(others)
        self._frames = 0
        self._has_gap = True

    def close(self) -> None:
        """Send what was put before, and nothing that is put later."""
        self._is_closed = True
        self._has_changed.set()

    async def send_all(self, *, on_loss: Callable[[], None]) -> None:
        """Send until closed.

        Args:
            on_loss: Called after each message that was not delivered, and where frames were left
                out.
        """
        while (message := await self._next()) is not None:
            if self._has_gap:
                self._has_gap = False
                on_loss()
            try:
                await self._deliver(self._start.reply_channel, message)
            except Exception as error:  # noqa: BLE001 - a layer raises what its client library does
                # A layer that has lost its server logs that itself, once.
                level = logging.DEBUG if isinstance(error, ConnectionError) else logging.WARNING
                log.log(
                    level,
                    "session %s: not delivered: %r",
                    self._start.session_id,
                    error,
                    extra=self._start.log_fields,
                )
                on_loss()

    async def _next(self) -> LayerMessage | None:
        """Wait for a message; None: it is closed, and all were sent."""
        while not self._waiting:
            if self._is_closed:
                return None
            self._has_changed.clear()
            await self._has_changed.wait()
        message = self._waiting.popleft()
        self._frames -= isinstance(message, VideoFrame)
        return message
