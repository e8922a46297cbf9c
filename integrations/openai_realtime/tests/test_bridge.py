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


def delta(item_id: str, response_id: str, to_ms: int, part: int = 0) -> dict[str, Any]:
    return {
        "type": "response.output_audio.delta",
        "item_id": item_id,
        "content_index": part,
        "response_id": response_id,
        "delta": base64.b64encode(sound(0, to_ms)).decode(),
    }


async def shown_of(avatar_server: AvatarServer, user_id: str, events: list[dict[str, Any]]) -> Any:
    """What the avatar has shown after these events, and what went to the API."""
    noted = Conversation()
    async with AvatarClient(avatar_server.address, user_id) as avatar:
        noting = asyncio.create_task(noted.note(avatar))
        bridge = RealtimeAvatar(avatar, noted.send)
        for event in events:
            if event["type"] == "interrupt":
                await asyncio.sleep(0.3)
                await bridge.interrupt()
            else:
                await bridge.handle(event)
        await asyncio.wait_for(bridge.all_shown(), 20)
        await asyncio.sleep(0.1)
        noting.cancel()
    return [(one.played_ms, one.interrupted) for one in noted.shown], noted.sent


async def test_every_part_of_an_item_is_said(avatar_server: AvatarServer) -> None:
    done = {"type": "response.output_audio.done", "item_id": "item_1"}
    shown, _ = await shown_of(
        avatar_server,
        "realtime-parts",
        [
            delta("item_1", "resp_1", 400),
            done | {"content_index": 0},
            delta("item_1", "resp_1", 600, part=1),
            done | {"content_index": 1},
        ],
    )
    assert shown == [(400, False), (600, False)]


async def test_a_response_beside_another_one_does_not_end_it(avatar_server: AvatarServer) -> None:
    beside = {"id": "resp_2", "conversation_id": None}
    shown, sent = await shown_of(
        avatar_server,
        "realtime-beside",
        [
            {"type": "response.created", "response": {"id": "resp_1", "conversation_id": "conv_1"}},
            delta("item_1", "resp_1", 400),
            {"type": "response.created", "response": beside},
            {"type": "response.done", "response": beside},
            delta("item_1", "resp_1", 600),
            {"type": "interrupt"},
            # It was on its way.
            delta("item_2", "resp_1", 600),
            {"type": "response.done", "response": {"id": "resp_1"}},
        ],
    )
    assert len(shown) == 1
    assert shown[0][1]
    assert sent[0] == {"type": "response.cancel", "response_id": "resp_1"}
    assert [(event["type"], event["item_id"]) for event in sent[1:]] == [
        ("conversation.item.truncate", "item_1")
    ]


async def test_a_response_beside_another_one_leaves_its_further_sound(
    avatar_server: AvatarServer,
) -> None:
    shown, _ = await shown_of(
        avatar_server,
        "realtime-further",
        [
            delta("item_1", "resp_1", 400),
            {"type": "response.done", "response": {"id": "resp_2"}},
            delta("item_1", "resp_1", 600),
            {"type": "response.done", "response": {"id": "resp_1"}},
        ],
    )
    assert shown == [(1_000, False)]


async def test_the_conversation_does_not_wait_for_an_avatar_that_is_lost(
    own_avatar_server: AvatarServer,
) -> None:
    own_avatar_server.start()
    noted = Conversation()
    async with AvatarClient(own_avatar_server.address, "realtime-away") as avatar:
        bridge = RealtimeAvatar(avatar, noted.send)
        await bridge.handle(delta("item_1", "resp_1", 2_000))
        await asyncio.sleep(0.3)
        assert own_avatar_server.process is not None
        own_avatar_server.process.kill()
        own_avatar_server.process.wait()
        await asyncio.sleep(0.2)
        async with asyncio.timeout(5):
            await bridge.handle({"type": "input_audio_buffer.speech_started"})
            await bridge.handle({"type": "input_audio_buffer.speech_stopped"})
            await bridge.all_shown()
    assert [(event["type"], event["audio_end_ms"]) for event in noted.sent] == [
        ("conversation.item.truncate", 0)
    ]
