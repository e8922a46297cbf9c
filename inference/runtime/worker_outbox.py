"""The messages to one session's gateway, sent in order however long each takes."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from inference.messages import LayerMessage, SessionStart

log = logging.getLogger(__name__)

Deliver = Callable[[str, LayerMessage], Awaitable[None]]
"""Send a message to a gateway's channel; raises if it was not delivered."""
HandOver = Callable[[str, LayerMessage], bool]
"""Hand a message to a gateway of this process; returns whether the channel is one's."""


class WorkerOutbox:
    """A queue, and the loop that drains it. ``start`` names the gateway's channel."""

    def __init__(self, start: SessionStart, deliver: Deliver, hand_over: HandOver) -> None:
        self._start = start
        self._deliver = deliver
        self._hand_over = hand_over
        self._queue: asyncio.Queue[LayerMessage | None] = asyncio.Queue()
        self._is_closed = False

    def put(self, message: LayerMessage) -> None:
        """Send a message: at once to a gateway of this process."""
        is_next = self._queue.empty() and not self._is_closed
        if not (is_next and self._hand_over(self._start.reply_channel, message)):
            self._queue.put_nowait(message)

    def close(self) -> None:
        """Send what was put before, and nothing that is put later."""
        self._is_closed = True
        self._queue.put_nowait(None)

    async def send_all(self, *, on_loss: Callable[[], None]) -> None:
        """Send until closed; ``on_loss`` is called after each message that was not delivered."""
        while (message := await self._queue.get()) is not None:
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
