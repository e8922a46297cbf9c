"""Rooms without a LiveKit server: what two participants send reaches the other one.

Tracks are real, with real sources; a viewer takes them from the source's own sink,
so what is noted is what WebRTC would encode, and when. Byte streams and RPCs pass through memory.
"""

import asyncio
import contextlib
import time
import uuid
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from livekit import rtc

RATE = 24_000


@dataclass
class Viewer:
    """What a person in the room hears and sees, and when."""

    voice: list[tuple[float, np.ndarray]] = field(default_factory=list)
    """Pieces of 10 ms."""
    pictures: list[tuple[float, int]] = field(default_factory=list)
    """CRC-32 of each I420 picture."""
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, samples: np.ndarray) -> None:
        self.voice.append((time.monotonic(), samples))
        self._news.set()

    def see(self, i420: bytes) -> None:
        self.pictures.append((time.monotonic(), zlib.crc32(i420)))
        self._news.set()

    async def has_seen(self, count: int) -> None:
        """Wait for so many pictures."""
        while len(self.pictures) < count:
            await self.has_news()

    async def has_news(self) -> None:
        """Wait for a picture, voice, or silence."""
        self._news.clear()
        await self._news.wait()

    def heard(self) -> np.ndarray:
        """All samples but silence; voices of these tests have no sample that is 0."""
        pieces = [piece for _, piece in self.voice]
        everything = np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
        return everything[everything != 0]

    def forget(self) -> None:
        self.voice.clear()
        self.pictures.clear()


@dataclass
class Publication:
    sid: str
    kind: "rtc.TrackKind.ValueType"
    track: Any
    subscribed_to: asyncio.Event

    async def wait_for_subscription(self) -> None:
        await self.subscribed_to.wait()


@dataclass
class StreamInfo:
    stream_id: str
    attributes: dict[str, str]


class Reader:
    def __init__(self, info: StreamInfo) -> None:
        self.info = info
        self.chunks: asyncio.Queue[bytes | None] = asyncio.Queue()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self.chunks.get()
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    def close(self) -> None:
        self.chunks.put_nowait(None)


class Writer:
    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def write(self, data: bytes) -> None:
        self._reader.chunks.put_nowait(data)

    async def aclose(self) -> None:
        self._reader.chunks.put_nowait(None)


class Participant:
    def __init__(self, room: "FakeRoom", identity: str) -> None:
        self.identity = identity
        self.kind = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
        self.state = rtc.ParticipantState.PARTICIPANT_STATE_ACTIVE
        self.attributes: dict[str, str] = {}
        self.track_publications: dict[str, Publication] = {}
        self._room = room
        self._rpc_handlers: dict[str, Any] = {}

    def register_rpc_method(self, name: str, handler: Any) -> None:
        self._rpc_handlers[name] = handler

    def unregister_rpc_method(self, name: str) -> None:
        del self._rpc_handlers[name]

    async def perform_rpc(self, *, destination_identity: str, method: str, payload: str) -> str:
        await asyncio.sleep(0)
        self._room.rpcs.append((time.monotonic(), method, payload))
        other = self._room.peer(destination_identity)
        handler = other._rpc_handlers.get(method)
        if handler is None:
            raise rtc.RpcError(rtc.RpcError.ErrorCode.UNSUPPORTED_METHOD, method)
        return handler(rtc.RpcInvocationData(uuid.uuid4().hex, self.identity, payload, 10.0))

    async def stream_bytes(
        self, *, name: str, topic: str, destination_identities: list[str], attributes: dict
    ) -> Writer:
        reader = Reader(StreamInfo(name, attributes))
        for identity in destination_identities:
            room = self._room.peer(identity)._room
            room.byte_stream_handlers[topic](reader, self.identity)
        return Writer(reader)

    async def publish_track(self, track: Any, options: Any) -> Publication:
        publication = Publication(uuid.uuid4().hex, track.kind, track, self._room.has_viewer)
        self.track_publications[publication.sid] = publication
        self._room.watch(track)
        self._room.emit("local_track_published", publication, track)
        for room in self._room.others:
            room.emit("track_published", publication, self)
        return publication


class FakeRoom(rtc.EventEmitter[str]):
    """One participant's view of the room."""

    def __init__(self, identity: str, *, has_viewer: bool = True) -> None:
        super().__init__()
        self.name = "room"
        self.local_participant = Participant(self, identity)
        self.byte_stream_handlers: dict[str, Any] = {}
        self.others: list[FakeRoom] = []
        self.viewer = Viewer()
        self.has_viewer = asyncio.Event()
        if has_viewer:
            self.has_viewer.set()
        self.rpcs: list[tuple[float, str, str]] = []
        """What this participant called, and when."""
        self._watching: list[asyncio.Task[None]] = []

    @property
    def remote_participants(self) -> dict[str, Participant]:
        return {room.local_participant.identity: room.local_participant for room in self.others}

    def isconnected(self) -> bool:
        return True

    def register_byte_stream_handler(self, topic: str, handler: Any) -> None:
        self.byte_stream_handlers[topic] = handler

    def unregister_byte_stream_handler(self, topic: str) -> None:
        del self.byte_stream_handlers[topic]

    def meet(self, other: "FakeRoom") -> None:
        """Both are in the same room."""
        for room, peer in ((self, other), (other, self)):
            room.others.append(peer)
            room.emit("participant_active", peer.local_participant)

    def leave(self) -> None:
        for room in self.others:
            room.others.remove(self)
            room.emit("participant_disconnected", self.local_participant)
        self.others.clear()

    def peer(self, identity: str) -> Participant:
        return self.remote_participants[identity]

    def watch(self, track: Any) -> None:
        watching = self._hear if track.kind == rtc.TrackKind.KIND_AUDIO else self._see
        self._watching.append(asyncio.create_task(watching(track)))

    async def _hear(self, track: Any) -> None:
        stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=1)
        async with contextlib.aclosing(stream):
            async for event in stream:
                self.viewer.hear(np.frombuffer(event.frame.data, np.int16).copy())

    async def _see(self, track: Any) -> None:
        stream = rtc.VideoStream(track)
        async with contextlib.aclosing(stream):
            async for event in stream:
                self.viewer.see(event.frame.data)

    async def close(self) -> None:
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
