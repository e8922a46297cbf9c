"""Shows what a Realtime conversation says, and tells the model how much of it was heard.

Each item of the conversation that has sound is one utterance of the avatar. When the user begins to
speak, the avatar falls silent, and every item that was not shown to its end is truncated to what
was: otherwise the model believes that it said what nobody heard.

The bridge opens neither connection: events come in by `RealtimeAvatar.handle`, and what goes back
to the API leaves by the function that it was given.
"""

import asyncio
import base64
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from talking_avatar import AvatarClient, AvatarError, Played

log = logging.getLogger(__name__)

Event = Mapping[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]

SAMPLE_RATE = 24_000
"""Of the API's ``audio/pcm``: s16le, mono."""
BYTES_PER_MS = SAMPLE_RATE * 2 // 1_000


@dataclass(eq=False, slots=True)
class _Item:
    """The sound of one item of the conversation."""

    item_id: str
    content_index: int
    received_bytes: int = 0
    pieces: "asyncio.Queue[bytes | None]" = field(default_factory=asyncio.Queue)
    played: "asyncio.Task[Played] | None" = None

    async def sound(self) -> AsyncIterator[bytes]:
        while (piece := await self.pieces.get()) is not None:
            yield piece


class RealtimeAvatar:
    """See the module."""

    def __init__(self, avatar: AvatarClient, send: Send) -> None:
        """Bridge a conversation.

        Args:
            avatar: An open client; it is closed where it was opened.
            send: Sends a client event to the Realtime API.
        """
        self._avatar = avatar
        self._send = send
        self._items: dict[str, _Item] = {}
        """Those that were not shown to their end, oldest first."""
        self._over: set[str] = set()
        """Ids of items whose further sound is not wanted."""
        self._sending = asyncio.Lock()
        """Held while an item is sent: one after the other, without a pause between them."""
        self._response_id: str | None = None

    async def handle(self, event: Event) -> None:
        """Take an event of the Realtime API; those that do not concern the avatar are ignored."""
        match event["type"]:
            case "response.created":
                self._response_id = event["response"]["id"]
            case "response.done":
                self._response_id = None
                self._end_items()
            case "response.output_audio.delta" | "response.audio.delta":
                self._say(event)
            case "response.output_audio.done" | "response.audio.done":
                if item := self._items.get(event["item_id"]):
                    item.pieces.put_nowait(None)
            case "input_audio_buffer.speech_started":
                await self._fall_silent()
                await self._listen(is_active=True)
            case "input_audio_buffer.speech_stopped":
                await self._listen(is_active=False)
            case _:
                pass

    async def interrupt(self) -> None:
        """Interrupt by other means than the user's voice, as by a button."""
        if self._response_id is not None:
            await self._send({"type": "response.cancel", "response_id": self._response_id})
            self._response_id = None
        await self._fall_silent()

    async def all_shown(self) -> None:
        """Wait until everything that came was shown, refused or interrupted."""
        while self._items:
            await asyncio.wait([item.played for item in self._items.values() if item.played])

    def _say(self, delta: Event) -> None:
        item_id = delta["item_id"]
        if item_id in self._over:
            return
        item = self._items.get(item_id)
        if item is None:
            item = self._items[item_id] = _Item(item_id, delta["content_index"])
            item.played = asyncio.create_task(self._play(item))
        pcm = base64.b64decode(delta["delta"])
        item.received_bytes += len(pcm)
        item.pieces.put_nowait(pcm)

    async def _play(self, item: _Item) -> Played:
        """Send an item, and wait until it was shown."""
        try:
            async with self._sending:
                if item.item_id in self._over:
                    return Played(0, interrupted=True)
                utterance = await self._avatar.speak(item.sound(), sample_rate=SAMPLE_RATE)
            return await utterance
        except AvatarError as error:
            log.warning("the avatar does not say item %s: %s", item.item_id, error)
            return Played(0, interrupted=True)
        finally:
            self._over.add(item.item_id)
            self._items.pop(item.item_id, None)

    async def _listen(self, *, is_active: bool) -> None:
        with contextlib.suppress(AvatarError):
            await self._avatar.user_speaking(is_active=is_active)

    def _end_items(self) -> None:
        for item in self._items.values():
            item.pieces.put_nowait(None)

    async def _fall_silent(self) -> None:
        """Drop what was not shown, and truncate the items that it was of."""
        items = list(self._items.values())
        if not items:
            return
        self._over.update(item.item_id for item in items)
        self._end_items()
        with contextlib.suppress(AvatarError):  # a lost avatar shows nothing any more
            await self._avatar.interrupt()
        for item in items:
            assert item.played is not None, "it is begun where it is made"
            played = await item.played
            if played.interrupted:
                await self._send(
                    {
                        "type": "conversation.item.truncate",
                        "item_id": item.item_id,
                        "content_index": item.content_index,
                        "audio_end_ms": min(played.played_ms, item.received_bytes // BYTES_PER_MS),
                    }
                )
