"""What conversations and abuse need beyond `talking`: other orders, other sizes, other answers."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from websockets.asyncio.client import connect

from tests.e2e.talking import CLOSE_TIMEOUT_S, Message, Stream


class RawClient(Stream):
    """A connection whose INIT, and all else, is up to the test."""

    async def open(self, user_id: str) -> Message:
        config = {"resolution": "512x512", "fps": 25}
        await self.send("INIT", user_id=user_id, video_config=config)
        return await self.hear_one("INIT_SUCCESS")

    async def hear_one(self, type_: str, limit: int = 300) -> Message:
        """The next message of a type, whole; others are passed over, but not without end."""
        for _ in range(limit):
            message = await self.next()
            if message["type"] == type_:
                return message
        raise AssertionError(f"no {type_} among {limit} messages")

    async def hear_frames(self, count: int) -> list[Message]:
        """The data of so many frames of either type; no error but that of a busy machine."""
        frames: list[Message] = []
        while len(frames) < count:
            message = await self.next()
            is_late = message["data"].get("details") == {"reason": "engine_late"}
            assert message["type"] != "ERROR" or is_late, message
            if message["type"] in {"VIDEO_FRAME", "ACTION_FRAME"}:
                frames.append(message["data"])
        return frames

    async def speak(self, pcm: bytes, chunk_bytes: int = 1_280) -> None:
        """As `say`, in chunks of any size."""
        for at in range(0, len(pcm), chunk_bytes):
            chunk = base64.b64encode(pcm[at : at + chunk_bytes]).decode()
            fields = {"format": "pcm_s16le", "sample_rate": 16_000, "channels": 1}
            await self.send("GENERATE", audio_chunk={**fields, "duration_ms": 40, "data": chunk})


@asynccontextmanager
async def raw_client(address: str, user_id: str) -> AsyncIterator[RawClient]:
    """Connected, but not yet in a session."""
    async with connect(
        f"{address}/musetalk/v1/ws/{user_id}",
        compression=None,
        max_size=None,
        close_timeout=CLOSE_TIMEOUT_S,
        ping_interval=None,
        proxy=None,
    ) as socket:
        yield RawClient(socket)


def access_units(frames: list[Message]) -> list[bytes]:
    return [base64.b64decode(frame["frame_data"], validate=True) for frame in frames]
