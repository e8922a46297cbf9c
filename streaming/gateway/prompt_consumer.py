"""A WebSocket consumer that reads what its client sends without a task for each message.

Channels' own waits for the client and for the channel layer together, and begins a task for every
message of either. A client that speaks sends 25 a second, the layer next to nothing: so the client
is read in the consumer's own task, and the layer in one that lasts as long as the connection.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer

ReceiveMessage = Callable[[], Awaitable[dict[str, Any]]]


class PromptConsumer(AsyncWebsocketConsumer):
    """Calls ``dispatch`` with one message at a time, the client's in order, the layer's in order.

    A fault of the layer ends it with an ExceptionGroup.
    """

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope, self.base_send = scope, send
        self._dispatching = asyncio.Lock()
        layer = get_channel_layer(self.channel_layer_alias)
        assert layer is not None, "the settings define it"
        self.channel_layer = layer
        self.channel_name = await layer.new_channel()

        async def receive_from_layer() -> dict[str, Any]:
            return await layer.receive(self.channel_name)

        with suppress(StopConsumer):
            # Before the layer's task begins, so that its log lines have what this one binds.
            await self._dispatch_one(await receive())
            async with asyncio.TaskGroup() as readers:
                reader = readers.create_task(self._dispatch_all(receive_from_layer))
                with suppress(StopConsumer):
                    await self._dispatch_all(receive)
                reader.cancel()

    async def _dispatch_all(self, receive: ReceiveMessage) -> None:
        while True:
            await self._dispatch_one(await receive())
            await asyncio.sleep(0)  # a client that sends much at once leaves the others their turn

    async def _dispatch_one(self, message: dict[str, Any]) -> None:
        async with self._dispatching:
            await self.dispatch(message)
