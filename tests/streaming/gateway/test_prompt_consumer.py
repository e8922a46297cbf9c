"""One message at a time, from client and layer, without a task for each."""

import asyncio
from typing import Any

import pytest
from channels.exceptions import StopConsumer
from channels.layers import InMemoryChannelLayer

from streaming.gateway import prompt_consumer
from streaming.gateway.prompt_consumer import PromptConsumer


class Recorder(PromptConsumer):
    """Keeps what it is given; fails where two messages are given at once."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[dict[str, Any]] = []
        self.tasks: set[asyncio.Task[Any] | None] = set()
        self.is_busy = False

    async def has_taken(self, count: int) -> None:
        async with asyncio.timeout(2):
            while True:
                if len(self.taken) >= count:
                    return
                await asyncio.sleep(0.001)

    async def dispatch(self, message: dict[str, Any]) -> None:
        assert not self.is_busy
        self.is_busy = True
        await asyncio.sleep(0.001)
        self.is_busy = False
        self.taken.append(message)
        self.tasks.add(asyncio.current_task())
        if message["type"] == "websocket.disconnect":
            raise StopConsumer


@pytest.fixture
def layer(monkeypatch: pytest.MonkeyPatch) -> InMemoryChannelLayer:
    layer = InMemoryChannelLayer()
    monkeypatch.setattr(prompt_consumer, "get_channel_layer", lambda _: layer)
    return layer


async def begin(consumer: Recorder) -> tuple["asyncio.Queue[dict[str, Any]]", "asyncio.Task[None]"]:
    """The queue of its client's messages, and the task that it runs in."""
    client: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    client.put_nowait({"type": "websocket.connect"})
    running = asyncio.create_task(consumer({}, client.get, None))
    await consumer.has_taken(1)
    return client, running


async def test_client_and_layer_are_read_at_once_one_message_at_a_time(
    layer: InMemoryChannelLayer,
) -> None:
    consumer = Recorder()
    client, running = await begin(consumer)
    for number in range(20):
        client.put_nowait({"type": "websocket.receive", "number": number})
        await layer.send(consumer.channel_name, {"type": "of.layer", "number": number})
    await consumer.has_taken(41)
    client.put_nowait({"type": "websocket.disconnect"})
    await asyncio.wait_for(running, 2)
    for kind in ("websocket.receive", "of.layer"):
        numbers = [message["number"] for message in consumer.taken if message["type"] == kind]
        assert numbers == list(range(20))
    assert len(consumer.tasks) == 2


async def test_a_layer_that_fails_ends_it(
    layer: InMemoryChannelLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: str) -> dict[str, Any]:
        raise ConnectionError("gone")

    monkeypatch.setattr(layer, "receive", fail)
    consumer = Recorder()
    _, running = await begin(consumer)
    with pytest.raises(ExceptionGroup) as failure:
        await asyncio.wait_for(running, 2)
    assert failure.group_contains(ConnectionError, match="gone")


async def test_cancelling_it_leaves_no_task(layer: InMemoryChannelLayer) -> None:
    consumer = Recorder()
    before = asyncio.all_tasks()
    _, running = await begin(consumer)
    running.cancel()
    await asyncio.wait({running}, timeout=2)
    assert running.cancelled()
    assert asyncio.all_tasks() == before
