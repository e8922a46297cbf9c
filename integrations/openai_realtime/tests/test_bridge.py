"""The bridge between a conversation that was written down and a real server."""

import asyncio
import base64
import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from avatar_server import AvatarServer

from realtime_talking_avatar import RealtimeAvatar
from talking_avatar import AvatarClient, SpeechFinished

RATE = 24_000
CONVERSATION = Path(__file__).with_name("conversation.jsonl")


def sound(from_ms: int, to_ms: int) -> bytes:
    samples = range(from_ms * RATE // 1_000, to_ms * RATE // 1_000)
    return b"".join(struct.pack("<h", int(9_000 * math.sin(n * 0.06))) for n in samples)


def conversation() -> Iterator[tuple[float, dict[str, Any]]]:
    """The pause before each event of the server, in seconds, and the event."""
    for line in CONVERSATION.read_text().splitlines():
        noted = json.loads(line)
        event = noted["event"]
        if "sound_ms" in noted:
            event["delta"] = base64.b64encode(sound(*noted["sound_ms"])).decode()
        yield noted["after_ms"] / 1_000, event


class Conversation:
    """What went to the Realtime API, and how each utterance of the avatar ended."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.shown: list[SpeechFinished] = []

    async def send(self, event: dict[str, Any]) -> None:
        self.sent.append(event)

    async def note(self, avatar: AvatarClient) -> None:
        async for event in avatar.events():
            if isinstance(event, SpeechFinished):
                self.shown.append(event)


async def test_a_conversation_is_shown_and_what_was_not_heard_is_truncated(
    avatar_server: AvatarServer,
) -> None:
    noted = Conversation()
    async with AvatarClient(avatar_server.address, "realtime") as avatar:
        noting = asyncio.create_task(noted.note(avatar))
        bridge = RealtimeAvatar(avatar, noted.send)
        for after_s, event in conversation():
            await asyncio.sleep(after_s)
            await bridge.handle(event)
        await bridge.all_shown()
        await asyncio.sleep(0.1)
        noting.cancel()

    first, second, third = noted.shown
    assert (first.played_ms, first.interrupted) == (800, False)
    assert second.interrupted
    assert 600 < second.played_ms < 1_300  # the user spoke a second later
    assert (third.played_ms, third.interrupted) == (600, False)
    assert noted.sent == [
        {
            "type": "conversation.item.truncate",
            "item_id": "item_3",
            "content_index": 0,
            "audio_end_ms": second.played_ms,
        }
    ]


async def test_an_interruption_by_hand_cancels_the_response(avatar_server: AvatarServer) -> None:
    noted = Conversation()
    async with AvatarClient(avatar_server.address, "realtime-hand") as avatar:
        bridge = RealtimeAvatar(avatar, noted.send)
        await bridge.handle({"type": "response.created", "response": {"id": "resp_1"}})
        for item in ("item_1", "item_2"):
            await bridge.handle(
                {
                    "type": "response.output_audio.delta",
                    "item_id": item,
                    "content_index": 0,
                    "delta": base64.b64encode(sound(0, 2_000)).decode(),
                }
            )
            await bridge.handle({"type": "response.output_audio.done", "item_id": item})
        await asyncio.sleep(0.7)
        await bridge.interrupt()
    cancel, first, second = noted.sent
    assert cancel == {"type": "response.cancel", "response_id": "resp_1"}
    assert (first["item_id"], second["item_id"]) == ("item_1", "item_2")
    assert 200 < first["audio_end_ms"] < 1_000
    assert second["audio_end_ms"] == 0  # it had not begun


async def test_a_lost_avatar_does_not_end_the_conversation(
    own_avatar_server: AvatarServer, caplog: pytest.LogCaptureFixture
) -> None:
    own_avatar_server.start()
    noted = Conversation()
    async with AvatarClient(own_avatar_server.address, "realtime-lost", reconnects=False) as avatar:
        bridge = RealtimeAvatar(avatar, noted.send)
        assert own_avatar_server.process is not None
        own_avatar_server.process.kill()
        own_avatar_server.process.wait()
        await asyncio.sleep(0.2)
        for after_s, event in conversation():
            await asyncio.sleep(after_s / 10)
            await bridge.handle(event)
        await bridge.all_shown()
    assert "the avatar does not say item item_1" in caplog.text
