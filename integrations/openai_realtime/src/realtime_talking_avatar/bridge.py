"""Shows what a Realtime conversation says, and tells the model how much of it was heard.

Each part of the conversation's items that has sound is one utterance of the avatar. When the user
begins to speak, the avatar falls silent, and every part that was not shown to its end is truncated
to what was: otherwise the model believes that it said what nobody heard.

The bridge opens neither connection: events come in by `RealtimeAvatar.handle`, and what goes back
to the API leaves by the function that it was given. An avatar that is lost for a while does not
hold them up.
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
INTERRUPT_WITHIN_S = 1.0
"""An avatar that does not answer by then is lost: nobody hears the rest."""


@dataclass(eq=False, slots=True)
class _Part:
    """The sound of one part of one item of the conversation."""

    item_id: str
    content_index: int
    response_id: str | None
    """None: the service does not say."""
    received_bytes: int = 0
    pieces: "asyncio.Queue[bytes | None]" = field(default_factory=asyncio.Queue)
    played: "asyncio.Task[Played] | None" = None

    @property
    def key(self) -> "_Key":
        return self.item_id, self.content_index

    async def sound(self) -> AsyncIterator[bytes]:
        while (piece := await self.pieces.get()) is not None:
            yield piece


_Key = tuple[str, int]
"""An item's id, and the index of its part."""


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
        self._parts: dict[_Key, _Part] = {}
        """Those that were not shown to their end, oldest first."""
        self._over: set[_Key] = set()
        """Those whose further sound is not wanted."""
        self._sending = asyncio.Lock()
        """Held while a part is sent: one after the other, without a pause between them."""
        self._responses: set[str] = set()
        """Those that the user hears, or will."""
        self._cancelled: set[str] = set()
        """Responses of which sound may still be on its way."""
        self._listening: asyncio.Task[None] | None = None

    async def handle(self, event: Event) -> None:
        """Take an event of the Realtime API; those that do not concern the avatar are ignored."""
        match event["type"]:
            case "response.created":
                response = event["response"]
                # One beside the conversation, such as a classification, is heard only if it speaks.
                if response.get("conversation_id", "") is not None:
                    self._responses.add(response["id"])
            case "response.done":
                self._end_response(event["response"]["id"])
            case "response.output_audio.delta" | "response.audio.delta":
                self._say(event)
            case "response.output_audio.done" | "response.audio.done":
                if part := self._parts.get((event["item_id"], event.get("content_index", 0))):
                    part.pieces.put_nowait(None)
            case "input_audio_buffer.speech_started":
                await self._fall_silent()
                self._listen(is_active=True)
            case "input_audio_buffer.speech_stopped":
                self._listen(is_active=False)
            case _:
                pass

    async def interrupt(self) -> None:
        """Interrupt by other means than the user's voice, as by a button."""
        responses, self._responses = self._responses, set()
        self._cancelled |= responses
        for response_id in responses:
            await self._send({"type": "response.cancel", "response_id": response_id})
        await self._fall_silent()

    async def all_shown(self) -> None:
        """Wait until everything that came was shown, refused or interrupted."""
        while self._parts:
            await asyncio.wait([part.played for part in self._parts.values() if part.played])

    def _say(self, delta: Event) -> None:
        response_id = delta.get("response_id")
        part = _Part(delta["item_id"], delta.get("content_index", 0), response_id)
        if part.key in self._over or response_id in self._cancelled:
            return
        if response_id is not None:
            self._responses.add(response_id)
        if part.key in self._parts:
            part = self._parts[part.key]
        else:
            self._parts[part.key] = part
            part.played = asyncio.create_task(self._play(part))
        pcm = base64.b64decode(delta["delta"])
        part.received_bytes += len(pcm)
        part.pieces.put_nowait(pcm)

    async def _play(self, part: _Part) -> Played:
        """Send a part, and wait until it was shown."""
        try:
            async with self._sending:
                if part.key in self._over:
                    return Played(0, interrupted=True)
                utterance = await self._avatar.speak(part.sound(), sample_rate=SAMPLE_RATE)
            return await utterance
        except AvatarError as error:
            log.warning("the avatar does not say item %s: %s", part.item_id, error)
            return Played(0, interrupted=True)
        finally:
            self._over.add(part.key)
            self._parts.pop(part.key, None)

    def _listen(self, *, is_active: bool) -> None:
        """Tell the avatar whether the user speaks; of several that wait, the newest counts."""
        if self._listening is not None:
            self._listening.cancel()
        self._listening = asyncio.create_task(self._tell_user_speaking(is_active=is_active))

    async def _tell_user_speaking(self, *, is_active: bool) -> None:
        with contextlib.suppress(AvatarError):
            await self._avatar.user_speaking(is_active=is_active)

    def _end_response(self, response_id: str) -> None:
        """End the parts of a response; others may be in progress beside it."""
        self._responses.discard(response_id)
        self._cancelled.discard(response_id)
        for part in self._parts.values():
            if part.response_id in (None, response_id):
                part.pieces.put_nowait(None)

    async def _fall_silent(self) -> None:
        """Drop what was not shown, and truncate the parts that it was of."""
        parts = [part for part in self._parts.values() if part.key not in self._over]
        if not parts:
            return
        for part in parts:
            self._over.add(part.key)
            part.pieces.put_nowait(None)
        with contextlib.suppress(AvatarError, TimeoutError):
            # One that is lost shows nothing any more. Its session may be resumed: then it drops it.
            async with asyncio.timeout(INTERRUPT_WITHIN_S):
                await self._avatar.interrupt()
        for part in parts:
            played = await _outcome(part)
            if played.interrupted:
                await self._send(
                    {
                        "type": "conversation.item.truncate",
                        "item_id": part.item_id,
                        "content_index": part.content_index,
                        "audio_end_ms": min(played.played_ms, part.received_bytes // BYTES_PER_MS),
                    }
                )


async def _outcome(part: _Part) -> Played:
    """How a part went that was interrupted; what nobody can say counts as not heard."""
    assert part.played is not None, "it is begun where it is made"
    done, _ = await asyncio.wait({part.played}, timeout=INTERRUPT_WITHIN_S)
    if done:
        return part.played.result()
    part.played.cancel()
    return Played(0, interrupted=True)
