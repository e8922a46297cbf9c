"""Clients and workers around the ASGI application of the streams, over layers in memory."""

import asyncio
import contextlib
import json
from typing import Any

from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator

from avatars_app.selectors import AvatarRef
from inference.assets.manifest import STANDARD_CLIPS
from inference.messages import (
    CLAIM_LAYER,
    INFERENCE_CHANNEL,
    MEDIA_LAYER,
    SessionAccepted,
    SessionClaimed,
    from_layer,
)
from streaming.gateway.routing import streams
from streaming.gateway.transport import TRANSPORT_EXTENSION
from tests.streaming.fakes import SESSION_ID, USER, frame, text

SOON_S = 5.0
AVATAR = AvatarRef(
    folder="presenter",
    version="v1",
    clips=dict(STANDARD_CLIPS),
    titles={"idle_3": "nod"},
    codec="avc1.42C01E",
    width=512,
    height=512,
)


class FakeTransport:
    """The server's report of its side of the connection."""

    def __init__(self):
        self.paused = False
        self._callbacks = []

    def on_change(self, callback):
        self._callbacks.append(callback)

    def set(self, paused):
        self.paused = paused
        for callback in self._callbacks:
            callback(paused)


class FakeClient(WebsocketCommunicator):
    """A client of the whole ASGI application of the streams."""

    def __init__(self, user_id=USER, headers=(), path=None):
        path = path if path is not None else f"/musetalk/v1/ws/{user_id}"
        super().__init__(streams, "/", headers=list(headers))
        self.user_id = user_id
        self.transport = FakeTransport()
        self.scope["path"] = path
        self.scope: Any
        self.scope["extensions"] = {TRANSPORT_EXTENSION: self.transport}

    async def send_message(self, type_, session_id=SESSION_ID, **data):
        await self.send_to(text(type_, session_id, **data))

    async def receive_message(self):
        """The next message."""
        return json.loads(await self.receive_from(SOON_S))

    async def receive_types(self, *types):
        """One message of each type, in this order."""
        messages = [await self.receive_message() for _ in types]
        assert [message["type"] for message in messages] == list(types)
        return messages

    async def closing(self):
        """The close code; nothing but the close may come."""
        closing = await self.receive_output(SOON_S)
        assert closing["type"] == "websocket.close"
        return closing["code"]

    async def open(self, session_id=SESSION_ID):
        assert await self.connect(SOON_S) == (True, None)
        await self.send_message("INIT", session_id, user_id=self.user_id)


@contextlib.asynccontextmanager
async def connected(**options):
    client = FakeClient(**options)
    try:
        yield client
    finally:
        if not client.future.done():
            await client.disconnect(timeout=SOON_S)


class LayerWorker:
    """Takes claims and does what a test says."""

    def __init__(self):
        self.claims = get_channel_layer(CLAIM_LAYER)
        self.media = get_channel_layer(MEDIA_LAYER)

    async def next_claim(self):
        message = await asyncio.wait_for(self.claims.receive(INFERENCE_CHANNEL), SOON_S)
        return from_layer(message)

    async def claim_session(self):
        """The next claim, answered."""
        self.start = await self.next_claim()
        self.channel = await self.media.new_channel()
        await self.send(
            SessionClaimed(
                claim_id=self.start.claim_id,
                worker_channel=self.channel,
                worker="fake",
                engine="fake",
                is_lipsync_ready=True,
            )
        )
        return self

    async def send(self, message):
        await self.media.send(self.start.reply_channel, message.to_layer())

    async def show(self, *numbers, **fields):
        for number in numbers:
            await self.send(frame(self.start.claim_id, number, **fields))

    async def read(self):
        return from_layer(await asyncio.wait_for(self.media.receive(self.channel), SOON_S))


@contextlib.asynccontextmanager
async def conversation(**options):
    """A client and the worker that has its session."""
    async with connected(**options) as client:
        await client.open()
        worker = await LayerWorker().claim_session()
        await client.receive_types("INIT_SUCCESS")
        assert isinstance(await worker.read(), SessionAccepted)
        yield client, worker
