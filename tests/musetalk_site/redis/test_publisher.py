"""However far the server is, a process publishes as many messages as it has."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis import asyncio as aioredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from musetalk_site.redis.publisher import MOST_AT_ONCE, Publisher


class FarServer:
    """A client whose calls are answered when a test says so."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.refused: set[str] = set()
        self.error: Exception | None = None
        self._answers = asyncio.Event()

    async def publish(self, channel: str, content: bytes) -> int:
        ((answer,),) = [await self.call([channel])]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def pipeline(self, *, transaction: bool) -> "FarPipeline":
        assert not transaction
        return FarPipeline(self)

    async def call(self, channels: list[str]) -> list[Any]:
        self.calls.append(channels)
        await self._answers.wait()
        if self.error is not None:
            raise self.error
        return [ResponseError("no") if each in self.refused else 1 for each in channels]

    def answer(self) -> None:
        self._answers.set()


class FarPipeline:
    def __init__(self, server: FarServer) -> None:
        self._server = server
        self._channels: list[str] = []

    def publish(self, channel: str, content: bytes) -> None:
        self._channels.append(channel)

    async def execute(self, *, raise_on_error: bool) -> list[Any]:
        assert not raise_on_error
        return await self._server.call(self._channels)


@pytest.fixture
async def server() -> FarServer:
    return FarServer()


def publishing(server: FarServer, count: int) -> tuple[Publisher, list["asyncio.Task[None]"]]:
    publisher = Publisher(server)  # type: ignore[arg-type]
    return publisher, [
        asyncio.create_task(publisher.publish(str(number), b"")) for number in range(count)
    ]


async def results(tasks: list["asyncio.Task[None]"]) -> list[Any]:
    return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 1)


async def test_what_comes_while_an_answer_is_awaited_goes_together(server: FarServer) -> None:
    publisher, first = publishing(server, 1)
    await asyncio.sleep(0.01)
    others = [asyncio.create_task(publisher.publish(f"{n}", b"")) for n in range(1, 150)]
    await asyncio.sleep(0.01)
    assert server.calls == [["0"]], "in order: nothing overtakes what was sent before"
    server.answer()
    assert await results(first + others) == [None] * 150
    assert [len(call) for call in server.calls] == [1, MOST_AT_ONCE, 49]
    assert [name for call in server.calls for name in call] == [str(n) for n in range(150)]


async def test_each_sender_is_answered_for_its_own_message(server: FarServer) -> None:
    server.refused = {"1"}
    _, tasks = publishing(server, 3)
    await asyncio.sleep(0)
    tasks[2].cancel()
    server.answer()
    one, two, three = await results(tasks)
    assert one is None
    assert isinstance(two, ResponseError)
    assert isinstance(three, asyncio.CancelledError)


@pytest.mark.parametrize("error", [RedisConnectionError("gone"), OSError("gone"), ValueError("?")])
async def test_a_call_that_fails_fails_for_all_of_it_and_the_next_is_made(
    server: FarServer, error: Exception
) -> None:
    server.error = error
    publisher, tasks = publishing(server, 3)
    server.answer()
    assert await results(tasks) == [error] * 3
    server.error = None
    await asyncio.wait_for(publisher.publish("again", b""), 1)


async def test_nobody_waits_for_a_connection_that_was_replaced(server: FarServer) -> None:
    publisher, tasks = publishing(server, 2)
    await asyncio.sleep(0.01)
    tasks.append(asyncio.create_task(publisher.publish("2", b"")))
    await asyncio.sleep(0.01)
    publisher.stop()
    assert all(isinstance(each, RedisConnectionError) for each in await results(tasks))


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[aioredis.Redis]:
    client = aioredis.Redis.from_url(redis_url)
    yield client
    await client.aclose()


async def test_a_real_server_gets_all_of_them_in_order(client: aioredis.Redis) -> None:
    pubsub = client.pubsub()
    await pubsub.subscribe("of-this-test")
    publisher = Publisher(client)
    numbers = [str(number).encode() for number in range(500)]
    await asyncio.gather(*(publisher.publish("of-this-test", each) for each in numbers))
    found: list[bytes] = []
    async with asyncio.timeout(10):
        while len(found) < len(numbers):
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=1)
            if message is not None:
                found.append(message["data"])
    await pubsub.aclose()
    assert found == numbers
